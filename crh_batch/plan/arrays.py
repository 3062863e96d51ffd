"""Arrays: one for each width, with as many pilots as the work is worth."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from crh_batch.plan.memory import request_bytes

# Starting an array task takes a second or two on a quiet cluster, minutes on a full one: a pilot should have at least
# about this much to do.
WORTH_A_PILOT_S = 60.0
# Until a site says otherwise; more pilots than this on a small batch only queue.
DEFAULT_MAX_PILOTS = 100


@dataclass(frozen=True)
class ArrayRequest:
    """What is asked for one class of tomodirs.

    Args:
        threads: cores an array task.
        pilots: array tasks.
        memory_bytes: memory an array task.
        tomodirs: how many the class holds.
        estimate_s: what they may take together, in seconds of one pilot.
    """

    threads: int
    pilots: int
    memory_bytes: int
    tomodirs: int
    estimate_s: float


def plan_array(
    threads: int, estimates_s: Sequence[float], peaks_bytes: Sequence[int], max_pilots: int, max_array_size: int
) -> ArrayRequest:
    """Size one array.

    Args:
        threads: the class's width.
        estimates_s: one for each tomodir.
        peaks_bytes: one for each tomodir.
        max_pilots: what the user or profile allows.
        max_array_size: what the scheduler allows, as a number of tasks.
    """
    total = sum(estimates_s)
    worth = max(1, -(-int(total * 1000) // int(WORTH_A_PILOT_S * 1000)))
    pilots = max(1, min(worth, len(estimates_s), max_pilots, max_array_size))
    return ArrayRequest(threads, pilots, request_bytes(max(peaks_bytes)), len(estimates_s), total)
