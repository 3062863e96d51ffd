"""`crh-batch wait`: until all is over."""

from __future__ import annotations

import click

from crh_batch.cli.common import batch_argument, json_option, print_json
from crh_batch.cli.finish import wait_with_bar
from crh_batch.cli.targets import current_targets
from crh_batch.report.as_json import SCHEMA, status_json
from crh_batch.report.states import count


@click.command("wait")
@batch_argument
@click.option(
    "--timeout", type=click.FloatRange(0), metavar="SECONDS", help="Give up waiting after so long (exit code 1)."
)
@json_option
def command(batch: str, timeout: float | None, as_json: bool) -> int:
    """Wait until every tomodir of BATCH is over; by default of all batches here that are not.

    Exit code 0 if all ended well, 1 if some failed or time was up, 3 if nobody is left to run the rest.
    """
    batches = [target.batch for target in current_targets(batch)]
    code = wait_with_bar(batches, timeout)
    if as_json:
        statuses = [count(one) for one in batches]
        print_json(
            {
                "schema": SCHEMA,
                "complete": all(one.complete for one in statuses),
                "batches": [status_json(one, with_tomodirs=False) for one in statuses],
            }
        )
    return code
