"""`crh-batch run`: submit, wait and collect on this machine in one go."""

from __future__ import annotations

import sys

import click

from crh_batch.cli.chosen_profile import profile_option
from crh_batch.cli.common import (
    Which,
    bar,
    complain,
    json_option,
    look_through,
    print_json,
    profile_for,
    survey_options,
    talk,
)
from crh_batch.cli.finish import collect_all, show_results, talk_last_words, wait_for_end
from crh_batch.cli.submit import say_what_was_done
from crh_batch.cli.wishes import wish_options
from crh_batch.engines.base import plural
from crh_batch.engines.history_file import read_history
from crh_batch.engines.local import LocalEngine
from crh_batch.engines.pilots import end_pilots
from crh_batch.engines.resume import resume
from crh_batch.engines.submit import submit
from crh_batch.engines.target import Target
from crh_batch.engines.wait import End
from crh_batch.hosts.this_machine import ThisMachine
from crh_batch.ledger.batch import Batch
from crh_batch.plan.survey import Survey
from crh_batch.plan.wishes import Wishes
from crh_batch.report.as_json import status_json
from crh_batch.report.states import Status, count, status_of
from crh_batch.report.table import seconds_text


@click.command("run")
@survey_options
@wish_options
@click.option("-j", "--cores", type=click.IntRange(1), help="Cores to use. Default: all of this machine.")
@click.option("-t", "--max-threads", type=click.IntRange(1), help="Most cores for one tomodir.")
@click.option("--force", is_flag=True, help="As for submit.")
@profile_option
@click.option("--scratch", type=click.Path(), help="Where private directories are made. Default: $TMPDIR or /tmp.")
@click.option("-y", "--yes", is_flag=True, help="Don't ask before it starts. It asks on a terminal only.")
@json_option
def command(
    which: Which,
    wishes: Wishes,
    cores: int | None,
    max_threads: int | None,
    force: bool,
    scratch: str | None,
    yes: bool,
    as_json: bool,
) -> int:
    """Run the tomodirs in PATHs (here by default) on this machine and put the results into them.

    Ctrl-C ends the programs; the same command goes on from there.
    """
    profile = profile_for(which, max_threads=max_threads, scratch=scratch)
    engine = LocalEngine(cores or 0, profile.max_threads, profile.scratch, profile.memory_mb)
    survey = look_through(which, engine)
    if not yes and not _is_wanted(survey, engine):
        talk("nothing was changed")
        return 1
    with bar("registering") as on_progress:
        report = submit(
            survey,
            engine,
            ThisMachine(),
            profile,
            wishes=wishes,
            history=read_history(),
            force=force,
            on_progress=on_progress,
        )
    say_what_was_done(report, survey)
    complain(report.trouble)
    code = max((error.exit_code for error in report.trouble), default=0)
    if report.problems or report.left:
        code = max(code, 1)
    if report.batches:
        code = max(code, _finish(report.batches, engine, tables=not as_json))
    if as_json:
        print_json({"schema": 1, "batches": [status_json(_all(batch), with_tomodirs=True) for batch in report.batches]})
    else:
        for batch in report.batches:
            show_results(batch)
        for batch in report.batches:
            status = count(batch)
            talk(f"batch {batch.batch_id}: {status.finished} of {status.total} finished")
    return code


def _is_wanted(survey: Survey, engine: LocalEngine) -> bool:
    """Ask before this machine gets busy; where nobody can answer, the command was meant as it was typed."""
    if not survey.planned or not (sys.stdin.isatty() and sys.stderr.isatty()):
        return True
    total = sum(one.estimate_s * one.threads for one in survey.planned)
    what = plural(len(survey.planned), "tomodir")
    question = f"Run {what} on {plural(engine.cores, 'core')}, about {seconds_text(total / engine.cores)}?"
    return click.confirm(question, default=True, err=True)


def _all(batch: Batch) -> Status:
    return status_of(batch, lambda item_id, state: True)


def _finish(batches: list[Batch], engine: LocalEngine, *, tables: bool) -> int:
    try:
        end = _wait_to_the_end(batches, engine)
    except KeyboardInterrupt:
        for batch in batches:
            end_pilots(batch, ThisMachine())
        raise
    code = collect_all(batches, tables=tables)
    if end is End.STALLED:
        talk("the pilot ended before all was done; the same command goes on from here")
        for batch in batches:
            talk_last_words(batch)
        code = 3
    return code


def _wait_to_the_end(batches: list[Batch], engine: LocalEngine) -> End:
    """Wait; start a pilot again as long as each one gets something done."""
    settled = -1
    while True:
        end = wait_for_end([Target(batch) for batch in batches])
        now = sum(count(batch).settled for batch in batches)
        if end is not End.STALLED or now == settled:
            return end
        settled = now
        for batch in batches:
            resume(batch, engine, ThisMachine(), collect=False)
