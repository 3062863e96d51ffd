"""A pilot's cores: given out first come, first served, so that a wide tomodir is not starved by narrow ones."""

from __future__ import annotations

import threading
from collections import deque


class Cores:
    """Counts free cores and makes whoever asks for more wait in line."""

    def __init__(self, count: int) -> None:
        self.count = count
        self._free = count
        self._line: deque[object] = deque()
        self._condition = threading.Condition()

    def take(self, wanted: int) -> int:
        """Wait for cores and take them; return how many, which is ``wanted`` or all that there are."""
        granted = min(wanted, self.count)
        ticket = object()
        with self._condition:
            self._line.append(ticket)
            while self._line[0] is not ticket or self._free < granted:
                self._condition.wait()
            self._line.popleft()
            self._free -= granted
            self._condition.notify_all()
        return granted

    def give_back(self, granted: int) -> None:
        """Return cores that ``take`` gave."""
        with self._condition:
            self._free += granted
            self._condition.notify_all()
