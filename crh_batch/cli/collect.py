"""`crh-batch collect`: results into the tomodirs."""

from __future__ import annotations

import time
from collections.abc import Sequence

import click

from crh_batch.cli.common import batch_argument, json_option, print_json, talk
from crh_batch.cli.finish import collect_target, say_collected, talk_held, talk_last_words
from crh_batch.cli.targets import current_targets, group_option
from crh_batch.engines.target import Target
from crh_batch.engines.wait import End, wait_for
from crh_batch.errors import Busy
from crh_batch.hosts.this_machine import ThisMachine
from crh_batch.ledger.collect import CollectReport
from crh_batch.report.as_json import SCHEMA, collect_json
from crh_batch.report.states import count

# How long one round of --follow waits before it collects what has come in.
_ROUND_S = 5.0


@click.command("collect")
@batch_argument
@group_option
@click.option("--follow", is_flag=True, help="Go on collecting as tomodirs finish, until all is over.")
@click.option(
    "--force",
    is_flag=True,
    help="Also where inputs changed since the run, and when another client's collecting can't be proven dead.",
)
@json_option
def command(batch: str, group: str, follow: bool, force: bool, as_json: bool) -> int:
    """Put finished results of BATCH into their tomodirs; by default of all batches here that have some.

    Checks each result's sum, refuses tomodirs whose input has changed since, and removes their .crh files. Running it
    again does only what is left. Exit code 0 only if everything is complete and in place.
    """
    targets = current_targets(batch, group)
    reports = [collect_target(target, force=force, force_custody=force) for target in targets]
    if follow:
        _follow(targets, reports, force=force)
    code = max(say_collected(target, report, tables=not as_json) for target, report in zip(targets, reports))
    if as_json:
        print_json(
            {
                "schema": SCHEMA,
                "batches": [
                    collect_json(one.batch.batch_id, report, count(one.batch, one.only))
                    for one, report in zip(targets, reports)
                ],
            }
        )
    return code


def _follow(targets: Sequence[Target], reports: Sequence[CollectReport], *, force: bool) -> None:
    """Collect what comes in, until all is over or nobody is left; the reports grow."""
    end, busy = End.TIMEOUT, False
    while end is End.TIMEOUT or busy:
        end = wait_for(targets, ThisMachine(), timeout_s=_ROUND_S)
        if busy:
            time.sleep(_ROUND_S)
        busy = False
        for target, report in zip(targets, reports):
            try:
                more = collect_target(target, force=force)
            except Busy:
                # Another client is at work on the batch just now; what is done is done in the next round, too.
                busy = True
                continue
            if more.collected:
                talk(f"batch {target.batch.batch_id}: {more.collected} more collected")
            report.collected += more.collected
            report.refused, report.trouble = more.refused, more.trouble
    for target in targets:
        talk_held(count(target.batch, target.only))
    if end is End.STALLED:
        talk("no pilot is left, though tomodirs are: crh-batch submit starts some again")
        for target in targets:
            talk_last_words(target.batch)
