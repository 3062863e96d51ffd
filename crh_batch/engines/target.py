"""What a command is about: a batch, or some tomodirs of it."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

from crh_batch.ledger.batch import Batch
from crh_batch.ledger.items import Item
from crh_batch.ledger.names import StateName, states

Counts = Counter[StateName]


@dataclass(frozen=True)
class Target:
    """A batch, and which of its tomodirs are meant; None means all."""

    batch: Batch
    only: frozenset[int] | None = None

    def takes(self, item: Item) -> bool:
        """Return whether a tomodir is meant."""
        return self.only is None or item.item_id in self.only

    @property
    def ids(self) -> list[int]:
        """The numbers of the tomodirs that are meant, ascending."""
        return [item_id for item_id in self.batch.items.ids if self.only is None or item_id in self.only]


@dataclass(frozen=True)
class Progress:
    """How far a target is.

    Args:
        counts: tomodirs by state; those that moved to another batch are not counted.
        over: whether nothing of it is left to run; held tomodirs wait for their user, not for a pilot.
    """

    counts: Counts
    over: bool


def progress_of(target: Target) -> Progress:
    """Count a target's states, one listing a thousand tomodirs."""
    counts: Counts = Counter()
    whole: Counts = Counter()
    for item_id, state in states(target.batch.paths, target.batch.items.ids, target.batch.settings):
        if state.name is StateName.MOVED:
            continue
        whole[state.name] += 1
        if target.only is None or item_id in target.only:
            counts[state.name] += 1
    # One that waits may become ready by one that isn't meant.
    left = counts[StateName.READY] + counts[StateName.RUNNING]
    return Progress(counts, not left and (not counts[StateName.WAITING] or is_over(whole)))


def is_over(counts: Counts) -> bool:
    """Return whether nothing of a whole batch is left to run."""
    return not counts[StateName.READY] and not counts[StateName.RUNNING]
