"""Which class of tomodirs a free slot works on next, and how much may be under way at a time.

A lane is one class (one width). Lanes come widest first, so narrow tomodirs fill the cores that wide ones leave. A slot
may claim ahead of free cores only while runs are short: a claim that waits is a claim that nobody else can take.
"""

from __future__ import annotations

import threading

from crh_batch.ledger.batch import Batch, ItemClass
from crh_batch.pilot.chooser import Chooser


class Lane:
    """One class of tomodirs, as one pilot works on it; ``lock`` guards its chooser."""

    def __init__(self, batch: Batch, item_class: ItemClass, cores: int) -> None:
        self.width = min(item_class.threads, cores)
        self.chooser = Chooser(batch, item_class)
        self.lock = threading.Lock()
        self.exhausted = False

    def reopen(self) -> None:
        """Look again from the beginning: something may be ready again."""
        with self.lock:
            self.exhausted = False
            self.chooser.start_over()


class Lanes:
    """Admits slots to lanes; safe to use from several threads.

    Args:
        cores: the pilot's.
    """

    def __init__(self, lanes: list[Lane], cores: int) -> None:
        self._lanes = lanes
        self._cores = cores
        self._condition = threading.Condition()
        self._stopped = False
        self._in_flight = 0
        self._ahead = 0
        self._committed_cores = 0
        #: Whether programs end so soon that an idle core costs more than a claim that waits.
        self.short_runs = False

    @property
    def max_ahead(self) -> int:
        """How many tomodirs may be claimed and staged before there is a core for them."""
        return max(1, self._cores // 4)

    def enter(self) -> Lane | None:
        """Wait until something may be claimed, and return where; None when nothing is left or ``stop`` was called."""
        with self._condition:
            while not self._stopped:
                for lane in self._lanes:
                    if not lane.exhausted and self._has_room(lane):
                        self._in_flight += 1
                        self._ahead += 1
                        self._committed_cores += lane.width
                        return lane
                if not self._in_flight and all(lane.exhausted for lane in self._lanes):
                    break
                # An attempt that is under way may fail and be ready again, so this slot stays.
                self._condition.wait()
            self._condition.notify_all()
            return None

    def _has_room(self, lane: Lane) -> bool:
        if self._committed_cores + lane.width <= self._cores:
            return True
        return self.short_runs and self._ahead < self.max_ahead

    def began(self) -> None:
        """Say that a slot which had entered has its cores now."""
        with self._condition:
            self._ahead -= 1
            self._condition.notify_all()

    def leave(self, lane: Lane, *, has_begun: bool) -> None:
        """Say that a slot is through with what it had entered for."""
        with self._condition:
            if not has_begun:
                self._ahead -= 1
            self._in_flight -= 1
            self._committed_cores -= lane.width
            self._condition.notify_all()

    def stop(self) -> None:
        """Let nobody in any more."""
        with self._condition:
            self._stopped = True
            self._condition.notify_all()
