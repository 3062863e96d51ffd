"""Which tomodir to claim next: decides from listings of names, in the batch's order, without ever asking a lock.

Pilots that walk one list in the same order would meet at each name. After a lost race a pilot looks again, if that is
cheap, and steps aside by a random distance that doubles with each further loss.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from typing import NamedTuple

from crh_batch.ledger.batch import Batch, ItemClass
from crh_batch.ledger.names import StateName, states
from crh_batch.ledger.paths import SHARD_SIZE

# A listing may be renewed after a lost race when that takes at most a tenth of the time since the last one.
_RENEW_AFTER = 10.0


class Candidate(NamedTuple):
    """A tomodir that was ready when the names were listed, and the number of its next attempt."""

    item_id: int
    attempt: int


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

    def next(self) -> Candidate | None:
        """Return a candidate; None when a whole pass over the class found nothing ready."""
        while True:
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
        found = states(self._batch.paths, self._shards[shard], self._batch.settings.policy)
        self._ready = [
            Candidate(item_id, state.attempt)
            for item_id, state in found
            if state.name is StateName.READY and item_id not in self._skipped
        ]
        self._listed_at = self._clock()
        self._listing_took = self._listed_at - began
