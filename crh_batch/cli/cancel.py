"""`crh-batch cancel`: give tomodirs up."""

from __future__ import annotations

import click

from crh_batch.cli.common import talk
from crh_batch.cli.targets import find_targets, where_arguments
from crh_batch.engines.base import plural
from crh_batch.engines.steer import cancel
from crh_batch.hosts.this_machine import ThisMachine


@click.command("cancel")
@where_arguments
@click.option("--force", is_flag=True, help="Even when another client's work on the batch can't be proven dead.")
def command(where: tuple[str, ...], group: str, force: bool) -> int:
    """Give up what is not finished of BATCH, or of the tomodirs at or below PATH; the newest batch by default.

    A whole batch's jobs are cancelled too. Finished results stay collectable; the .crh files of what is given up go.
    crh-batch retry takes it up again.
    """
    for target in find_targets(where, group):
        done = cancel(target, ThisMachine(), force=force)
        talk(f"batch {target.batch.batch_id}: {plural(done, 'tomodir')} given up")
    return 0
