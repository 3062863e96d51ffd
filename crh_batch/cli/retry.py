"""`crh-batch retry`: run failed tomodirs again."""

from __future__ import annotations

import click

from crh_batch.cli.common import complain, engine_for, engine_options, profile_at, talk
from crh_batch.cli.targets import find_targets, where_arguments
from crh_batch.engines.base import plural
from crh_batch.engines.resume import resume
from crh_batch.engines.steer import retry
from crh_batch.errors import CrhBatchError
from crh_batch.hosts.this_machine import ThisMachine
from crh_batch.ledger.names import Failure


@click.command("retry")
@where_arguments
@click.option("--failed", is_flag=True, help="What has failed (the default if neither is given).")
@click.option(
    "--cause",
    "causes",
    type=click.Choice([cause.value for cause in Failure]),
    multiple=True,
    help="Only what failed by this cause; may be given several times.",
)
@click.option("--lost", is_flag=True, help="Also attempts whose pilots are dead, or of which nothing is known.")
@click.option("--force", is_flag=True, help="Even when another client's work on the batch can't be proven dead.")
@engine_options
def command(
    where: tuple[str, ...],
    group: str,
    failed: bool,
    causes: tuple[str, ...],
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
    for target in find_targets(where, group):
        batch, again = target.batch, 0
        if failed or causes or not lost:
            retried = retry(target, causes=[Failure(cause) for cause in causes], force=force)
            again = retried.again
            verb = "is" if again == 1 else "are"
            talk(f"batch {batch.batch_id}: {plural(again, 'failed tomodir')} {verb} ready again")
            if retried.held:
                talk(f"  {retried.held} of them are held: crh-batch release")
            for path, why in retried.left:
                talk(f"  {path}: left alone: {why}")
        if not again and not lost:
            # Nothing was asked for that pilots are needed for; others that are ready are submit's business.
            continue
        profile = profile_at(batch.paths.root, max_threads=max_threads)
        try:
            resumed = resume(
                batch,
                engine_for(engine, profile, cores, batch.paths.root),
                ThisMachine(),
                force=lost or force,
                collect=False,
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
