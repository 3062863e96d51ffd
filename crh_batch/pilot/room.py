"""What a pilot has to give: cores, the processors behind them, and memory."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True, eq=False)
class Place:
    """What one tomodir occupies while its programs run.

    Args:
        processors: the numbers of those that its programs may run on; empty for any.
    """

    cores: int
    memory_bytes: int
    processors: tuple[int, ...] = ()


class Room:
    """Counts what is free; not safe for several threads at once.

    Args:
        memory_bytes: 0 if not known: then memory is no obstacle.
        processors: those that this process may use. They are dealt out if they are as many as the cores. If there are
            more, other pilots may run on them; if fewer, there are not enough: then the kernel chooses.
    """

    def __init__(self, cores: int, memory_bytes: int = 0, processors: Iterable[int] = ()) -> None:
        self.cores = cores
        self.memory_bytes = memory_bytes
        self.free_cores = cores
        self.free_bytes = memory_bytes
        numbers = sorted(processors)
        self._free_processors = numbers if len(numbers) == cores else []
        self.places: list[Place] = []

    def fits(self, cores: int, memory_bytes: int) -> bool:
        """Return whether so much is free. Who wants more than there is gets all of it, when it is free."""
        enough = not self.memory_bytes or min(memory_bytes, self.memory_bytes) <= self.free_bytes
        return enough and min(cores, self.cores) <= self.free_cores

    def holds(self, cores: int, memory_bytes: int) -> bool:
        """Return whether anything so large has a place."""
        cores, memory_bytes = min(cores, self.cores), min(memory_bytes, self.memory_bytes)
        return any(place.cores >= cores and place.memory_bytes >= memory_bytes for place in self.places)

    def take(self, cores: int, memory_bytes: int) -> Place:
        """Occupy what ``fits``."""
        cores = min(cores, self.cores)
        memory_bytes = min(memory_bytes, self.memory_bytes)
        place = Place(cores, memory_bytes, self._deal(cores))
        self.free_cores -= cores
        self.free_bytes -= memory_bytes
        self.places.append(place)
        return place

    def give_back(self, place: Place) -> None:
        """Free what ``take`` gave."""
        self.places.remove(place)
        self.free_cores += place.cores
        self.free_bytes += place.memory_bytes
        self._free_processors = sorted([*self._free_processors, *place.processors])

    def _deal(self, count: int) -> tuple[int, ...]:
        """Take processors with neighbouring numbers where there are such: they share caches and memory."""
        free = self._free_processors
        starts = range(len(free) - count + 1)
        start = next((place for place in starts if free[place + count - 1] - free[place] == count - 1), 0)
        dealt = tuple(free[start : start + count])
        del free[start : start + count]
        return dealt
