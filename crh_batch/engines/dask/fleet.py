"""How workers are had: as jobs of a scheduler, or as processes of this machine. The ledger hears of each one first."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import replace
from typing import Protocol

from crh_batch.engines.array import ArrayEngine, Other
from crh_batch.engines.base import LOCAL
from crh_batch.engines.dask.place import Place
from crh_batch.engines.dask.sizes import Demand, Size, share_cores
from crh_batch.engines.local import LocalEngine, group_argv, record_process
from crh_batch.engines.pilots import cancel_jobs
from crh_batch.errors import HostError, SchedulerError
from crh_batch.hosts.base import Host
from crh_batch.ledger.batch import Batch
from crh_batch.ledger.sharing import make_directories, share
from crh_batch.ledger.submissions import Submission, record_intent
from crh_batch.plan.arrays import ArrayRequest, ClassWork

WORKER = "crh_batch.engines.dask.worker"
# What a worker takes more than a pilot, with a margin: 65 MB in all were measured of one with a few tasks.
WORKER_BYTES = 192 << 20


class Fleet(Protocol):
    """Starts and ends workers."""

    @property
    def cores(self) -> int:
        """Cores that all workers share; 0 where a scheduler sees to that."""
        ...

    def plan(self, work: Sequence[ClassWork]) -> list[ArrayRequest]:
        """Size one job for each piece of work, or one for all."""
        ...

    def shares(self, sizes: Sequence[Size], work: Sequence[Sequence[ClassWork]]) -> list[int]:
        """Return how many workers of each size what is left for it is worth."""
        ...

    def start(self, batch: Batch, size: Size, count: int) -> list[Submission]:
        """Start workers; the caller has the batch's custody.

        Raises:
            SchedulerError, HostError: as ``ArrayEngine.start`` does.
        """
        ...

    def cancel(self, submissions: Sequence[Submission]) -> None:
        """End workers, politely; those that have ended do no harm."""
        ...

    def reap(self) -> None:
        """Take note of processes of this machine that have ended: until then they count as alive."""
        ...


class JobFleet:
    """Workers as jobs, each of its own submission."""

    def __init__(self, engine: ArrayEngine, host: Host, place: Place) -> None:
        self._engine = engine
        self._host = host
        self._place = place

    @property
    def cores(self) -> int:
        """See Fleet."""
        return 0

    def plan(self, work: Sequence[ClassWork]) -> list[ArrayRequest]:
        """See Fleet."""
        return self._engine.plan(work)

    def shares(self, sizes: Sequence[Size], work: Sequence[Sequence[ClassWork]]) -> list[int]:
        """See Fleet: as many as the array engine would have of pilots."""
        return [self._engine.plan(each)[0].pilots if each else 0 for each in work]

    def start(self, batch: Batch, size: Size, count: int) -> list[Submission]:
        """See Fleet."""
        request = replace(size.request, pilots=1, tomodirs=0)
        most = self._engine.memory_rule.most_mb << 20
        overhead = min(WORKER_BYTES, max(0, most - request.memory_bytes)) if most else WORKER_BYTES
        other = Other(WORKER, self._place.token, overhead & ~((1 << 20) - 1))
        return [self._engine.start_other(batch, request, other).submission for _ in range(count)]

    def cancel(self, submissions: Sequence[Submission]) -> None:
        """See Fleet."""
        ids = [one.job_id for one in submissions if one.job_id]
        with contextlib.suppress(SchedulerError, HostError):
            cancel_jobs(self._engine.name, self._host, ids)

    def reap(self) -> None:
        """See Fleet."""


class LocalFleet:
    """Workers as processes of this machine, which go on when the client is gone."""

    def __init__(self, engine: LocalEngine, place: Place, scratch: str) -> None:
        self._engine = engine
        self._place = place
        self._scratch = scratch
        self._processes: dict[str, subprocess.Popen[bytes]] = {}

    @property
    def cores(self) -> int:
        """See Fleet."""
        return self._engine.cores

    def plan(self, work: Sequence[ClassWork]) -> list[ArrayRequest]:
        """See Fleet: one tomodir at a time in each worker."""
        rule = self._engine.memory_rule
        return [
            ArrayRequest(
                one.threads,
                min(one.threads, self._engine.cores),
                1,
                rule.job_bytes(max(one.needs_bytes)),
                len(one.estimates_s),
                sum(one.estimates_s),
            )
            for one in work
        ]

    def shares(self, sizes: Sequence[Size], work: Sequence[Sequence[ClassWork]]) -> list[int]:
        """See Fleet: the machine's cores, and no more."""
        demands = [
            Demand(
                size.request.cores,
                sum(sum(one.estimates_s) for one in each),
                sum(one.at_once or len(one.estimates_s) for one in each),
            )
            for size, each in zip(sizes, work)
        ]
        return share_cores(demands, self._engine.cores)

    def start(self, batch: Batch, size: Size, count: int) -> list[Submission]:
        """See Fleet."""
        return [self._start(batch, size) for _ in range(count)]

    def _start(self, batch: Batch, size: Size) -> Submission:
        request = size.request
        submission = record_intent(
            batch.paths, LOCAL, request.threads, 1, cores=request.cores, memory_bytes=request.memory_bytes
        )
        directory = os.path.join(batch.paths.logs, submission.token)
        make_directories(directory)
        argv = [sys.executable, "-m", WORKER, batch.paths.directory, "--driver", self._place.token]
        argv += ["--cores", str(request.cores), "--threads", str(request.threads), "--submission", submission.token]
        argv += ["--memory-mb", str(-(-request.memory_bytes // (1 << 20)))]
        argv += group_argv(batch)
        if self._scratch:
            argv += [f"--scratch={self._scratch}"]
        with open(os.path.join(directory, "worker.out"), "ab") as log:
            share(log.fileno(), directory)
            process = subprocess.Popen(
                argv,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
                cwd=batch.paths.directory,
            )
        self._processes[submission.token] = process
        return record_process(batch.paths, submission, process.pid)

    def cancel(self, submissions: Sequence[Submission]) -> None:
        """See Fleet."""
        for one in submissions:
            process = self._processes.get(one.token)
            # poll() first: a number that was given back may be another process by now.
            if process is not None and process.poll() is None:
                process.send_signal(signal.SIGTERM)

    def reap(self) -> None:
        """See Fleet."""
        for process in self._processes.values():
            process.poll()
