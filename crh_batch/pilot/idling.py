"""How long a pilot stays that has nothing to do, but may have soon: results are on their way that others wait for."""

from __future__ import annotations

import time
from collections.abc import Callable

# Between two looks at the names; the pauses double. A result of this pilot's own is noticed at once.
FIRST_PAUSE_S = 1.0
LONGEST_PAUSE_S = 15.0


class Idling:
    """Counts the time without work; for one thread.

    Args:
        idle_s: how long to stay at most, in seconds.
        clock: seconds, monotonic.
    """

    def __init__(self, idle_s: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._idle_s = idle_s
        self._clock = clock
        self._since: float | None = None
        self._pause_s = FIRST_PAUSE_S

    def work_came(self) -> None:
        """Say that there was something to do."""
        self._since = None
        self._pause_s = FIRST_PAUSE_S

    def pause(self, *, busy: bool) -> float | None:
        """Return after how many seconds to look again; None if this pilot has waited long enough.

        Args:
            busy: something of this pilot runs, so it stays anyway.
        """
        now = self._clock()
        if busy:
            self._since = None
        elif self._since is None:
            self._since = now
        pause_s, self._pause_s = self._pause_s, min(2 * self._pause_s, LONGEST_PAUSE_S)
        if self._since is None:
            return pause_s
        left_s = self._since + self._idle_s - now
        return min(pause_s, left_s) if left_s > 0 else None
