"""What is left of a batch: one look at its names."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

from crh_batch.engines.target import is_over
from crh_batch.ledger.batch import Batch
from crh_batch.ledger.names import State, StateName, states
from crh_batch.ledger.waiting import Waits


@dataclass
class Left:
    """What one look has found.

    Args:
        counts: tomodirs by state.
        ready: those that can be run now.
        soon: these, those that run, and those that may become ready by them: with how many attempts of each ran out of
            memory.
        begun: how many attempts have begun.
    """

    counts: Counter[StateName] = field(default_factory=Counter)
    ready: dict[int, State] = field(default_factory=dict)
    soon: dict[int, int] = field(default_factory=dict)
    begun: int = 0

    @property
    def is_over(self) -> bool:
        """Whether nothing is left to run."""
        return is_over(self.counts)


def look_at(batch: Batch) -> Left:
    """List a batch's names."""
    left = Left()
    waits: Waits | None = None
    for item_id, state in states(batch.paths, batch.items.ids, batch.settings):
        if state.name is StateName.MOVED:
            continue
        left.counts[state.name] += 1
        left.begun += state.attempt - (state.name in (StateName.READY, StateName.WAITING))
        if state.name is StateName.READY:
            left.ready[item_id] = state
        if state.name is StateName.WAITING:
            waits = waits or Waits(batch)
            if not waits.may_end(item_id):
                continue
        elif state.name not in (StateName.READY, StateName.RUNNING):
            continue
        left.soon[item_id] = state.memory_failures
    return left
