"""`crh-batch hold`: begin nothing more of a batch, a group or some tomodirs."""

from __future__ import annotations

import click

from crh_batch.cli.common import talk
from crh_batch.cli.targets import find_targets, where_arguments
from crh_batch.engines.base import plural
from crh_batch.engines.steer import hold
from crh_batch.ledger.names import StateName
from crh_batch.report.states import count


@click.command("hold")
@where_arguments
def command(where: tuple[str, ...], group: str) -> int:
    """Begin nothing more of BATCH, or of the tomodirs at or below PATH; the newest batch by default.

    What runs goes on to its end, and its results count. Pilots that find nothing else to do leave, and jobs that still
    wait leave as soon as they start. crh-batch release lets them be begun again.
    """
    for target in find_targets(where, group):
        held = hold(target)
        status = count(target.batch, target.only)
        total = count(target.batch).counts[StateName.HELD]
        in_all = f", {total} in all" if total > held else ""
        talk(f"batch {target.batch.batch_id}: {plural(held, 'tomodir')} held{in_all}")
        if running := status.counts[StateName.RUNNING]:
            them = "1 that runs goes on; it is" if running == 1 else f"{running} that run go on; they are"
            talk(f"  {them} held only if begun again")
    return 0
