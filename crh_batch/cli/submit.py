"""`crh-batch submit`: register what needs work and start pilots; going on with what an earlier submit left."""

from __future__ import annotations

import time
from dataclasses import replace
from typing import Any

import click

from crh_batch.cli.common import (
    Which,
    bar,
    complain,
    engine_for,
    engine_options,
    engine_to_plan_with,
    json_option,
    look_through,
    max_pilots_option,
    print_json,
    profile_for,
    root_of,
    survey_options,
    talk,
    talk_forecast,
    talk_problems,
    talk_unheeded,
)
from crh_batch.cli.dask_options import DaskWishes, dask_options
from crh_batch.cli.finish import collect_all, wait_with_bar
from crh_batch.cli.over_ssh import place_for
from crh_batch.cli.wishes import wish_options
from crh_batch.engines.base import Engine, plural
from crh_batch.engines.choose import DASK
from crh_batch.engines.dask.engine import DaskEngine
from crh_batch.engines.history_file import read_history
from crh_batch.engines.submit import SubmitReport, leave_out_unfit, submit
from crh_batch.engines.target import Target
from crh_batch.hosts.this_machine import ThisMachine
from crh_batch.plan.dependencies import link
from crh_batch.plan.history import estimated
from crh_batch.plan.survey import Survey
from crh_batch.plan.wishes import Wishes
from crh_batch.profile import Profile
from crh_batch.report.as_json import submit_json
from crh_batch.report.forecast import forecast
from crh_batch.report.table import bytes_text, check_table, console, seconds_text


@click.command("submit")
@survey_options
@wish_options
@engine_options
@max_pilots_option
@dask_options
@click.option(
    "--keep-going",
    is_flag=True,
    help="Put follow-up jobs behind the first ones, for what their time limit leaves unfinished.",
)
@click.option("--dry-run", is_flag=True, help="Print what would be submitted, scripts and sizes; change nothing.")
@click.option(
    "--force",
    is_flag=True,
    help="Take over registrations that are empty, foreign or whose batch is gone, take unknown pilots for dead, and "
    "run again what failed with the same input.",
)
@click.option("--wait", "and_wait", is_flag=True, help="Wait until all is over.")
@click.option("--collect", "and_collect", is_flag=True, help="Wait, then collect the results.")
@json_option
def command(
    which: Which,
    wishes: Wishes,
    engine: str | None,
    cores: int | None,
    max_threads: int | None,
    max_pilots: int | None,
    dask: DaskWishes,
    keep_going: bool,
    dry_run: bool,
    force: bool,
    and_wait: bool,
    and_collect: bool,
    as_json: bool,
) -> int:
    """Register the tomodirs in PATHs (here by default) that need work, and start pilots for them.

    On a cluster these are array jobs, elsewhere processes on this machine. Submitting again goes on by itself: what a
    dead pilot left is run again, finished results of a dead batch are collected, what is alive is left alone, what is
    new becomes a new batch.
    """
    wishes = replace(wishes, keep_going=keep_going)
    profile = wishes.applied_to_profile(profile_for(which, max_threads=max_threads, max_pilots=max_pilots))

    def adjust(one: Profile) -> Profile:
        threads, pilots = max_threads or one.max_threads, max_pilots or one.max_pilots
        return wishes.applied_to_profile(replace(one, max_threads=threads, max_pilots=pilots))

    plain = engine_to_plan_with if dry_run else engine_for
    is_dask = engine == DASK and not profile.clusters
    chosen: Engine = dask.engine(profile, cores) if is_dask else plain(engine, profile, cores, root_of(which), adjust)
    dask.check(engine)
    survey = look_through(which, chosen)
    talk_unheeded(wishes, profile, chosen, survey)
    if dry_run:
        return _print_dry_run(survey, chosen, wishes, as_json=as_json)
    with bar("registering") as on_progress:
        report = submit(
            survey,
            chosen,
            ThisMachine(),
            profile,
            wishes=wishes,
            history=read_history(),
            force=force,
            place=place_for(chosen, talk),
            on_progress=on_progress,
        )
    if as_json:
        print_json(submit_json(report))
    else:
        say_what_was_done(report, survey)
    complain(report.trouble)
    if report.trouble and not (and_wait or and_collect):
        return max(error.exit_code for error in report.trouble)
    if isinstance(chosen, DaskEngine) and not chosen.head_job:
        # Imported here: nobody else needs an event loop.
        from crh_batch.cli.driving import drive_all

        if code := drive_all(report.batches, chosen):
            return code
    if (and_wait or and_collect) and report.batches:
        code = wait_with_bar([Target(batch) for batch in report.batches])
        return max(code, collect_all(report.batches, tables=not as_json)) if and_collect else code
    return 0


