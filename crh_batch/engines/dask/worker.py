"""A dask worker in a job or process: a pilot that takes its orders from a dask scheduler.

``python -m crh_batch.engines.dask.worker BATCH --driver TOKEN`` and a pilot's other arguments. When the scheduler is
gone, or can't be reached, it goes on as any pilot does: the batch needs no scheduler.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import logging
import os
import sys
import threading
from typing import Any

from crh_batch.engines.dask.frugal import be_frugal
from crh_batch.engines.dask.place import Place
from crh_batch.engines.dask.sizes import resource_of
from crh_batch.ledger.paths import BatchPaths
from crh_batch.pilot.fed import FedPilot
from crh_batch.pilot.main import parser, run

# How long a worker tries to reach its scheduler.
JOIN_WITHIN_S = 60.0
# Why a worker was closed that has no scheduler any more; anything else was asked for.
_LEFT_ALONE = ("scheduler-close", "worker-handle-scheduler-connection-broken", "worker-heartbeat-missing")
_PAUSE_S = 0.05


class DaskFeed:
    """Takes orders from a dask scheduler; a ``Feed``.

    Args:
        place: where the scheduler says how it is reached.
        name: the worker's, which is its submission's token.
        slots: how many tasks at a time.
        resources: what tasks can ask of this worker.
        directory: for the worker's own files, on this node.
    """

    def __init__(self, place: Place, name: str, slots: int, resources: dict[str, float], directory: str) -> None:
        self._place = place
        self._name = name
        self._slots = slots
        self._resources = resources
        self._directory = directory
        self._draining = threading.Event()
        self._told = threading.Event()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._worker: Any = None
        self._pilot: FedPilot | None = None
        self._leaving: asyncio.Future[None] | None = None

    def serve(self, pilot: FedPilot) -> bool:
        """See Feed."""
        self._pilot = pilot
        try:
            return asyncio.run(self._serve(pilot))
        except Exception as error:  # Whatever befalls dask, the session is whole.
            print(f"worker: dask has failed, this pilot goes on alone: {error!r}", file=sys.stderr, flush=True)
            return True

    def drain(self) -> None:
        """See Feed."""
        loop = self._loop
        if self._draining.is_set():
            return
        self._draining.set()
        if loop is not None:
            # RACE: dask may just have ended; then there is nobody to tell.
            with contextlib.suppress(RuntimeError):
                loop.call_soon_threadsafe(self._begin_to_leave)

    def drain_and_tell(self) -> None:
        """Take nothing more; return when the scheduler knows. For threads other than the loop's."""
        self.drain()
        # RACE: dask may just have ended, so this must not wait for ever.
        self._told.wait(JOIN_WITHIN_S)

    async def _serve(self, pilot: FedPilot) -> bool:
        # Here, for the guard is a fork that should stay small, and the import takes half a second.
        import dask
        from distributed import Worker
        from distributed.security import Security

        from crh_batch.engines.dask.plugin import SessionPlugin

        contact = self._place.contact()
        if contact is None:
            print("worker: there is no dask scheduler; this pilot works alone", file=sys.stderr, flush=True)
            return True
        ca, cert, key = self._place.secrets
        security = Security(tls_ca_file=ca, tls_worker_cert=cert, tls_worker_key=key, require_encryption=True)
        closed_for: list[str] = []

        class OneOfOurs(Worker):
            async def close(  # type: ignore[override]
                self,
                timeout: float = 30,
                executor_wait: bool = False,
                nanny: bool = False,
                reason: str = "worker-close",
            ) -> str | None:
                closed_for.append(reason)
                # The pilot waits for what runs, and the ledger gets it; dask need not.
                return await super().close(timeout, executor_wait=False, nanny=False, reason=reason)

        dask.config.set(WORKER_CONFIG)
        logging.getLogger("distributed").setLevel(logging.WARNING)
        worker = OneOfOurs(
            contact.address,
            nthreads=self._slots,
            name=self._name,
            resources=self._resources,
            security=security,
            plugins=(SessionPlugin(pilot, self.drain_and_tell),),
            memory_limit=0,
            local_directory=self._directory,
            dashboard=False,
            death_timeout=JOIN_WITHIN_S,
            validate=False,
        )
        self._worker = worker
        self._loop = asyncio.get_running_loop()
        try:
            await worker
        except Exception as error:  # Refused, unreachable, another version: dask raises anything.
            print(f"worker: no dask scheduler at {contact.address} ({error}); this pilot works alone", file=sys.stderr)
            return True
        print(f"worker: at work for {contact.address}", file=sys.stderr, flush=True)
        if self._draining.is_set():
            self._begin_to_leave()
        await worker.finished()
        if self._leaving is not None:
            self._leaving.cancel()
        alone = any(reason in _LEFT_ALONE for reason in closed_for) and not self._draining.is_set()
        why = ", ".join(closed_for)
        print(f"worker: closed ({why}){'; this pilot goes on alone' if alone else ''}", file=sys.stderr, flush=True)
        return alone

    def _begin_to_leave(self) -> None:
        if self._leaving is None:
            self._leaving = asyncio.ensure_future(self._leave())

    async def _leave(self) -> None:
        """Tell the scheduler, wait for what runs, close."""
        try:
            await self._worker.set_resources(**dict.fromkeys(self._resources, 0))
        except Exception as error:  # The scheduler may be gone by now.
            print(f"worker: the scheduler could not be told: {error!r}", file=sys.stderr, flush=True)
        finally:
            self._told.set()
        while self._worker.state.executing_count or (self._pilot is not None and self._pilot.is_busy):
            await asyncio.sleep(_PAUSE_S)
        # Gracefully: what waits here goes elsewhere, and no task is charged with the end of this worker.
        await self._worker.close_gracefully(reason="crh-batch: no time left")


WORKER_CONFIG: dict[str, Any] = {
    "distributed.worker.profile.enabled": False,
    "distributed.worker.memory.target": False,
    "distributed.worker.memory.spill": False,
    "distributed.worker.memory.pause": False,
    "distributed.worker.memory.terminate": False,
    "distributed.comm.require-encryption": True,
}


def main(arguments: list[str] | None = None) -> int:
    """Run one worker; return 0, or 3 when something other than a tomodir stopped it."""
    be_frugal()
    reads = parser()
    reads.add_argument("--driver", required=True, help="the directory below dask/ of the scheduler to work for")
    parsed = reads.parse_args(arguments)
    cores = parsed.cores or len(os.sched_getaffinity(0))
    place = Place(BatchPaths(os.path.abspath(parsed.batch)), parsed.driver)
    resources: dict[str, float] = {resource_of(parsed.threads, parsed.memory_mb): cores}
    slots = cores if parsed.threads == 0 else max(1, cores // parsed.threads)
    return run(parsed, functools.partial(_pilot, place, parsed.submission, slots, resources))


def _pilot(place: Place, name: str, slots: int, resources: dict[str, float], *others: Any) -> FedPilot:
    scratch = others[-1]
    feed = DaskFeed(place, name, slots, resources, os.path.join(scratch, "dask"))
    return FedPilot(feed, *others)


if __name__ == "__main__":
    # By its full name, so that tasks and this file see the same module.
    from crh_batch.engines.dask.worker import main as _main

    sys.exit(_main())
