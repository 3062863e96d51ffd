"""`crh-batch demo`: small synthetic tomodirs to try things with."""

from __future__ import annotations

import click

from crh_batch.cli.common import talk
from crh_batch.demo import write_demo, write_time_lapse
from crh_batch.engines.base import plural
from crh_batch.errors import UsageError


@click.command("demo")
@click.argument("directory", type=click.Path(), metavar="DIR")
@click.option("-n", "count", type=click.IntRange(1), default=12, show_default=True, help="How many tomodirs.")
@click.option("--with-broken", is_flag=True, help="One more, which CRTomo refuses.")
@click.option("--time-lapse", is_flag=True, help="A chain in 2D: each inversion starts from another one's last model.")
@click.option("--seed", type=int, default=1, show_default=True, help="Of the noise and the anomalies' places.")
def command(directory: str, count: int, with_broken: bool, time_lapse: bool, seed: int) -> int:
    """Make a survey of small synthetic tomodirs in DIR, 2D and 2.5D: modelling, then inversion with noise."""
    if time_lapse and with_broken:
        raise UsageError("--time-lapse and --with-broken don't go together", "Leave one of them out.")
    if time_lapse:
        made = write_time_lapse(directory, count, seed=seed)
    else:
        made = write_demo(directory, count, with_broken=with_broken, seed=seed)
    what = plural(len(made), "tomodir")
    talk(f"{what} in {directory}. Next: cd there, then crh-batch check, and crh-batch run or submit.")
    return 0
