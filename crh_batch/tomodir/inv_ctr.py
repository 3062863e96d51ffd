"""inv.ctr: how far an inversion is, and whether it has finished; the one file that tells while CRTomo runs.

It starts empty, then gets a header, then a line for each step and each iteration, and in the end ``***finished***``.
run.ctr is no guide: its last line is the processor time in some finished runs, and it stays empty for long.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass

from crh_batch.tomodir.files import Ends, read_ends

# The header of a real file has 5 kB; an iteration with all its 30 trial steps has 4 kB.
_HEAD_BYTES = 16384
_TAIL_BYTES = 16384
_FINISHED = b"***finished***"
_ITERATION = re.compile(rb"^[ \t]*P?IT[ \t]+(\d{1,6})[ \t]+(\S+)", re.MULTILINE)
_COUNTS = {
    "parameters": re.compile(rb"^# Model parameters\s+(\d{1,9})[ \r]*$", re.MULTILINE),
    "data": re.compile(rb"^# Data points\s+(\d{1,9})[ \r]*$", re.MULTILINE),
    "wavenumbers": re.compile(rb"^ ?# wavenumbers :\s+(\d{1,3})[ \r]*$", re.MULTILINE),
}
_BRANCH = re.compile(rb"^## Git-Branch[ ]+(\S.*)$", re.MULTILINE)
_COMMIT = re.compile(rb"^## Git-ID[ ]+(\S.*)$", re.MULTILINE)


@dataclass(frozen=True)
class Progress:
    """What an inv.ctr says so far; None where it does not say it yet.

    Attributes:
        iteration: the last finished iteration; 0 is the starting model.
        rms: its misfit of the data, 1 being a perfect one.
        wavenumbers: None in 2D, where the file has no such line.
        parameters: model cells.
        data: measurements.
        finished: whether the inversion is over and all of it was written.
        version: branch and commit that the program was built from; "" when unknown.
    """

    iteration: int | None = None
    rms: float | None = None
    wavenumbers: int | None = None
    parameters: int | None = None
    data: int | None = None
    finished: bool = False
    version: str = ""


def read_progress(inv_ctr_path: str) -> Progress:
    """Return what can be read of an inv.ctr that CRTomo may be writing; nothing at all if it is not there.

    A line counts when its end is written, so no half-written number is ever taken for a whole one.
    """
    try:
        ends = read_ends(inv_ctr_path, _HEAD_BYTES, _TAIL_BYTES)
    except (OSError, ValueError):
        return Progress()
    head = _whole_lines(ends.head)
    steps = _ITERATION.findall(_whole_lines(ends.tail))
    iteration, rms = steps[-1] if steps else (None, None)
    counts = {name: _count(pattern, head) for name, pattern in _COUNTS.items()}
    version = " ".join(_text(pattern, head) for pattern in (_BRANCH, _COMMIT)).strip()
    return Progress(
        iteration=None if iteration is None else int(iteration),
        rms=None if rms is None else _finite(rms),
        finished=_ends_finished(ends),
        version=version,
        **counts,
    )


def read_curve(inv_ctr_path: str) -> list[tuple[int, float]]:
    """Return the misfits of the finished iterations, by number, as far as the end of the file goes back."""
    try:
        tail = _whole_lines(read_ends(inv_ctr_path, 0, _TAIL_BYTES).tail)
    except (OSError, ValueError):
        return []
    found = {int(number): _finite(rms) for number, rms in _ITERATION.findall(tail)}
    return [(number, rms) for number, rms in sorted(found.items()) if rms is not None]


def is_finished(inv_ctr_path: str) -> bool:
    """Whether the last line of an inv.ctr begins with ``***finished***``."""
    try:
        return _ends_finished(read_ends(inv_ctr_path, 0, 1024))
    except (OSError, ValueError):
        return False


def _ends_finished(ends: Ends) -> bool:
    return ends.tail.rstrip(b"\r\n").rpartition(b"\n")[2].startswith(_FINISHED)


def _whole_lines(data: bytes) -> bytes:
    return data[: data.rfind(b"\n") + 1]


def _count(pattern: re.Pattern[bytes], head: bytes) -> int | None:
    match = pattern.search(head)
    return int(match.group(1)) if match else None


def _text(pattern: re.Pattern[bytes], head: bytes) -> str:
    match = pattern.search(head)
    return match.group(1).decode("utf-8", "replace").strip() if match else ""


def _finite(text: bytes) -> float | None:
    try:
        number = float(text)
    except ValueError:
        return None  # asterisks, where the number did not fit into its columns
    return number if math.isfinite(number) else None
