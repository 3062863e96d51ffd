"""How long a batch may take on so many pilots, by playing it through: each free core takes the next that fits.

Pilots claim widest first and, inside a width, in the batch's order; so does this. Pure: no clock is looked at.
"""

from __future__ import annotations

import heapq
from collections.abc import Sequence
from dataclasses import dataclass

from crh_batch.plan.arrays import ALL_WIDTHS, ArrayRequest
from crh_batch.plan.graph import dependents


@dataclass(frozen=True)
class Task:
    """A tomodir as the play sees it.

    Args:
        threads: cores that it occupies.
        seconds: how long.
        after: places in the list of those that must have ended before.
    """

    threads: int
    seconds: float
    after: tuple[int, ...] = ()


def finish_times(tasks: Sequence[Task], pilots: int, cores: int) -> list[float]:
    """Return when each task would end, in seconds from the start of all pilots.

    Args:
        tasks: in the order in which they are to be claimed.
        pilots: how many there are.
        cores: of each pilot; a wider task gets all of them.
    """
    open_sources = [len(set(task.after)) for task in tasks]
    behind = dependents({place: task.after for place, task in enumerate(tasks)})
    ready: dict[int, list[int]] = {}
    for place, task in enumerate(tasks):
        if not open_sources[place]:
            heapq.heappush(ready.setdefault(min(task.threads, cores), []), place)
    free = _Free(pilots, cores)
    running: list[tuple[float, int, int]] = []
    ends = [0.0] * len(tasks)
    now = 0.0
    while True:
        for width in sorted((width for width, places in ready.items() if places), reverse=True):
            while ready[width] and (pilot := free.take(width)) is not None:
                place = heapq.heappop(ready[width])
                heapq.heappush(running, (now + tasks[place].seconds, place, pilot))
        if not running:
            return ends
        now, place, pilot = heapq.heappop(running)
        ends[place] = now
        free.give_back(pilot, min(tasks[place].threads, cores))
        for other in behind[place]:
            open_sources[other] -= 1
            if not open_sources[other]:
                heapq.heappush(ready.setdefault(min(tasks[other].threads, cores), []), other)


class _Free:
    """Free cores of pilots, found by how many are free."""

    def __init__(self, pilots: int, cores: int) -> None:
        self._free = [cores] * pilots
        self._by_free: list[set[int]] = [set() for _ in range(cores)] + [set(range(pilots))]

    def take(self, width: int) -> int | None:
        """Take cores of the pilot that they fit into most closely; None if there is none."""
        for free in range(width, len(self._by_free)):
            if self._by_free[free]:
                pilot = next(iter(self._by_free[free]))
                self._move(pilot, -width)
                return pilot
        return None

    def give_back(self, pilot: int, width: int) -> None:
        """Return cores to a pilot."""
        self._move(pilot, width)

    def _move(self, pilot: int, change: int) -> None:
        self._by_free[self._free[pilot]].remove(pilot)
        self._free[pilot] += change
        self._by_free[self._free[pilot]].add(pilot)


def lower_bound(tasks: Sequence[Task], cores: int) -> float:
    """Return what no schedule can beat on so many cores in all: all work evenly shared, or the longest chain."""
    total = sum(task.threads * task.seconds for task in tasks)
    longest = max((task.seconds for task in tasks), default=0.0)
    if any(task.after for task in tasks):
        # With room for all at once only what a task waits for holds it up.
        longest = max(finish_times(tasks, len(tasks), max(task.threads for task in tasks)))
    return max(total / cores, longest)


def times_of(tasks: Sequence[Task], requests: Sequence[ArrayRequest], *, one_pilot: bool) -> list[float]:
    """Return when each task would end if all jobs of the requests began at once, by ascending time.

    Args:
        tasks: of all classes, in the batch's order; whatever waits for others is of one class with them.
        one_pilot: whether the requests are shares of one pilot's cores.
    """
    if not requests:
        return []
    if one_pilot or any(request.threads == ALL_WIDTHS for request in requests):
        pilots = 1 if one_pilot else max(request.pilots for request in requests)
        return sorted(finish_times(tasks, pilots, max(request.cores for request in requests)))
    times: list[float] = []
    for request in requests:
        places = [place for place, task in enumerate(tasks) if task.threads == request.threads]
        new = {place: number for number, place in enumerate(places)}
        own = [
            Task(
                tasks[place].threads,
                tasks[place].seconds,
                tuple(new[one] for one in tasks[place].after if one in new),
            )
            for place in places
        ]
        times += finish_times(own, request.pilots, request.cores)
    return sorted(times)
