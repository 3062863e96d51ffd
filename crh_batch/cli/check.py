"""`crh-batch check`: what would run, why not the others, sizes, problems; changes nothing."""

from __future__ import annotations

import click

from crh_batch.cli.common import (
    engine_for,
    engine_options,
    json_option,
    look_through,
    print_json,
    profile_for,
    survey_options,
    talk,
    talk_problems,
)
from crh_batch.engines.base import Engine
from crh_batch.engines.local import LocalEngine
from crh_batch.errors import SchedulerError
from crh_batch.profile import Profile
from crh_batch.report.as_json import check_json
from crh_batch.report.registered import explain_registered
from crh_batch.report.table import check_table, console, seconds_text


@click.command("check")
@survey_options
@engine_options
@json_option
def command(
    paths: tuple[str, ...],
    match: str,
    from_file: str | None,
    engine: str | None,
    cores: int | None,
    max_threads: int | None,
    as_json: bool,
) -> int:
    """Say what would run in PATHs (here by default), with how many threads, and what is wrong with the others.

    Changes nothing. Exit code 1 if some tomodirs can't be run.
    """
    profile = profile_for(paths, from_file, max_threads=max_threads)
    survey = look_through(paths, from_file, match, _engine(engine, cores, profile))
    left = explain_registered(survey.registered)
    if as_json:
        print_json(check_json(survey, left))
        return 1 if survey.problems else 0
    if survey.planned:
        console().print(check_table(survey))
    total = sum(one.estimate_s * one.threads for one in survey.planned)
    talk(
        f"{len(survey.planned)} to run (about {seconds_text(total)} of one core), {len(survey.finished)} finished, "
        f"{len(left)} registered already, {len(survey.problems)} that can't be run"
    )
    talk_problems(sorted(left.items()), "registered already")
    talk_problems(sorted(survey.problems), "can't be run")
    return 1 if survey.problems else 0


def _engine(name: str | None, cores: int | None, profile: Profile) -> Engine:
    engine = engine_for(name, profile, cores)
    try:
        # Slurm is asked for the size of its nodes here.
        _ = engine.most_threads
    except SchedulerError as error:
        talk(f"{error.message}; sizes are those of this machine")
        return LocalEngine(cores or 0, profile.max_threads)
    return engine
