"""The dask engine as `submit` sees it: it sizes as the engine below it does, and starts nothing before it is driven."""

from __future__ import annotations

import importlib.util
from collections.abc import Sequence
from dataclasses import dataclass

from crh_batch.engines.array import ArrayEngine, Other
from crh_batch.engines.base import Started
from crh_batch.engines.dask.fleet import WORKER, WORKER_BYTES, Fleet, JobFleet, LocalFleet
from crh_batch.engines.dask.place import Options, Place
from crh_batch.engines.local import LocalEngine
from crh_batch.engines.sending import describe
from crh_batch.errors import DaskError
from crh_batch.hosts.base import Host
from crh_batch.ledger.batch import Batch
from crh_batch.ledger.memory import MemoryRule
from crh_batch.plan.arrays import ALL_WIDTHS, ArrayRequest, ClassWork
from crh_batch.profile import Profile

HEAD = "crh_batch.engines.dask.head"
# What a dask scheduler with some thousand tasks and its dashboard takes.
HEAD_BYTES = 1 << 30
_NEEDED = ("dask", "distributed", "bokeh", "cryptography")


@dataclass(frozen=True)
class DaskEngine:
    """Sizes requests, and knows how workers are had.

    Args:
        below: whose jobs or processes the workers are.
        head_job: whether the dask scheduler is a job itself.
    """

    below: ArrayEngine | LocalEngine
    host: Host
    profile: Profile
    options: Options
    head_job: bool = False

    @property
    def name(self) -> str:
        """The scheduler's name, or ``local``."""
        return self.below.name

    @property
    def most_threads(self) -> int:
        """Cores at hand for one tomodir."""
        return self.below.most_threads

    @property
    def memory_rule(self) -> MemoryRule:
        """What is known of the memory of jobs."""
        return self.below.memory_rule

    def check_head(self) -> None:
        """Find out whether a dask scheduler in a job could have workers.

        Raises:
            DaskError: nodes may not submit jobs.
            HostError: the scheduler's commands can't be started.
        """
        if not self.head_job or isinstance(self.below, LocalEngine):
            return
        scheduler = self.below.scheduler
        if not scheduler.nodes_may_submit([self.host.run(argv) for argv in scheduler.submitting_argvs()]):
            raise DaskError(
                f"--head-job: no node of this {scheduler.title} may submit jobs, so the job could start no workers",
                "Leave --head-job out: workers go on by themselves after you log out. Or ask whoever runs the cluster "
                "to make the nodes submit hosts (qconf -as).",
            )

    def plan(self, work: Sequence[ClassWork]) -> list[ArrayRequest]:
        """Size the requests."""
        return self.below.plan(work)

    def scripts(self, batch_id: str, requests: Sequence[ArrayRequest]) -> list[str]:
        """Return the workers' scripts, one of each size."""
        if isinstance(self.below, LocalEngine):
            return []
        other = Other(WORKER, "driver", WORKER_BYTES)
        sizes = [ArrayRequest(one.threads, one.cores, 1, one.memory_bytes, 0, 0.0, one.partition) for one in requests]
        return [self.below.other_script(batch_id, one, other) for one in sizes]

    def start(self, batch: Batch, requests: Sequence[ArrayRequest]) -> list[Started]:
        """Submit the job that drives the batch, if one is wanted; else nothing: the client drives it afterwards."""
        if not self.head_job or isinstance(self.below, LocalEngine):
            return []
        place = Place.make(batch.paths, self.options)
        request = ArrayRequest(ALL_WIDTHS, 1, 1, HEAD_BYTES, 0, 0.0)
        started = self.below.start_other(batch, request, Other(HEAD, place.token))
        return [Started(started.submission, f"the dask scheduler, {describe(started.submission)}")]

    def fleet(self, place: Place) -> Fleet:
        """Return how workers are had."""
        if isinstance(self.below, LocalEngine):
            return LocalFleet(self.below, place, self.profile.scratch)
        return JobFleet(self.below, self.host, place)


def check_installed() -> None:
    """Find out whether all is here that the dask engine needs; nothing is imported.

    Raises:
        DaskError: a package is missing.
    """
    missing = [name for name in _NEEDED if importlib.util.find_spec(name) is None]
    if missing:
        raise DaskError(
            f"the dask engine needs packages that are not installed: {', '.join(missing)}",
            "pip install 'crh-batch[dask]', into the environment that crh-batch runs in; or use --engine array.",
        )
