"""A pilot without programs: the real decisions on a clock that jumps from one end of a run to the next."""

from __future__ import annotations

import heapq
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from crh_batch.ledger.items import Item
from crh_batch.pilot.chooser import Candidate
from crh_batch.pilot.packing import PATIENCE_S, Offer, Packing
from crh_batch.pilot.room import Place, Room


@dataclass(frozen=True)
class Task:
    """A tomodir of the simulation: how wide, how long, how large, and when it becomes ready."""

    number: int
    width: int
    seconds: float
    memory_bytes: int = 0
    ready: float = 0.0

    @property
    def offer(self) -> Offer:
        """What a lane offers of it; the estimate is right."""
        item = Item(self.number, "", self.width, self.width, self.seconds, self.memory_bytes, ())
        return Offer(Candidate(self.number, 1), item, self.width, self.memory_bytes)


class SimulatedLane:
    """All tasks of one width, longest first."""

    def __init__(self, tasks: Sequence[Task], clock: Callable[[], float], *, short_runs: bool = False) -> None:
        self.width = tasks[0].width
        self.short_runs = short_runs
        self._clock = clock
        self._left = sorted(tasks, key=lambda task: (-task.seconds, task.number))

    @property
    def ready(self) -> list[Task]:
        """Those that may begin, in order."""
        return [task for task in self._left if task.ready <= self._clock()]

    @property
    def is_open(self) -> bool:
        """Whether there is one."""
        return bool(self.ready)

    def find(self, fits: Callable[[Offer], bool], *, look_on: bool) -> tuple[Offer | None, Offer | None]:
        """As the real one."""
        refused = None
        for task in self.ready if look_on else self.ready[:1]:
            if fits(task.offer):
                self._left.remove(task)
                return task.offer, refused
            refused = refused or task.offer
        return None, refused

    def put_back(self, offer: Offer) -> None:
        """As the real one."""
        number = offer.candidate.item_id
        self._left.append(Task(number, offer.width, offer.item.estimate_s, offer.memory_bytes))
        self._left.sort(key=lambda task: (-task.seconds, task.number))


@dataclass
class Simulation:
    """Runs tasks as a pilot would.

    Args:
        on_idle: called with each task that is ready and fits at a moment when nothing more is begun.
    """

    tasks: Sequence[Task]
    room: Room
    now: float = 0.0
    began: dict[int, float] = field(default_factory=dict)
    ended: dict[int, float] = field(default_factory=dict)
    idle: list[tuple[float, Task, list[Task]]] = field(default_factory=list)

    def run(self) -> float:
        """Run all of them; return the makespan."""
        packing = Packing(self.room, lambda: self.now, threading.RLock())
        by_width: dict[int, list[Task]] = {}
        for task in self.tasks:
            by_width.setdefault(min(task.width, self.room.cores), []).append(task)
        lanes = [SimulatedLane(by_width[width], lambda: self.now) for width in sorted(by_width, reverse=True)]
        seconds = {task.number: task.seconds for task in self.tasks}
        running: list[tuple[float, int, Place]] = []
        while len(self.ended) < len(self.tasks):
            while (choice := packing.choose(lanes, may_go_ahead=False)) is not None:
                number = choice.offer.candidate.item_id
                place = self.room.take(choice.offer.width, choice.offer.memory_bytes)
                self.began[number] = self.now
                heapq.heappush(running, (self.now + seconds[number], number, place))
            waiting = [task for lane in lanes for task in lane.ready]
            self.idle += [(self.now, task, waiting) for task in waiting if packing.fits(task.offer)]
            coming = [task.ready for task in self.tasks if task.ready > self.now and task.number not in self.began]
            self.now = min([*coming, *(one[0] for one in running[:1])])
            while running and running[0][0] <= self.now:
                end, number, place = heapq.heappop(running)
                self.ended[number] = end
                self.room.give_back(place)
        return max(self.ended.values(), default=0.0)

    def patience(self, task: Task) -> float:
        """How long a task is overtaken."""
        return max(PATIENCE_S, task.seconds)
