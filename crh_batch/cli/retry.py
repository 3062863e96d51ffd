"""`crh-batch retry`: run failed tomodirs again."""

from __future__ import annotations

import click

from crh_batch.cli.common import complain, engine_for, engine_options, talk
from crh_batch.cli.targets import find_targets
from crh_batch.engines.resume import resume
from crh_batch.engines.steer import retry
from crh_batch.errors import CrhBatchError
from crh_batch.hosts.this_machine import ThisMachine
from crh_batch.profile import load_profile


@click.command("retry")
@click.argument("where", nargs=-1, metavar="[BATCH|PATH]...")
@click.option("--failed", is_flag=True, help="What has failed (the default if neither is given).")
@click.option("--lost", is_flag=True, help="Also attempts whose pilots are dead, or of which nothing is known.")
@click.option("--force", is_flag=True, help="Even when another client's work on the batch can't be proven dead.")
@engine_options
def command(
    where: tuple[str, ...],
    failed: bool,
    lost: bool,
    force: bool,
    engine: str | None,
    cores: int | None,
    max_threads: int | None,
) -> int:
    """Run again what failed of BATCH, or of the tomodirs at or below PATH; the newest batch by default.

    With --lost you say that pilots of which nothing is known are dead; should one live, its result is still used at
    most once.
    """
    code = 0
    for target in find_targets(where):
        batch = target.batch
        if failed or not lost:
            again, taken = retry(batch, target.only, force=force)
            talk(f"batch {batch.batch_id}: {again} failed tomodirs are ready again")
            for path, why in taken:
                talk(f"  {path}: left alone: {why}")
        profile = load_profile(batch.paths.root, max_threads=max_threads)
        try:
            resumed = resume(
                batch, engine_for(engine, profile, cores), ThisMachine(), force=lost or force, collect=False
            )
        except CrhBatchError as error:
            complain([error])
            code = max(code, error.exit_code)
            continue
        if resumed.lost:
            talk(f"  {resumed.lost} whose pilots are dead are ready again")
        for start in resumed.started:
            talk(f"  started {start.where}")
        if resumed.alive and not resumed.started:
            talk("  pilots that live take them")
    return code
