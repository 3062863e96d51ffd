"""`crh-batch status`: counts, what runs and how far, what failed and why."""

from __future__ import annotations

import click

from crh_batch.cli.common import batch_argument, json_option, print_json, talk
from crh_batch.cli.finish import show_failed, talk_held, talk_stuck, talk_unfit
from crh_batch.cli.seeing import is_known_gone
from crh_batch.cli.targets import find_one_target, group_option
from crh_batch.engines.base import plural
from crh_batch.engines.living import look
from crh_batch.hosts.this_machine import ThisMachine
from crh_batch.ledger.identity import Verdict
from crh_batch.ledger.names import Failure, State, StateName
from crh_batch.ledger.steering import batch_hold
from crh_batch.ledger.submissions import read_submissions
from crh_batch.report.as_json import last_hour_json, status_json
from crh_batch.report.clusters import ClusterStatus
from crh_batch.report.pace import HOUR_S, last_hour
from crh_batch.report.states import STATE_ORDER, Status, status_of
from crh_batch.report.table import console, make_table, results_table, running_table, shown

_SHOWN = 20
_SHOWN_STATES = (StateName.RUNNING, StateName.FAILED, StateName.WAITING)


@click.command("status")
@batch_argument
@group_option
@click.option("--all", "with_all", is_flag=True, help="Every tomodir, not only those that run or failed.")
@click.option(
    "--list",
    "wanted",
    type=click.Choice([name.value for name in StateName]),
    help="Print the paths of the tomodirs in this state, one a line, and nothing else.",
)
@json_option
def command(batch: str, group: str, with_all: bool, wanted: str | None, as_json: bool) -> int:
    """Show how BATCH fares: the newest at or above the current directory by default.

    Exit code 1 if some tomodirs failed.
    """
    target = find_one_target(batch, group)

    def picks(item_id: int, state: State) -> bool:
        if wanted:
            return state.name.value == wanted
        return with_all or (not as_json and state.name in _SHOWN_STATES)

    status = status_of(target.batch, picks, target.only)
    if wanted:
        for row in status.rows:
            click.echo(row.path.encode(errors="surrogateescape"))
    elif as_json:
        print_json({**status_json(status, with_tomodirs=with_all), "last_hour": last_hour_json(target.batch)})
    else:
        _print(status, with_all=with_all)
    return 1 if status.counts[StateName.FAILED] else 0


def _print(status: Status, *, with_all: bool) -> None:
    batch = status.batch
    click.echo(f"batch {batch.batch_id}  {shown(batch.paths.root)}  {plural(status.total, 'tomodir')}")
    if status.clusters:
        click.echo(", ".join(_part(one) for one in status.clusters))
    elif hosts := sorted({one.host for one in read_submissions(batch.paths) if one.host}):
        click.echo(f"jobs on {', '.join(shown(host) for host in hosts)}")
    rows = [
        [name.value, str(status.counts[name]), _remark(status, name)] for name in STATE_ORDER if status.counts[name]
    ]
    console().print(make_table([("state", "left"), ("tomodirs", "right"), ("", "left")], rows))
    running = [row for row in status.rows if row.state.name is StateName.RUNNING]
    if running and not with_all:
        console().print(running_table(running[:_SHOWN]))
        if len(running) > _SHOWN:
            talk(f"... and {len(running) - _SHOWN} more that run")
    if with_all:
        console().print(results_table(sorted(status.rows, key=lambda row: row.path)))
    show_failed(status)
    talk_stuck(status)
    _say_pace(status)
    _hint(status)


def _part(one: ClusterStatus) -> str:
    finished = f" ({one.finished} finished)" if one.finished else ""
    return f"on {shown(one.on)}: {plural(one.total, 'tomodir')}{finished}"


def _say_pace(status: Status) -> None:
    """Say what the hosts have finished in the last hour, while there is something left."""
    hosts, window_s = ({}, 0.0) if status.over else last_hour(status.batch)
    if hosts:
        finished = sum(hosts.values())
        per_hour = f", {HOUR_S * finished / window_s:.0f} an hour" if window_s else ""
        by_host = ", ".join(f"{shown(host)} {number}" for host, number in hosts.items())
        click.echo(f"finished in the last hour: {finished}{per_hour} ({by_host})")


def _remark(status: Status, name: StateName) -> str:
    if name is StateName.FAILED:
        return ", ".join(f"{number} {kind.value}" for kind, number in status.failures.most_common())
    if name is StateName.RUNNING:
        stages: dict[str, int] = {}
        for row in status.rows:
            if row.state.name is StateName.RUNNING:
                stages[row.stage or "starting"] = stages.get(row.stage or "starting", 0) + 1
        return ", ".join(f"{number} {stage}" for stage, number in sorted(stages.items()))
    if name is StateName.WAITING:
        stuck = sum(row.is_stuck for row in status.rows)
        return f"for results of others, {stuck} of them in vain" if stuck else "for results of others"
    return ""


def _hint(status: Status) -> None:
    """Say what to do next."""
    if batch_hold(status.batch.paths).is_held:
        talk("the whole batch is held: crh-batch release")
    else:
        talk_held(status)
    if not status.over and _say_without_pilots(status):
        talk_unfit(status.batch)
    if status.counts[StateName.DONE]:
        talk("results are ready: crh-batch collect")
    if status.counts[StateName.FAILED] > status.failures[Failure.CANCELLED]:
        talk("failed: mend the input and submit again, or crh-batch retry; crh-batch log TOMODIR shows their output")


def _say_without_pilots(status: Status) -> bool:
    """Say where nobody is who could run what is left; return whether there is such a place."""
    living = look(status.batch, ThisMachine())
    submissions = read_submissions(status.batch.paths)
    served = {one.stage for one in submissions if living.submission(one) is not Verdict.DEAD}
    if not status.clusters:
        if not served:
            talk("no pilot of this batch lives: crh-batch submit starts some")
        return not served
    without = [
        one
        for one in status.clusters
        if one.left and one.stage not in served and not is_known_gone(status.batch, one.host)
    ]
    for one in without:
        many = f"{one.left} {'tomodirs are' if one.left > 1 else 'tomodir is'}"
        talk(
            f"no pilot of this batch lives on {shown(one.on)}, where {many} left: "
            f"crh-batch --on {shown(one.on)} submit starts some"
        )
    return bool(without)
