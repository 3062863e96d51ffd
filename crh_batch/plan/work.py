"""What the classes of a batch-to-be need, for sizing jobs before there is a batch."""

from __future__ import annotations

from collections.abc import Sequence

from crh_batch.ledger.memory import MemoryRule
from crh_batch.plan.arrays import ClassWork
from crh_batch.plan.order import Planned, at_once


def work_of_planned(ordered: Sequence[Planned], memory: MemoryRule) -> list[ClassWork]:
    """Return what each class needs, in the order of the classes."""
    by_threads: dict[int, list[Planned]] = {}
    for one in ordered:
        by_threads.setdefault(one.threads, []).append(one)
    return [
        ClassWork(
            threads,
            [one.estimate_s for one in group],
            [memory.need_bytes(one.memory_bytes) for one in group],
            at_once({one.path: one.after for one in group}),
        )
        for threads, group in by_threads.items()
    ]
