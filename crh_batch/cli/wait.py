"""`crh-batch wait`: until all is over."""

from __future__ import annotations

import click

from crh_batch.cli.common import batch_argument, json_option, print_json
from crh_batch.cli.finish import wait_with_bar
from crh_batch.cli.targets import current_targets, group_option
from crh_batch.report.as_json import SCHEMA, status_json
from crh_batch.report.states import count


@click.command("wait")
@batch_argument
@group_option
@click.option(
    "--timeout", type=click.FloatRange(0), metavar="SECONDS", help="Give up waiting after so long (exit code 1)."
)
@json_option
def command(batch: str, group: str, timeout: float | None, as_json: bool) -> int:
    """Wait until every tomodir of BATCH, or at or below PATH, is over; by default of all batches here that are not.

    Held tomodirs are not waited for.

    Exit code 0 if all ended well, 1 if some failed or time was up, 3 if nobody is left to run the rest.
    """
    targets = current_targets(batch, group)
    code = wait_with_bar(targets, timeout)
    if as_json:
        statuses = [count(one.batch, one.only) for one in targets]
        print_json(
            {
                "schema": SCHEMA,
                "complete": all(one.complete for one in statuses),
                "batches": [status_json(one, with_tomodirs=False) for one in statuses],
            }
        )
    return code
