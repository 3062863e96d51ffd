"""`crh-batch collect`: results into the tomodirs."""

from __future__ import annotations

import click

from crh_batch.cli.common import batch_argument, json_option, print_json, talk
from crh_batch.cli.finish import collect_target, say_collected, talk_last_words
from crh_batch.cli.targets import Target, current_targets
from crh_batch.engines.wait import End, wait_for
from crh_batch.hosts.this_machine import ThisMachine
from crh_batch.ledger.collect import CollectReport
from crh_batch.report.as_json import SCHEMA, collect_json
from crh_batch.report.states import count

# How long one round of --follow waits before it collects what has come in.
_ROUND_S = 5.0


@click.command("collect")
@batch_argument
@click.option("--follow", is_flag=True, help="Go on collecting as tomodirs finish, until all is over.")
@click.option(
    "--force",
    is_flag=True,
    help="Also where inputs changed since the run, and when another client's collecting can't be proven dead.",
)
@json_option
def command(batch: str, follow: bool, force: bool, as_json: bool) -> int:
    """Put finished results of BATCH into their tomodirs; by default of all batches here that have some.

    Checks each result's sum, refuses tomodirs whose input has changed since, and removes their .crh files. Running it
    again does only what is left. Exit code 0 only if everything is complete and in place.
    """
    targets = current_targets(batch)
    reports = {target.batch.batch_id: _collect(target, follow=follow, force=force) for target in targets}
    code = max(say_collected(target, reports[target.batch.batch_id], tables=not as_json) for target in targets)
    if as_json:
        print_json(
            {
                "schema": SCHEMA,
                "batches": [
                    collect_json(one.batch.batch_id, reports[one.batch.batch_id], count(one.batch)) for one in targets
                ],
            }
        )
    return code


def _collect(target: Target, *, follow: bool, force: bool) -> CollectReport:
    report = collect_target(target, force=force, force_custody=force)
    end = End.TIMEOUT if follow else End.OVER
    while end is End.TIMEOUT:
        end = wait_for([target.batch], ThisMachine(), timeout_s=_ROUND_S)
        more = collect_target(target, force=force)
        if more.collected:
            talk(f"{more.collected} more collected")
        report.collected += more.collected
        report.refused = more.refused
    if end is End.STALLED:
        talk("no pilot is left, though tomodirs are: crh-batch submit starts some again")
        talk_last_words(target.batch)
    return report
