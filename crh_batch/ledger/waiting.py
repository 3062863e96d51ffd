"""What keeps tomodirs waiting that take results of others, and whether it can end by itself."""

from __future__ import annotations

from crh_batch.ledger.batch import Batch
from crh_batch.ledger.names import Marks, State, StateName, gather, list_shard
from crh_batch.ledger.paths import SHARD_SIZE

_FINISHED = (StateName.DONE, StateName.COLLECTED)
_UNDER_WAY = (StateName.READY, StateName.RUNNING)
_NONE: frozenset[int] = frozenset()


class Waits:
    """Answers for one look at a batch: each shard is listed once, when it is first asked for."""

    def __init__(self, batch: Batch) -> None:
        self._batch = batch
        self._shards: dict[int, dict[int, Marks]] = {}
        self._may_end: dict[int, bool] = {}
        self._causes: dict[int, frozenset[int]] = {}

    def may_end(self, item_id: int) -> bool:
        """Return whether all that a tomodir waits for, however far away, is ready or running."""
        # Without recursion: a chain may be as long as a batch.
        way = [item_id]
        on_the_way = {item_id}
        while way:
            here = way[-1]
            sources = self._unfinished(here)
            # One that is on the way is part of a cycle, which only a damaged batch.json holds.
            unknown = next(
                (one for one in sources if one not in self._may_end and one not in on_the_way and self._waits(one)),
                None,
            )
            if unknown is not None:
                way.append(unknown)
                on_the_way.add(unknown)
                continue
            self._may_end[here] = all(self._source_may_end(one) for one in sources)
            on_the_way.remove(way.pop())
        return self._may_end[item_id]

    def _source_may_end(self, item_id: int) -> bool:
        if self._waits(item_id):
            return self._may_end.get(item_id, False)
        return self._state(item_id).name in _UNDER_WAY

    def causes(self, item_id: int) -> list[tuple[int, State]]:
        """Return what a tomodir waits for in the end: the unfinished ones that don't wait themselves, by id."""
        # Each is answered once: going down a chain of ten thousand for each of its links would take minutes.
        way = [item_id]
        on_the_way = {item_id}
        while way:
            here = way[-1]
            sources = self._unfinished(here)
            waiting = [one for one in sources if self._waits(one)]
            unknown = next((one for one in waiting if one not in self._causes and one not in on_the_way), None)
            if unknown is not None:
                way.append(unknown)
                on_the_way.add(unknown)
                continue
            below = [self._causes.get(one, _NONE) for one in waiting]
            own = frozenset(one for one in sources if not self._waits(one))
            # The same set as below where nothing comes to it: a chain has one set.
            self._causes[here] = below[0] if len(below) == 1 and not own else own.union(*below)
            on_the_way.remove(way.pop())
        return [(one, self._state(one)) for one in sorted(self._causes[item_id])]

    def _unfinished(self, item_id: int) -> list[int]:
        after = self._batch.settings.after.get(item_id, ())
        return [one for one in after if self._state(one).name not in _FINISHED]

    def _waits(self, item_id: int) -> bool:
        return self._state(item_id).name is StateName.READY and bool(self._unfinished(item_id))

    def _state(self, item_id: int) -> State:
        """Return the state by a tomodir's own names alone."""
        shard = item_id // SHARD_SIZE
        if shard not in self._shards:
            self._shards[shard] = gather(list_shard(self._batch.paths, shard))
        return self._shards[shard].get(item_id, Marks()).state(self._batch.settings.policy)
