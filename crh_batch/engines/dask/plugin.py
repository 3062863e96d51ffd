"""What a worker holds: the session of a pilot, with its journal and pack."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from distributed import WorkerPlugin

from crh_batch.engines.dask.naming import PLUGIN
from crh_batch.pilot.fed import Came, FedPilot


class SessionPlugin(WorkerPlugin):
    """The plugin by which a worker's tasks find its pilot; imported late, for it needs dask.

    Args:
        drain: lets the worker take nothing more; returns when the scheduler knows.
    """

    name = PLUGIN

    def __init__(self, pilot: FedPilot, drain: Callable[[], None]) -> None:
        self._pilot = pilot
        self._drain = drain

    def setup(self, worker: Any) -> None:
        """See dask's WorkerPlugin: progress goes along with the worker's heartbeats."""
        worker.metrics[PLUGIN] = self._curves

    def run_item(self, item_id: int) -> dict[str, Any] | None:
        """Run one tomodir; return what came of it, None if this worker is about to leave."""
        answer = self._pilot.run_item(item_id)
        if answer.came is Came.UNFIT:
            # First the scheduler must know, else it would send the task here again.
            self._drain()
            return None
        return {
            "id": item_id,
            "state": answer.came.value,
            "attempt": answer.attempt,
            "failure": answer.failure,
            "seconds": answer.seconds,
        }

    async def _curves(self, worker: Any) -> list[tuple[str, list[tuple[int, float]]]]:
        return await asyncio.to_thread(self._pilot.curves)
