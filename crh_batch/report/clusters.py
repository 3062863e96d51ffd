"""On which clusters the tomodirs of a batch run, where that isn't told by its filesystem: a part of it on each."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

from crh_batch.ledger.batch import Batch
from crh_batch.ledger.names import StateName
from crh_batch.mirror.refresh import seen_at
from crh_batch.mirror.stage import read_stages


@dataclass
class ClusterStatus:
    """A cluster's part of a batch.

    Args:
        on: what the user calls the cluster.
        host: the name that SSH knows it by.
        stage: the stage's number.
        seen: until when what happened there is known here, seconds since 1970; None if it was never looked at.
        counts: of its tomodirs, by state.
    """

    on: str
    host: str
    stage: int
    seen: float | None
    counts: Counter[StateName] = field(default_factory=Counter)

    @property
    def total(self) -> int:
        """How many tomodirs it has."""
        return sum(self.counts.values())

    @property
    def left(self) -> int:
        """How many are still to end there."""
        return self.counts[StateName.READY] + self.counts[StateName.RUNNING]

    @property
    def finished(self) -> int:
        """How many ended well."""
        return self.counts[StateName.DONE] + self.counts[StateName.COLLECTED]


class Clusters:
    """The clusters of a batch; none if its pilots see this filesystem.

    Raises:
        LedgerError: a stage can't be read.
    """

    def __init__(self, batch: Batch) -> None:
        stages = read_stages(batch.paths)
        self.each = [ClusterStatus(one.on, one.host, one.number, seen_at(one)) for one in stages]
        # With one there is nothing to look up.
        several = zip(self.each, stages) if len(stages) > 1 else ()
        self._places = {item_id: one for one, stage in several for item_id in stage.ids}

    def of(self, item_id: int) -> ClusterStatus | None:
        """Return the one that a tomodir runs on."""
        return self.each[0] if len(self.each) == 1 else self._places.get(item_id)
