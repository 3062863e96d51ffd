"""Orders: which size of workers each ready tomodir goes to, and which tasks dask has been given for them."""

from __future__ import annotations

import contextlib
from collections import Counter, deque
from typing import Any

from crh_batch.engines.dask.fleet import Fleet
from crh_batch.engines.dask.left import Left
from crh_batch.engines.dask.naming import item_id_of, key_of
from crh_batch.engines.dask.sizes import Size
from crh_batch.engines.dask.task import run_tomodir
from crh_batch.engines.resume import work_of
from crh_batch.errors import DaskError
from crh_batch.ledger.batch import Batch
from crh_batch.plan.arrays import ClassWork

# Tasks to be run that dask knows at a time, and tasks that were run; more would only make its listings long.
_MOST_TASKS = 5000
_MOST_THROUGH = 5000
# How often one attempt is handed out before it is said that something is wrong.
_MOST_ORDERS = 25


class Sizing:
    """Finds a size for each tomodir; a size that was made stays, so that workers do."""

    def __init__(self, batch: Batch, fleet: Fleet) -> None:
        self._batch = batch
        self._fleet = fleet
        self.sizes: list[Size] = []
        self._size_of: dict[tuple[int, int], Size] = {}

    def take_in(self, left: Left) -> None:
        """Find a size for all that is left, and make new ones for what fits into none."""
        homeless: dict[tuple[int, bool], list[int]] = {}
        for item_id, failures in left.soon.items():
            if (item_id, failures) not in self._size_of and not self._settle(item_id, failures):
                homeless.setdefault((self._batch.items[item_id].threads, failures > 0), []).append(item_id)
        if not homeless:
            return
        groups = [homeless[key] for key in sorted(homeless, key=lambda key: (-key[0], key[1]))]
        new = [Size(request) for request in self._fleet.plan([self._work(ids, left) for ids in groups])]
        self.sizes += [size for size in new if not any(one.serves(size.request) for one in self.sizes)]
        for item_id in (item_id for ids in groups for item_id in ids):
            if not self._settle(item_id, left.soon[item_id]):
                self._settle_in_largest(item_id, left.soon[item_id])

    def _settle(self, item_id: int, failures: int) -> bool:
        item = self._batch.items[item_id]
        need = self._batch.need_bytes(item, failures)
        fitting = [size for size in self.sizes if size.takes(item, need)]
        if fitting:
            self._size_of[item_id, failures] = min(fitting, key=lambda size: size.request.memory_bytes)
        return bool(fitting)

    def _settle_in_largest(self, item_id: int, failures: int) -> None:
        """Where nothing is large enough the largest may try, for the need is an estimate."""
        item = self._batch.items[item_id]
        wide_enough = [size for size in self.sizes if size.takes(item, 0)]
        self._size_of[item_id, failures] = max(wide_enough, key=lambda size: size.request.memory_bytes)

    def size_of(self, item_id: int, failures: int) -> Size:
        """Return where a tomodir goes that was taken in."""
        return self._size_of[item_id, failures]

    def work_of(self, size: Size, left: Left) -> list[ClassWork]:
        """Return what is left for a size, a class each, widest first; workers of whole nodes take several widths."""
        ids = [item_id for item_id, failures in left.soon.items() if self._size_of.get((item_id, failures)) is size]
        inside = [
            [item_id for item_id in ids if one.first <= item_id < one.stop] for one in self._batch.settings.classes
        ]
        return [self._work(part, left) for part in inside if part]

    def _work(self, ids: list[int], left: Left) -> ClassWork:
        item_class = next(one for one in self._batch.settings.classes if one.first <= ids[0] < one.stop)
        return work_of(self._batch, item_class, {item_id: left.soon[item_id] for item_id in sorted(ids)})


class Orders:
    """Tells dask what to run. What came of it the ledger says, not dask.

    Orders that are through are kept for a while, for the dashboard's progress bars count them. Where dask loses the
    answer with a worker it gives the order again, to be told that this was done.
    """

    def __init__(self, batch: Batch, sizing: Sizing, client: Any, scheduler: Any) -> None:
        self._batch = batch
        self._sizing = sizing
        self._client = client
        self._scheduler = scheduler
        self._futures: dict[int, Any] = {}
        self._through: deque[Any] = deque()
        self._given: Counter[tuple[int, int]] = Counter()

    async def take_back(self, left: Left) -> None:
        """Put aside orders that are through, and take back those that wait at a worker which is about to leave."""
        for item_id, future in list(self._futures.items()):
            if future.done():
                del self._futures[item_id]
                self._through.append(future)
        while len(self._through) > _MOST_THROUGH:
            self._through.popleft().release()
        waiting: list[Any] = []
        for worker in self._scheduler.workers.values():
            if worker.resources and not any(worker.resources.values()):
                for task in worker.processing:
                    with contextlib.suppress(ValueError, IndexError):
                        item_id = item_id_of(str(task.key))
                        if item_id in left.ready and item_id in self._futures:
                            waiting.append(self._futures.pop(item_id))
        if waiting:
            await self._client.cancel(waiting)

    def hand_out(self, left: Left) -> None:
        """Give dask what is ready and was not given yet.

        Raises:
            DaskError: workers send something back again and again.
        """
        for item_id, state in left.ready.items():
            if len(self._futures) >= _MOST_TASKS:
                break
            if item_id in self._futures:
                continue
            item = self._batch.items[item_id]
            order = self._given[item_id, state.attempt]
            if order >= _MOST_ORDERS:
                raise DaskError(
                    f"{item.path}: was given to workers {order} times, and none began with it",
                    "Look at the workers' logs in the batch's logs/; crh-batch submit --engine array does without "
                    "dask.",
                )
            self._given[item_id, state.attempt] += 1
            self._futures[item_id] = self._client.submit(
                run_tomodir,
                item_id,
                key=key_of(item, state.attempt, order),
                # The batch's order, which is by the user's priority and then longest first.
                priority=-item_id,
                resources=self._sizing.size_of(item_id, state.memory_failures).demand(item),
                pure=False,
            )
