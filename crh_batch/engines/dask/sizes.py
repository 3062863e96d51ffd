"""Sizes of workers, and how many of each: decided from what the ledger says is left. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from crh_batch.ledger.items import Item
from crh_batch.ledger.memory import PILOT_BYTES
from crh_batch.plan.arrays import ALL_WIDTHS, ArrayRequest


def resource_of(threads: int, memory_mb: int) -> str:
    """Return the name by which tasks ask for workers of a size: what no other size has, so each finds its own."""
    width = "any" if threads == ALL_WIDTHS else str(threads)
    return f"crh-{width}-threads-{memory_mb}-MB"


@dataclass(frozen=True)
class Size:
    """One size of workers.

    Args:
        request: what is asked for one job of it.
    """

    request: ArrayRequest

    @property
    def resource(self) -> str:
        """The name of what its workers have and its tasks ask for: cores."""
        return resource_of(self.request.threads, -(-self.request.memory_bytes // (1 << 20)))

    def takes(self, item: Item, need_bytes: int) -> bool:
        """Return whether a tomodir's next attempt may run here."""
        fits = need_bytes <= self.request.memory_bytes - PILOT_BYTES
        return fits and self.request.threads in (ALL_WIDTHS, item.threads)

    def demand(self, item: Item) -> dict[str, float]:
        """Return what a tomodir's task asks for."""
        return {self.resource: min(item.threads, self.request.cores)}

    def serves(self, one: ArrayRequest) -> bool:
        """Return whether workers of this size do for a request."""
        return (one.threads, one.cores) == (self.request.threads, self.request.cores) and (
            one.memory_bytes <= self.request.memory_bytes
        )


@dataclass(frozen=True)
class Demand:
    """What is left for workers of one size.

    Args:
        cores: of one worker.
        work_s: seconds of one worker.
        most: no more workers than this have something to do.
    """

    cores: int
    work_s: float
    most: int


def share_cores(demands: Sequence[Demand], cores: int) -> list[int]:
    """Return how many workers of each size share a machine's cores: one of each first, then where most is to do.

    Args:
        demands: widest first, for what comes first has the first choice.
    """
    shares = [0] * len(demands)
    free = cores
    while True:
        fitting = [number for number, one in enumerate(demands) if one.most > shares[number] and one.cores <= free]
        if not fitting:
            return shares
        chosen = max(fitting, key=lambda number: (not shares[number], demands[number].work_s / (shares[number] + 1)))
        shares[chosen] += 1
        free -= demands[chosen].cores
