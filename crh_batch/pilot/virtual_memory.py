"""Little virtual memory for the pilot, where there is a limit on it: SGE's h_vmem.

Beside what it uses, each thread maps 8 MB for its stack and 64 MB for an arena of malloc's, which such a limit counts.
Sources: mallopt(3), pthread_attr_setstacksize(3), getrlimit(2).
"""

from __future__ import annotations

import contextlib
import resource
import threading

_STACK_BYTES = 1 << 20
# M_ARENA_MAX of malloc.h.
_ARENA_MAX = -8


def is_limited() -> bool:
    """Return whether there is a limit on the virtual memory of a process."""
    return resource.getrlimit(resource.RLIMIT_AS)[0] != resource.RLIM_INFINITY


def spare() -> None:
    """Make the threads that come take little of it; where there is no limit, nothing is done."""
    if not is_limited():
        return
    threading.stack_size(_STACK_BYTES)
    # Not every C library has it, and it is a courtesy only.
    with contextlib.suppress(ImportError, OSError, AttributeError):
        import ctypes

        ctypes.CDLL(None).mallopt(_ARENA_MAX, 1)
