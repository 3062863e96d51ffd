"""Arrays: one for each width, or one of whole nodes for all, with as many pilots as the work is worth."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from crh_batch.plan.memory import request_bytes

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
        peaks_bytes: peak memory, one for each tomodir, in the same order.
    """

    threads: int
    estimates_s: Sequence[float]
    peaks_bytes: Sequence[int]


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
    """

    threads: int
    cores: int
    pilots: int
    memory_bytes: int
    tomodirs: int
    estimate_s: float
    partition: str = ""


def plan_array(work: ClassWork, max_pilots: int, max_array_size: int) -> ArrayRequest:
    """Size the array of one class.

    Args:
        max_pilots: what the user or profile allows.
        max_array_size: what the scheduler allows, as a number of tasks.
    """
    total = sum(work.estimates_s)
    worth = max(1, -(-int(total * 1000) // int(WORTH_A_PILOT_S * 1000)))
    count = len(work.estimates_s)
    pilots = max(1, min(worth, count, max_pilots, max_array_size))
    return ArrayRequest(work.threads, work.threads, pilots, request_bytes(max(work.peaks_bytes)), count, total)
