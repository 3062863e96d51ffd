"""Whether the kernel has killed anything here for want of memory.

Its counters, the first that can be read: ``oom_kill`` in memory.events of this process's own control group (version 2),
in memory.oom_control (version 1), and in /proc/vmstat, which counts all of the node. Programs run in the pilot's group.
Source: proc(5), and see control_group.
"""

from __future__ import annotations

import contextlib
import functools
import re
import time

from crh_batch.pilot.control_group import own_files

_OOM_KILL = re.compile(rb"^oom_kill (\d+)$", re.MULTILINE)
# The kernel counts before it kills, but a group's counters of version 2 may be summed up later.
_COUNTED_WITHIN_S = 0.2


class MemoryKiller:
    """Compares the count of now with that of its making."""

    def __init__(self) -> None:
        self._before = _count()

    @property
    def has_killed(self) -> bool:
        """Whether something was killed since; True where nothing can be known."""
        if self._before is None:
            return True
        return (_count() or 0) > self._before

    def has_killed_by_now(self) -> bool:
        """Wait a moment for a count that comes late."""
        deadline = time.monotonic() + _COUNTED_WITHIN_S
        while not self.has_killed and time.monotonic() < deadline:
            time.sleep(_COUNTED_WITHIN_S / 4)
        return self.has_killed


def _count() -> int | None:
    for path in _counters():
        with contextlib.suppress(OSError), open(path, "rb", buffering=0) as stream:
            match = _OOM_KILL.search(stream.read())
            if match:
                return int(match.group(1))
    return None


@functools.lru_cache(maxsize=1)
def _counters() -> tuple[str, ...]:
    """Return where the counter may stand, the nearest first."""
    return (*own_files("memory.events", "memory.oom_control"), "/proc/vmstat")
