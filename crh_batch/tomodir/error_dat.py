"""error.dat: what CRMod and CRTomo leave in exe/ when they give up by themselves.

Its lines: in CRTomo first ``CRTomo PID n exited abnormally``; then 80 columns for what the program was doing, three
for the error's number and one for a flag; then the error's text. A file may be empty or hold NUL bytes, and a later
good run does not remove it.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from crh_batch.tomodir.files import TEXT_LIMIT_BYTES, read_bytes

_PID_LINE = re.compile(rb"^\s*CRTomo PID\s+\d+\s+exited abnormally\s*$")
_SUBJECT_COLUMNS = 80
_NUMBER_COLUMNS = 3
_LONGEST_TEXT = 200
_ERROR_WRITING = 4
_OUT_OF_MEMORY = 97
_MAGNITUDE_OR_MEMORY = 94
_LAST_KNOWN = 111
_UNPRINTABLE = re.compile(r"[\x00-\x1f\x7f-\x9f\s]+")


@dataclass(frozen=True)
class ErrorDat:
    """The content of an error.dat.

    Attributes:
        text: the error in one line for the user; "" when the file says nothing.
        subject: what the program was doing, or the file that it was working with.
        number: the program's number of the error; None when there is none.
    """

    text: str
    subject: str = ""
    number: int | None = None

    @property
    def is_memory(self) -> bool:
        """Whether memory ran out.

        "allocation problem sens" with number 94, or with 0 later on, is what CRTomo writes then (seen under a limit
        of memory). 94 alone also stands for a measured magnitude of 0 or less, and then the subject is
        "Error memory allocation data space", left over from before (seen).
        """
        subject = self.subject.lower()
        if self.number == _OUT_OF_MEMORY:
            return True
        if self.number not in (0, None, _MAGNITUDE_OR_MEMORY) or "data space" in subject:
            return False
        return subject.startswith(("allocation problem", "allocation probl", "error memory allocation"))

    @property
    def is_writing(self) -> bool:
        """Whether a file could not be written, which is a full disk more often than a wrong input."""
        return self.number == _ERROR_WRITING


def read_error_dat(path: str) -> ErrorDat | None:
    """Return what an error.dat says, or None if there is no such file that can be read."""
    try:
        data = read_bytes(path, TEXT_LIMIT_BYTES)
    except (OSError, ValueError):
        return None
    lines = [line for line in data.split(b"\n") if line.strip(b"\0 \t\r") and not _PID_LINE.match(line)]
    if not lines:
        return ErrorDat("")
    number = lines[0][_SUBJECT_COLUMNS : _SUBJECT_COLUMNS + _NUMBER_COLUMNS].strip()
    if not number.isdigit():
        return ErrorDat(_clean(b" ".join(lines))[:_LONGEST_TEXT])
    subject = _clean(lines[0][:_SUBJECT_COLUMNS])
    meaning = _clean(b" ".join(lines[1:]))
    if int(number) > _LAST_KNOWN and subject:
        meaning = ""  # the program shows a piece of its memory here: names of files, NUL bytes (seen with 113)
    return ErrorDat(_joined(subject, meaning)[:_LONGEST_TEXT], subject, int(number))


def _joined(subject: str, meaning: str) -> str:
    if not subject or not meaning:
        return subject or meaning
    return meaning if subject in meaning else f"{meaning}: {subject}"


def _clean(data: bytes) -> str:
    return _UNPRINTABLE.sub(" ", data.decode("utf-8", "replace")).strip()
