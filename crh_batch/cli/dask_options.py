"""What `submit --engine dask` can be told."""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar, cast

import click

from crh_batch.engines.base import LOCAL
from crh_batch.engines.choose import DASK, choose_engine
from crh_batch.engines.dask.engine import DaskEngine, check_installed
from crh_batch.engines.dask.place import Options
from crh_batch.errors import UsageError
from crh_batch.hosts.this_machine import ThisMachine
from crh_batch.profile import Profile

Command = TypeVar("Command", bound=Callable[..., Any])
_LOOPBACK = "127.0.0.1:0"


@dataclass(frozen=True)
class DaskWishes:
    """The options as given; None where one wasn't."""

    local: bool = False
    minimum: int | None = None
    maximum: int | None = None
    head_job: bool = False
    dashboard_address: str | None = None

    def engine(self, profile: Profile, cores: int | None) -> DaskEngine:
        """Return the dask engine.

        Raises:
            DaskError: packages are missing, or no node may submit jobs for --head-job.
            UsageError: options that contradict each other, or no scheduler here.
        """
        check_installed()
        minimum, maximum = self.minimum or 0, self.maximum or 0
        if maximum and minimum > maximum:
            raise UsageError(f"--min {minimum}: more than --max {maximum}", "Lower the one or raise the other.")
        local = self.local or profile.scheduler == LOCAL
        if local and self.head_job:
            raise UsageError("--head-job: there is no scheduler with --local", "Leave one of them out.")
        address = self.dashboard_address or _LOOPBACK
        if ":" not in address or not address.rsplit(":", 1)[1].isdigit():
            raise UsageError(f"--dashboard-address {address}: not HOST:PORT", "For example 127.0.0.1:8787.")
        options = Options(minimum, maximum, local, cores or 0, address, profile.interface)
        below = choose_engine(LOCAL if local else "array", profile, cores=cores or 0)
        engine = DaskEngine(below, ThisMachine(), profile, options, self.head_job)
        engine.check_head()
        return engine

    def check(self, engine: str | None) -> None:
        """Refuse options that mean nothing to another engine.

        Raises:
            UsageError: which one.
        """
        given = {
            "--local": self.local,
            "--min": self.minimum is not None,
            "--max": self.maximum is not None,
            "--head-job": self.head_job,
            "--dashboard-address": self.dashboard_address is not None,
        }
        if engine != DASK and (names := [name for name, value in given.items() if value]):
            raise UsageError(f"{names[0]}: only with --engine dask", "Add --engine dask, or leave it out.")


def dask_options(command: Command) -> Command:
    """Add the options of the dask engine; the command gets them as ``dask``."""

    @functools.wraps(command)
    def with_dask(
        *arguments: Any,
        local: bool,
        minimum: int | None,
        maximum: int | None,
        head_job: bool,
        dashboard_address: str | None,
        **others: Any,
    ) -> Any:
        return command(*arguments, dask=DaskWishes(local, minimum, maximum, head_job, dashboard_address), **others)

    options = (
        click.option("--local", is_flag=True, help="dask: workers are processes of this machine."),
        click.option(
            "--min", "minimum", type=click.IntRange(0), help="dask: jobs of each size that are kept. Default: none."
        ),
        click.option(
            "--max",
            "maximum",
            type=click.IntRange(1),
            help="dask: most jobs of each size. Default: the profile's max_pilots.",
        ),
        click.option(
            "--head-job", is_flag=True, help="dask: run the dask scheduler as a job too, so that you can log out."
        ),
        click.option(
            "--dashboard-address",
            metavar="HOST:PORT",
            help="dask: where the dashboard listens, without a password. Default: 127.0.0.1, any port.",
        ),
    )
    decorated: Any = with_dask
    for option in reversed(options):
        decorated = option(decorated)
    return cast(Command, decorated)