def say_what_was_done(report: SubmitReport, survey: Survey) -> None:
    """Tell the user where each tomodir ended up."""
    for one in report.resumed:
        parts = [f"{number} {name.value}" for name, number in one.counts.items() if number]
        talk(f"batch {one.batch.batch_id} (from before): {', '.join(parts) or 'somebody else is at work on it'}")
        if one.lost:
            talk(f"  {one.lost} whose pilots had died are ready again")
        if one.unknown:
            talk(f"  {one.unknown} are with pilots of which nothing is known now; ask again in a minute")
        if one.collected.collected:
            talk(f"  {plural(one.collected.collected, 'result')} collected")
        talk_problems([(path, str(error)) for path, error in one.collected.refused], "results stay in their packs")
        for start in one.started:
            talk(f"  started {start.where}")
        if one.alive and not one.started:
            talk("  its pilots are alive or queued: left alone")
    if report.batch:
        talk(f"batch {report.batch.batch_id}: {plural(len(report.batch.items), 'tomodir')} registered")
        for start in report.started:
            talk(f"  started {start.where}")
    elif not report.resumed and not report.left and not report.trouble:
        talk(f"nothing to do: {len(survey.finished)} finished, {len(report.problems)} that can't be run")
    talk_problems(report.left, "left alone")
    talk_problems(report.problems, "can't be run")


def _print_dry_run(survey: Survey, engine: Engine, wishes: Wishes, *, as_json: bool) -> int:
    link(survey, engine.most_threads)
    leave_out_unfit(survey, place_for(engine, talk))
    survey.planned = estimated(survey.planned, read_history())
    expected = forecast(survey.planned, engine, wishes, time.time())
    requests = [replace(one, deadline=wishes.deadline or 0.0) for one in expected.requests]
    scripts = engine.scripts("BATCH", requests)
    if as_json:
        arrays: list[dict[str, Any]] = [
            {
                "threads": one.threads,
                "pilots": one.pilots,
                "memory_bytes": one.memory_bytes,
                "tomodirs": one.tomodirs,
                "estimate_s": round(one.estimate_s, 3),
            }
            for one in requests
        ]
        print_json(
            {
                "schema": 1,
                "engine": engine.name,
                "arrays": arrays,
                "expected": expected.to_json(),
                "scripts": scripts,
            }
        )
        return 0
    if survey.planned:
        console().print(check_table(survey))
    for request in requests:
        talk(
            f"{plural(request.tomodirs, 'tomodir')} with {plural(request.threads, 'thread')}: "
            f"{plural(request.pilots, 'pilot')}, "
            f"{bytes_text(request.memory_bytes)} each, about {seconds_text(request.estimate_s)} of one pilot"
        )
    talk_forecast(expected, wishes)
    for script in scripts:
        click.echo(script)
    registered = [(path, one.describe()) for path, one in survey.registered]
    talk_problems(registered, "registered already; submit goes on with them")
    talk_problems(survey.waiting, "left alone")
    talk_problems(survey.problems, "can't be run")
    talk("dry run: nothing was changed")
    return 0
