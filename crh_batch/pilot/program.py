"""Running one program: own process group, measured by wait4(2), ended with its children when time is up."""

from __future__ import annotations

import contextlib
import os
import resource
import signal
import subprocess
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from crh_batch.pilot.guard import Guard

# Between the polite signal and the other one; what `timeout -k` users and batch systems are used to.
TERM_TO_KILL_S = 5.0


@dataclass(frozen=True)
class Usage:
    """What a finished program took.

    Args:
        returncode: its exit status, or minus the signal that ended it.
        ended_by: why the pilot ended it (``walltime``, ``cancelled``), empty if it ended by itself.
        wall_s: seconds by the clock.
        cpu_s: seconds of processor time, user and system, of the program and its children.
        peak_bytes: largest resident set.
        peak_is_bound: the program needed at most that. Between fork and exec it shares the pilot's memory, which
            wait4(2) counts too, so what needs less than the pilot can't be told exactly.
    """

    returncode: int
    ended_by: str
    wall_s: float
    cpu_s: float
    peak_bytes: int
    peak_is_bound: bool


class RunningProgram:
    """A program that runs; ``end`` may be called from any thread, ``wait`` from the one that started it."""

    def __init__(self, process: subprocess.Popen[bytes], guard: Guard) -> None:
        self._process = process
        self._guard = guard
        self._started = time.monotonic()
        self._ended_by = ""
        self._over = threading.Event()
        self._lock = threading.Lock()

    @classmethod
    def start(
        cls,
        argv: list[str],
        directory: str,
        environment: Mapping[str, str],
        stdout: str,
        stderr: str,
        guard: Guard,
        processors: Sequence[int] = (),
    ) -> RunningProgram:
        """Start a program in a directory, its output going to two files.

        Args:
            processors: those that it may run on; empty for those of this process.

        Raises:
            OSError: it can't be started (missing, not executable, wrong architecture).
        """
        with open(stdout, "wb") as out, open(stderr, "wb") as err, _running_on(processors), _unwarned():
            process = subprocess.Popen(
                argv,
                cwd=directory,
                env=dict(environment),
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=err,
                start_new_session=True,
            )
        guard.add(process.pid)
        return cls(process, guard)

    def wait(self) -> Usage:
        """Wait for the end and return what it took."""
        os.waitid(os.P_PID, self._process.pid, os.WEXITED | os.WNOWAIT)
        with self._lock:
            # Children that the program left behind end with it. It has ended but was not waited for yet, so its number
            # can't be another's.
            self._signal(signal.SIGKILL)
            _, status, usage = os.wait4(self._process.pid, 0)
            self._over.set()
        self._guard.remove(self._process.pid)
        returncode = os.waitstatus_to_exitcode(status)
        self._process.returncode = returncode
        return Usage(
            returncode,
            self._ended_by,
            time.monotonic() - self._started,
            usage.ru_utime + usage.ru_stime,
            usage.ru_maxrss * 1024,
            usage.ru_maxrss <= resource.getrusage(resource.RUSAGE_SELF).ru_maxrss,
        )

    def end(self, why: str) -> None:
        """Ask the program to end, and make it end after TERM_TO_KILL_S; returns at once."""
        with self._lock:
            if self._over.is_set() or self._ended_by:
                return
            self._ended_by = why
            self._signal(signal.SIGTERM)
        killer = threading.Timer(TERM_TO_KILL_S, self._kill)
        killer.daemon = True
        killer.start()

    def _kill(self) -> None:
        with self._lock:
            if not self._over.is_set():
                self._signal(signal.SIGKILL)

    def _signal(self, number: signal.Signals) -> None:
        # Inside the lock and before the process was waited for, so its number can't be another's.
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self._process.pid, number)


@contextlib.contextmanager
def _running_on(processors: Sequence[int]) -> Iterator[None]:
    """Confine this thread to some processors, so that what it starts is confined to them, too.

    On Linux the mask is a thread's own, and a child has that of the thread which started it.
    """
    before = os.sched_getaffinity(0) if processors else set()
    # Whoever runs the node may have taken processors away meanwhile: then the kernel chooses.
    with contextlib.suppress(OSError):
        if processors:
            os.sched_setaffinity(0, processors)
    try:
        yield
    finally:
        with contextlib.suppress(OSError):
            if processors:
                os.sched_setaffinity(0, before)


@contextlib.contextmanager
def _unwarned() -> Iterator[None]:
    """Keep the signals that warn a job away from what this thread starts: a mask outlives exec, and a handler doesn't.

    SGE sends them to all processes of a job, found by a group that it gave them, and they end a program that doesn't
    know them (seen with 8.1.9, where jobs are not root's).
    """
    before = signal.pthread_sigmask(signal.SIG_BLOCK, (signal.SIGUSR1, signal.SIGUSR2))
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def program_environment(omp_threads: int) -> dict[str, str]:
    """Return the environment for CRMod and CRTomo: the pilot's, with the number of threads set for this program.

    What stands in the pilot's environment would otherwise win: dask's nanny sets OMP_NUM_THREADS=1, an empty value is
    an error to libgomp (seen), OMP_THREAD_LIMIT lowers the number silently.
    """
    environment = {key: value for key, value in os.environ.items() if not key.startswith(("OMP_", "GOMP_"))}
    environment["OMP_NUM_THREADS"] = str(omp_threads)
    environment["OPENBLAS_NUM_THREADS"] = "1"
    return environment
