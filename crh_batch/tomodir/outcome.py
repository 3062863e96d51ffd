"""What came out of a run, judged in its private directory after the program ended.

CRMod and CRTomo exit with 0 for every error that they find themselves, so the exit status is the least of the
witnesses: ``STOP 0`` or ``STOP -1`` on stderr, error.dat and the results say more. Old outputs are never staged, so
what lies in the directory is of this run.
"""

from __future__ import annotations

import os
import re
import signal
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from crh_batch.errors import TomodirError
from crh_batch.tomodir.error_dat import ErrorDat, read_error_dat
from crh_batch.tomodir.inv_ctr import Progress, read_progress
from crh_batch.tomodir.measurements import read_measurements

__all__ = [
    "JUDGES",
    "Exit",
    "Judge",
    "Outcome",
    "Progress",
    "judge_crmod",
    "judge_crtomo",
    "judge_exit_status",
    "read_progress",
]

_STOP = re.compile(r"^STOP (\S+)", re.MULTILINE)
_NO_MEMORY = re.compile(
    r"Allocation would exceed memory limit|Cannot allocate memory|Error allocating \d+ bytes|"
    r"Memory allocation failed|out of memory|std::bad_alloc",
    re.IGNORECASE,
)
# Each thread has a stack; a limit on virtual memory shows itself so (libgomp, seen), as one on processes would.
_NO_THREAD = re.compile(r"Thread creation failed")
_NO_PROGRAM = re.compile(
    r"error while loading shared libraries|version `[^']*' not found|cannot execute binary file|Exec format error"
)
_NOT_THE_INPUT = re.compile(
    r"No space left on device|Disk quota exceeded|Input/output error|Stale file handle|Too many open files|"
    r"Resource temporarily unavailable|Read-only file system",
    re.IGNORECASE,
)
_NOISE = re.compile(
    r"^(#\d+ |\s+at |Backtrace for this error|Error termination|Note: The following floating-point|STOP )"
)
_LONGEST_ERROR = 400
_NOT_EXECUTABLE, _NOT_FOUND = 126, 127
_SIGNAL_BASE = 128  # a shell reports signal n as 128 + n
_LAST_SIGNAL = 64


@dataclass(frozen=True)
class Exit:
    """How a program ended.

    Attributes:
        returncode: its exit status; -n when signal n ended it.
        stderr: the end of what it wrote there, undecodable bytes replaced.
        short_of_memory: whether the kernel may have killed it for want of memory, if it was killed.
        is_limited: whether a limit on its virtual memory stood, such as SGE's h_vmem.
    """

    returncode: int
    stderr: str
    short_of_memory: bool = True
    is_limited: bool = False


@dataclass(frozen=True)
class Outcome:
    """What came out of a run.

    Attributes:
        ok: whether all results are there.
        failure: "" or "input" (running it again gives the same), "crash", "memory", "program" (missing, or not for
            this machine).
        error: one to three lines for the user; "" when ok.
        iterations: of an inversion, as far as it came.
        rms: of its last iteration.
        version: branch and commit of the program, where it says them.
    """

    ok: bool
    failure: str = ""
    error: str = ""
    iterations: int | None = None
    rms: float | None = None
    version: str = ""


Judge = Callable[[str, Exit, Mapping[str, Any]], Outcome]


def judge_crmod(directory: str, exit: Exit, spec: Mapping[str, Any]) -> Outcome:  # noqa: A002 - the public name
    """Judge a modelling: it said STOP 0, and volt.dat is whole if it was to be written.

    Args:
        directory: the tomodir's private copy, in whose exe/ the program ran.
        spec: the StageNeed as JSON; ``result`` is read.
    """
    missing = ""
    result = spec.get("result")
    if result:
        try:
            problem = read_measurements(os.path.join(directory, str(result))).problem
        except TomodirError as cause:
            problem = f"is missing ({cause.message})"
        missing = f"{result} {problem}" if problem else ""
    elif not _STOP.search(exit.stderr):
        missing = "there is no STOP 0 on stderr, the only sign of success where no volt.dat is written"
    return _outcome(_failed(directory, exit, missing), Progress())


