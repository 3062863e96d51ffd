"""`crh-batch release`: let be begun again what is held."""

from __future__ import annotations

import click

from crh_batch.cli.common import talk
from crh_batch.cli.targets import find_targets, where_arguments
from crh_batch.engines.base import plural
from crh_batch.engines.steer import release
from crh_batch.engines.wait import lives
from crh_batch.hosts.this_machine import ThisMachine
from crh_batch.ledger.names import StateName
from crh_batch.report.states import count


@click.command("release")
@where_arguments
def command(where: tuple[str, ...], group: str) -> int:
    """Let what is held of BATCH, or of the tomodirs at or below PATH, be begun again; the newest batch by default.

    Pilots that live take it up within seconds. It starts none; crh-batch submit does.
    """
    for target in find_targets(where, group):
        batch = target.batch
        talk(f"batch {batch.batch_id}: {plural(release(target), 'tomodir')} released")
        if count(batch, target.only).counts[StateName.READY] and not lives(batch, ThisMachine()):
            talk("  no pilot of this batch lives: crh-batch submit starts some")
    return 0
