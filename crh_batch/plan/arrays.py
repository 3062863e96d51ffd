"""Arrays: one for each width, or one of whole nodes for all, with as many pilots as the work is worth."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from crh_batch.ledger.memory import NOTHING_KNOWN, MemoryRule

# Starting an array task takes a second or two on a quiet cluster, minutes on a full one: a pilot should have at least
# about this much to do.
WORTH_A_PILOT_S = 60.0
# Until a site says otherwise; more pilots than this on a small batch only queue.
DEFAULT_MAX_PILOTS = 100
# The class that stands for all widths.
ALL_WIDTHS = 0


@dataclass(frozen=True)
class ClassWork:
    """The tomodirs of one width that are to be run.

    Args:
        threads: cores that each of them occupies.
        estimates_s: seconds, one for each tomodir.
        needs_bytes: memory, one for each tomodir, in the same order; the pilot is not counted (ledger/memory.py).
        at_once: how many of them can run side by side, for some wait for others; 0 for all.
    """

    threads: int
    estimates_s: Sequence[float]
    needs_bytes: Sequence[int]
    at_once: int = 0


@dataclass(frozen=True)
class ArrayRequest:
    """What is asked of a scheduler in one array.

    Args:
        threads: which class of tomodirs the pilots take; ALL_WIDTHS for all.
        cores: cores an array task.
        pilots: array tasks.
        memory_bytes: memory an array task.
        tomodirs: for how many.
        estimate_s: what they may take together, in seconds of one pilot.
        partition: where to; empty for what the profile says.
        deadline: when nothing may run any more, seconds since 1970; 0 for never.
        after_job: begins when all tasks of this job have ended; empty for at once.
        chain: how many arrays of its class there are already, where follow-ups are wanted behind them; None where not.
    """

    threads: int
    cores: int
    pilots: int
    memory_bytes: int
    tomodirs: int
    estimate_s: float
    partition: str = ""
    deadline: float = 0.0
    after_job: str = ""
    chain: int | None = None


def plan_array(
    work: ClassWork, max_pilots: int, max_array_size: int, memory: MemoryRule = NOTHING_KNOWN
) -> ArrayRequest:
    """Size the array of one class.

    Args:
        max_pilots: what the user or profile allows.
        max_array_size: what the scheduler allows, as a number of tasks.
    """
    total = sum(work.estimates_s)
    count = len(work.estimates_s)
    pilots = max(1, min(_worth(total), work.at_once or count, max_pilots, max_array_size))
    memory_bytes = memory.job_bytes(max(work.needs_bytes))
    return ArrayRequest(work.threads, work.threads, pilots, memory_bytes, count, total)


def plan_nodes(
    work: Sequence[ClassWork],
    cores: int,
    max_pilots: int,
    max_array_size: int,
    memory: MemoryRule = NOTHING_KNOWN,
    memory_mb: int = 0,
) -> ArrayRequest:
    """Size the one array of jobs that each take tomodirs of all widths.

    Args:
        cores: of each job.
        max_pilots: what the user or profile allows.
        max_array_size: what the scheduler allows, as a number of tasks.
        memory_mb: of each job, as the user says, MB of 2^20 bytes; 0 for what fills all cores and no more.
    """
    total = sum(min(one.threads, cores) * sum(one.estimates_s) for one in work) / cores
    side_by_side = sum(min(one.threads, cores) * (one.at_once or len(one.estimates_s)) for one in work)
    pilots = max(1, min(_worth(total), -(-side_by_side // cores), max_pilots, max_array_size))
    memory_bytes = memory_mb << 20 if memory_mb else memory.job_bytes(_most_at_once(work, cores))
    count = sum(len(one.estimates_s) for one in work)
    return ArrayRequest(ALL_WIDTHS, cores, pilots, memory_bytes, count, total)


def _worth(seconds: float) -> int:
    """Return how many pilots so much work is worth."""
    return max(1, -(-int(seconds * 1000) // int(WORTH_A_PILOT_S * 1000)))


def _most_at_once(work: Sequence[ClassWork], cores: int) -> int:
    """Return the memory of the tomodirs that take most for a core, as many as the cores can hold."""
    needs = [(need, min(one.threads, cores)) for one in work for need in one.needs_bytes]
    needs.sort(key=lambda one: (-one[0] / one[1], -one[0]))
    most, free = 0, cores
    for need, threads in needs:
        if threads <= free:
            most, free = most + need, free - threads
        if not free:
            break
    return max(most, max(need for need, _ in needs))