def judge_crtomo(directory: str, exit: Exit, spec: Mapping[str, Any]) -> Outcome:  # noqa: A002 - the public name
    """Judge an inversion: it said STOP 0, and the last data set's inv.ctr ends with ***finished***.

    Args:
        directory: the tomodir's private copy, in whose exe/ the program ran.
        spec: the StageNeed as JSON; ``inv_dirs`` is read.
    """
    inv_dirs = [str(inv_dir) for inv_dir in spec.get("inv_dirs") or ("inv",)]
    steps = [read_progress(os.path.join(directory, inv_dir, "inv.ctr")) for inv_dir in inv_dirs]
    # The last one that was begun tells how far it came.
    last = next((step for step in reversed(steps) if step != Progress()), Progress())
    missing = "" if steps[-1].finished else f"{inv_dirs[-1]}/inv.ctr does not say that the inversion has finished"
    return _outcome(_failed(directory, exit, missing), last)


def judge_exit_status(directory: str, exit: Exit, spec: Mapping[str, Any]) -> Outcome:  # noqa: A002 - the public name
    """Judge a program that keeps to the custom: 0 is good, anything else is not."""
    return _outcome(_failed_by_exit(exit), Progress())


JUDGES: Mapping[str, Judge] = {"crmod": judge_crmod, "crtomo": judge_crtomo, "exit_status": judge_exit_status}
"""The rules by the names that items.jsonl calls them."""


def _outcome(failed: tuple[str, str] | None, progress: Progress) -> Outcome:
    failure, error = failed or ("", "")
    return Outcome(not failure, failure, _printable(error), progress.iteration, progress.rms, progress.version)


def _failed(directory: str, ended: Exit, missing: str) -> tuple[str, str] | None:
    """Return failure and error of a run of CRMod or CRTomo, or None if it was good.

    Args:
        missing: what a good run would have left and this one did not; "" when all is there.
    """
    failed = _failed_by_exit(ended)
    if failed:
        return failed
    stops = _STOP.findall(ended.stderr)
    if stops and stops[-1] == "0":
        # It ended well, so what is missing could not be written.
        return ("crash", f"the program ended well, but {missing}") if missing else None
    said = read_error_dat(os.path.join(directory, "exe", "error.dat"))
    if said is None:
        if not missing and not stops:
            return None  # stderr was lost; the results stand for themselves
        said = ErrorDat("")
    if said.is_memory:
        return "memory", f"out of memory: {said.subject}"
    error = said.text or _decisive(ended.stderr) or (f"STOP {stops[-1]}" if stops else "the program stopped early")
    error = error if said.text or not missing else f"{error}\n{missing}"
    return ("crash" if said.is_writing or _NOT_THE_INPUT.search(error) else "input"), error


def _failed_by_exit(ended: Exit) -> tuple[str, str] | None:
    """Return failure and error as far as exit status and stderr show them, or None for status 0."""
    status = ended.returncode
    if status == 0:
        return None
    error = _decisive(ended.stderr)
    if _NO_MEMORY.search(ended.stderr) or (ended.is_limited and _NO_THREAD.search(ended.stderr)):
        return "memory", error or "out of memory"
    if status in (_NOT_EXECUTABLE, _NOT_FOUND) or _NO_PROGRAM.search(ended.stderr):
        return "program", error or f"the program could not be started (status {status})"
    number = -status if status < 0 else status - _SIGNAL_BASE
    if 0 < number <= _LAST_SIGNAL:
        # What the pilot killed is known to it, and it overrides this.
        failure = "memory" if number == signal.SIGKILL and ended.short_of_memory else "crash"
        return failure, f"ended by signal {_signal_name(number)}\n{error}"
    failure = "crash" if _NOT_THE_INPUT.search(ended.stderr) else "input"
    return failure, error or f"the program ended with status {status}"


def _signal_name(number: int) -> str:
    try:
        return f"{number} ({signal.Signals(number).name})"
    except ValueError:
        return str(number)


def _decisive(stderr: str) -> str:
    """Return the last lines of stderr that say something: no backtrace, no STOP, no note on floating point."""
    lines = [line.strip() for line in stderr.splitlines() if line.strip() and not _NOISE.match(line)]
    return "\n".join(lines[-2:])


def _printable(text: str) -> str:
    """Cut a text and take out what a terminal would obey."""
    printable = "".join([letter if letter.isprintable() or letter == "\n" else " " for letter in text])
    return printable.strip()[:_LONGEST_ERROR]
