"""How fast a batch goes, and how long the rest may take."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable

from crh_batch.ledger.batch import Batch
from crh_batch.ledger.submissions import read_submissions
from crh_batch.report.usage import finished_since

HOUR_S = 3600.0
# Over how long the pace is measured, and how long it must have been watched to mean anything.
_WINDOW_S = 600.0
_ENOUGH_S = 20.0


def last_hour(batch: Batch, *, now: float | None = None) -> tuple[dict[str, int], float]:
    """Return how many tomodirs each host has finished in the last hour, and how many of its seconds the batch lived."""
    now = time.time() if now is None else now
    first = min((one.time for one in read_submissions(batch.paths)), default=now - HOUR_S)
    window_s = min(HOUR_S, max(0.0, now - first))
    return finished_since(batch, now - HOUR_S), window_s


class Pace:
    """Measures the pace of something that is watched.

    Args:
        clock: seconds, monotonic.
    """

    def __init__(self, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._samples: deque[tuple[float, int]] = deque()

    def note(self, settled: int) -> None:
        """Take in how many are over by now."""
        now = self._clock()
        self._samples.append((now, settled))
        while now - self._samples[0][0] > _WINDOW_S:
            self._samples.popleft()

    def per_s(self) -> float | None:
        """Return how many get over in a second; None as long as that can't be said."""
        if not self._samples:
            return None
        (began, before), (now, settled) = self._samples[0], self._samples[-1]
        if now - began < _ENOUGH_S or settled <= before:
            return None
        return (settled - before) / (now - began)
