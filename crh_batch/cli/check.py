"""`crh-batch check`: what would run, why not the others, sizes, problems; changes nothing."""

from __future__ import annotations

import time

import click

from crh_batch.cli.common import (
    Which,
    complain,
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
    talk_accuracy,
    talk_forecast,
    talk_problems,
    talk_unheeded,
)
from crh_batch.cli.over_ssh import place_for
from crh_batch.cli.wishes import wish_options
from crh_batch.engines.base import Engine
from crh_batch.engines.history_file import read_history
from crh_batch.engines.submit import leave_out_unfit
from crh_batch.errors import ProfileError, SchedulerError
from crh_batch.plan.dependencies import link
from crh_batch.plan.history import estimated
from crh_batch.plan.survey import Survey
from crh_batch.plan.wishes import Wishes
from crh_batch.report.as_json import check_json
from crh_batch.report.forecast import Forecast, forecast
from crh_batch.report.registered import explain_registered
from crh_batch.report.table import check_table, console, seconds_text


@click.command("check")
@survey_options
@wish_options
@engine_options
@max_pilots_option
@json_option
def command(
    which: Which,
    wishes: Wishes,
    engine: str | None,
    cores: int | None,
    max_threads: int | None,
    max_pilots: int | None,
    as_json: bool,
) -> int:
    """Say what would run in PATHs (here by default), with how many threads, and what is wrong with the others.

    Changes nothing. Exit code 1 if some tomodirs can't be run.
    """
    profile = profile_for(which, max_threads=max_threads, max_pilots=max_pilots)
    chosen = engine_to_plan_with(engine, profile, cores, root_of(which))
    survey = look_through(which, chosen)
    link(survey, chosen.most_threads)
    leave_out_unfit(survey, place_for(chosen, talk))
    history = read_history()
    survey.planned = estimated(survey.planned, history)
    left = {**dict(survey.waiting), **explain_registered(survey.registered)}
    expected = _expected(survey, chosen, wishes)
    if as_json:
        print_json(check_json(survey, left, expected, history.accuracy()))
        return 1 if survey.problems else 0
    if survey.planned:
        console().print(check_table(survey))
    total = sum(one.estimate_s * one.threads for one in survey.planned)
    talk(
        f"{len(survey.planned)} to run (about {seconds_text(total)} of one core), {len(survey.finished)} finished, "
        f"{len(survey.registered)} registered already, {len(survey.waiting)} that wait for one of those, "
        f"{len(survey.problems)} that can't be run"
    )
    talk_unheeded(wishes, profile, chosen, survey)
    if expected is not None and survey.planned:
        talk_forecast(expected, wishes)
    talk_accuracy(history)
    talk_problems(sorted(left.items()), "registered already, or waiting for one that is")
    talk_problems(sorted(survey.problems), "can't be run")
    return 1 if survey.problems else 0


def _expected(survey: Survey, engine: Engine, wishes: Wishes) -> Forecast | None:
    try:
        return forecast(survey.planned, engine, wishes, time.time())
    except (SchedulerError, ProfileError) as error:
        # What runs here and what can't does not hang on it.
        complain([error])
        return None
