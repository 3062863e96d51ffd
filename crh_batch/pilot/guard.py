"""The guard: a small process that ends a pilot's programs, and removes its scratch, when the pilot dies.

A pilot killed by SIGKILL can't end its children, and a program that goes on for hours would hold a node's cores beside
the attempt that replaces it. The guard reads from a pipe that only the pilot writes to; the end of the pipe is the
pilot's death. (PR_SET_PDEATHSIG would reach the program alone, not what it started, and needs code between fork and
exec in a process with threads.)

A program that has just been started may not be under guard yet when the pilot dies. It is known by its environment,
which names the pilot's scratch directory; so is what has left its process group.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import threading
import time

MARK = "CRH_BATCH_SCRATCH"
# Until what was killed is gone, and nothing writes into the scratch directory any more.
_TRIES = 100
_PAUSE_S = 0.05


class Guard:
    """Starts the guard process; must be made before the pilot starts threads, and before the scratch directory.

    Args:
        scratch: the pilot's scratch directory, removed when the pilot is gone.
    """

    def __init__(self, scratch: str, *, keep_scratch: bool = False) -> None:
        reading, self._writing = os.pipe()
        os.set_inheritable(self._writing, False)
        self._lock = threading.Lock()
        self.pid = os.fork()
        if self.pid == 0:
            os.close(self._writing)
            _watch(reading, scratch, keep_scratch=keep_scratch)
        os.close(reading)
        # Programs inherit it; /proc shows that they did. This process and the guard were started without it.
        os.environ[MARK] = scratch

    def add(self, group: int) -> None:
        """Put a process group under guard."""
        self._send(f"+{group}\n")

    def remove(self, group: int) -> None:
        """Take out a process group that has ended: its number may be used again."""
        self._send(f"-{group}\n")

    def close(self) -> None:
        """End the guard in good order and wait for it."""
        with contextlib.suppress(OSError):
            os.close(self._writing)
        with contextlib.suppress(ChildProcessError):
            os.waitpid(self.pid, 0)

    def _send(self, line: str) -> None:
        # A guard that was killed must not end the pilot: SIGPIPE is ignored by Python, the error is passed over.
        with self._lock, contextlib.suppress(OSError):
            os.write(self._writing, line.encode())


def _watch(reading: int, scratch: str, *, keep_scratch: bool) -> None:
    """Run the guard process; never returns."""
    try:
        # Away from the pilot's group: what ends that group (Ctrl-C, scancel) must not end the guard first.
        os.setsid()
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGUSR1, signal.SIGUSR2, signal.SIGHUP):
            signal.signal(number, signal.SIG_IGN)
        groups: set[int] = set()
        with open(reading, "rb", buffering=0) as pipe:
            rest = b""
            while chunk := pipe.read(4096):
                lines = (rest + chunk).split(b"\n")
                rest = lines.pop()
                for line in lines:
                    (groups.add if line[:1] == b"+" else groups.discard)(int(line[1:]))
        for group in groups:
            with contextlib.suppress(OSError):
                os.killpg(group, signal.SIGKILL)
        # What was being started when the pilot died has been executed by now: until then it held the pipe open.
        for _ in range(_TRIES):
            left = _marked(scratch)
            for pid in left:
                with contextlib.suppress(OSError):
                    os.kill(pid, signal.SIGKILL)
            if not keep_scratch:
                shutil.rmtree(scratch, ignore_errors=True)
            if not left and (keep_scratch or not os.path.lexists(scratch)):
                break
            time.sleep(_PAUSE_S)
    finally:
        os._exit(0)


def _marked(scratch: str) -> list[int]:
    """Return the processes that were started with this scratch directory in their environment."""
    mark = os.fsencode(f"{MARK}={scratch}")
    found = []
    for name in os.listdir("/proc"):
        if name.isdigit():
            # A zombie's environment is empty; those of other users can't be read.
            with contextlib.suppress(OSError), open(f"/proc/{name}/environ", "rb") as stream:
                if mark in stream.read().split(b"\0"):
                    found.append(int(name))
    return found
