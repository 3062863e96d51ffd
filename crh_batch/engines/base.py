"""What an engine is: it sizes requests and starts pilots for a batch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from crh_batch.ledger.batch import Batch
from crh_batch.ledger.memory import MemoryRule
from crh_batch.ledger.submissions import Submission
from crh_batch.plan.arrays import ArrayRequest, ClassWork


def plural(count: int, noun: str) -> str:
    """Return a number with its noun: 1 pilot, 2 pilots."""
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"


LOCAL = "local"


@dataclass(frozen=True)
class Started:
    """A submission, with a line for the user that says where its pilots are."""

    submission: Submission
    where: str


class Engine(Protocol):
    """Starts pilots."""

    @property
    def name(self) -> str:
        """The scheduler's name, or ``local``."""
        ...

    @property
    def most_threads(self) -> int:
        """Cores at hand for one tomodir."""
        ...

    @property
    def memory_rule(self) -> MemoryRule:
        """What is known of the memory of jobs."""
        ...

    def plan(self, work: Sequence[ClassWork]) -> list[ArrayRequest]:
        """Size the requests for the classes of tomodirs: one for each, or one for all."""
        ...

    def scripts(self, batch_id: str, requests: Sequence[ArrayRequest]) -> list[str]:
        """Return what would be submitted, as text; empty where nothing is."""
        ...

    def start(self, batch: Batch, requests: Sequence[ArrayRequest]) -> list[Started]:
        """Start pilots; the caller has the batch's custody.

        Raises:
            SchedulerError: the scheduler refused or didn't answer; what was started before stands in submissions.jsonl.
        """
        ...
