"""Reading what others may have written: regular files only, lines of bounded length, and JSON of the types expected.

Whatever a file holds, what is raised is a ``ValueError`` that says what is wrong; who called names the file. So nothing
that stands in a ledger leads to a hang, to a memory that runs full, or to a type that later code doesn't expect.
"""

from __future__ import annotations

import json
import math
import os
import posixpath
from collections.abc import Iterator
from typing import Any, BinaryIO, Callable, TypeVar

from crh_batch.tomodir.files import open_regular, read_bytes

__all__ = [
    "FILE_LIMIT_BYTES",
    "LINE_LIMIT_BYTES",
    "any_number",
    "inside",
    "lines_of",
    "moment",
    "open_regular",
    "parse_json",
    "read_bytes",
    "taken",
    "text",
    "whole_number",
]

LINE_LIMIT_BYTES = 16 << 20
"""Above this a line is none of a journal's or of items.jsonl; those of a tomodir with 10,000 inputs have 2 MB."""

FILE_LIMIT_BYTES = 256 << 20
"""Above this a file is no batch.json, no submissions.jsonl and no history; those of a million tomodirs have 40 MB."""

_LARGEST = 1 << 62
# The year 5138.
_LAST_MOMENT = 1e11
Kind = TypeVar("Kind")


def lines_of(stream: BinaryIO, limit_bytes: int = LINE_LIMIT_BYTES) -> Iterator[bytes]:
    """Yield the lines of a file with their ends; one that is longer than the limit comes cut, and is the last one."""
    while line := stream.readline(limit_bytes):
        yield line
        if len(line) == limit_bytes and not line.endswith(b"\n"):
            return


def parse_json(data: bytes) -> Any:
    """Return what a text in JSON says.

    Raises:
        ValueError: it is none, not UTF-8, or nested too deep.
    """
    try:
        return json.loads(data)
    except RecursionError:
        raise ValueError("it is nested too deep") from None


def whole_number(value: Any, least: int = 0, most: int = _LARGEST) -> int:
    """Return a whole number from JSON.

    Raises:
        ValueError: it is something else, or out of range.
    """
    if not isinstance(value, int) or isinstance(value, bool) or not least <= value <= most:
        raise ValueError(f"{_shown(value)} is not a whole number from {least} to {most}")
    return value


def any_number(value: Any) -> float:
    """Return a finite number from JSON.

    Raises:
        ValueError: it is something else.
    """
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        try:
            number = float(value)
        except OverflowError:
            number = math.inf
        if math.isfinite(number):
            return number
    raise ValueError(f"{_shown(value)} is not a number")


def moment(value: Any) -> float:
    """Return a time from JSON, seconds since 1970, that a calendar has.

    Raises:
        ValueError: it is something else.
    """
    seconds = any_number(value)
    if not 0 <= seconds <= _LAST_MOMENT:
        raise ValueError(f"{_shown(value)} is no time")
    return seconds


def text(value: Any) -> str:
    """Return a text from JSON that may be printed, compared and put into a path.

    Raises:
        ValueError: it is something else, holds a NUL, or letters that are none (lone surrogates beyond those by which
            Python spells names that are not UTF-8).
    """
    if not isinstance(value, str) or "\0" in value:
        raise ValueError(f"{_shown(value)} is not a text")
    os.fsencode(value)
    return value


def inside(value: Any) -> str:
    """Return a relative path that stays in the directory it is relative to; empty for no path.

    Raises:
        ValueError: it is something else.
    """
    path = text(value)
    if path and (posixpath.isabs(path) or posixpath.normpath(path) != path or path.split("/")[0] == ".."):
        raise ValueError(f"{_shown(path)} is not a plain relative path")
    return path


def taken(check: Callable[[Any], Kind], value: Any, default: Kind) -> Kind:
    """Return what ``check`` makes of a value, or the default where it is something else."""
    try:
        return check(value)
    except ValueError:
        return default


def _shown(value: Any) -> str:
    # repr() of a large value may take long, and fails on integers of thousands of digits.
    if isinstance(value, (str, float, bool)) or value is None:
        return ascii(value)[:60]
    return f"a {type(value).__name__}"
