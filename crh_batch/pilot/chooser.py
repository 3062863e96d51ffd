"""Which tomodir to claim next: decides from listings of names, in the batch's order, without ever asking a lock.

Pilots that walk one list in the same order would meet at each name. After a lost race a pilot looks again, if that is
cheap, and steps aside by a random distance that doubles with each further loss.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from typing import NamedTuple

from crh_batch.ledger.batch import Batch
from crh_batch.ledger.names import StateName, states
from crh_batch.ledger.paths import SHARD_SIZE
from crh_batch.ledger.settings import ItemClass
from crh_batch.ledger.steering import Notices
from crh_batch.ledger.waiting import Waits

# A listing may be renewed after a lost race when that takes at most a tenth of the time since the last one.
_RENEW_AFTER = 10.0


class Candidate(NamedTuple):
    """A tomodir that was ready when the names were listed, and the number of its next attempt.

    ``memory_failures``: how many attempts ran out of memory.
    """

    item_id: int
    attempt: int
    memory_failures: int = 0


class Chooser:
    """Hands out candidates of one class; not safe for several threads at once.

    Args:
        clock: seconds, monotonic.
    """

    def __init__(
        self,
        batch: Batch,
        item_class: ItemClass,
        *,
        clock: Callable[[], float] = time.monotonic,
        chance: random.Random | None = None,
    ) -> None:
        self._batch = batch
        self._clock = clock
        self._chance = chance or random.Random()
        ids = [number for number in batch.items.ids if item_class.first <= number < item_class.stop]
        self._shards: list[list[int]] = []
        for item_id in ids:
            if not self._shards or self._shards[-1][0] // SHARD_SIZE != item_id // SHARD_SIZE:
                self._shards.append([])
            self._shards[-1].append(item_id)
        self._shard = 0
        self._ready: list[Candidate] = []
        self._listed_at = 0.0
        self._listing_took = 0.0
        self._losses = 0
        self._seen_ready = False
        self._skipped: set[int] = set()
        self._waiting: dict[int, list[int]] = {}
        self._prospects: bool | None = None
        self._notices = Notices(batch.paths, clock=clock)

    def next(self) -> Candidate | None:
        """Return a candidate; None when a whole pass over the class found nothing ready."""
        while True:
            if self._ready and self._notices.changed():
                # Something of this listing may be held by now.
                self._list(self._shard - 1)
            if self._ready:
                self._seen_ready = True
                place = self._chance.randrange(min(1 << self._losses, len(self._ready))) if self._losses else 0
                return self._ready.pop(place)
            if self._shard == len(self._shards):
                self._shard = 0
                if not self._seen_ready:
                    return None
                # Something was ready on this pass: attempts may have failed since, or races were lost.
                self._seen_ready = False
                continue
            self._list(self._shard)
            self._shard += 1

    def has_prospects(self) -> bool:
        """Return whether one that waits for results, as last listed, may get them: what it takes is under way."""
        if self._prospects is None:
            waits = Waits(self._batch)
            self._prospects = any(waits.may_end(item_id) for ids in self._waiting.values() for item_id in ids)
        return self._prospects

    def put_back(self, candidates: list[Candidate]) -> None:
        """Give back what ``next`` gave and was not tried; it is offered again, first and in this order."""
        self._ready[:0] = candidates

    def won(self) -> None:
        """Say that the last candidate was claimed."""
        self._losses = 0

    def lost(self) -> None:
        """Say that somebody else had claimed the last candidate."""
        self._losses = min(self._losses + 1, 10)
        if self._clock() - self._listed_at > _RENEW_AFTER * self._listing_took:
            self._list(self._shard - 1)

    def skip(self, item_id: int) -> None:
        """Say that this pilot can't take a tomodir (its time doesn't suffice); it is not offered again."""
        self._skipped.add(item_id)

    def start_over(self) -> None:
        """Begin a new pass: something may have become ready again."""
        self._shard = 0
        self._ready = []

    def _list(self, shard: int) -> None:
        began = self._clock()
        found = states(self._batch.paths, self._shards[shard], self._batch.settings)
        self._ready = []
        self._waiting[shard] = []
        self._prospects = None
        for item_id, state in found:
            if item_id in self._skipped:
                continue
            if state.name is StateName.READY:
                self._ready.append(Candidate(item_id, state.attempt, state.memory_failures))
            elif state.name is StateName.WAITING:
                self._waiting[shard].append(item_id)
        self._listed_at = self._clock()
        self._listing_took = self._listed_at - began
