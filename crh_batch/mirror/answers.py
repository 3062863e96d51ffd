"""Answers of the other side that come packed: read with the care that files of others are read with."""

from __future__ import annotations

import base64
import binascii
import contextlib
import re
import zlib
from collections.abc import Iterator, Mapping
from typing import Any

from crh_batch.errors import HostError
from crh_batch.ledger.reading import inside, parse_json, text, whole_number

# What a packed answer may hold when it is unpacked; the other side sends a few MB at a time.
ANSWER_LIMIT_BYTES = 256 << 20
# A plain file name that is not hidden.
_PLAIN = re.compile(r"[^/\0.][^/\0]{0,250}\Z")
_TARGET = re.compile(r"(?:\.\./){1,2}sessions/\w[\w.-]{0,250}\.crh\Z", re.ASCII)


def parse_names(answer: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Return names, as paths below ``names/``, with what they point to; those that point to no session are left out.

    Raises:
        ValueError: it isn't an answer to ``names``.
    """
    found = []
    for entry in _list(_unpacked(answer)):
        path, target = _list(entry, 2)
        if _TARGET.match(text(target)):
            found.append((inside(path), target))
    return found


def parse_counts(answer: Mapping[str, Any]) -> dict[str, int]:
    """Return how many names each directory of names has there.

    Raises:
        ValueError: it isn't the last answer to ``names``.
    """
    return {text(shard): whole_number(count) for shard, count in _dict(answer.get("counts")).items()}


def parse_tails(answer: Mapping[str, Any], suffix: str) -> list[tuple[str, int, bytes]]:
    """Return parts of files: name, from which byte, and the bytes.

    Raises:
        ValueError: it isn't an answer to ``tails``, or a file is none of those asked for.
    """
    found = []
    for entry in _list(_unpacked(answer)):
        name, start, content = _list(entry, 3)
        found.append((_plain(name, suffix), whole_number(start), _bytes(content)))
    return found


def parse_sizes(answer: Mapping[str, Any], suffix: str) -> dict[str, int]:
    """Return how long files are.

    Raises:
        ValueError: it isn't an answer to ``sizes``, or a file is none of those asked for.
    """
    return {_plain(name, suffix): whole_number(size) for name, size in _dict(_unpacked(answer)).items()}


def size_of(answer: Mapping[str, Any]) -> int:
    """Return how many bytes an answer took on the line, about."""
    data = answer.get("data")
    return len(data) if isinstance(data, str) else 0


@contextlib.contextmanager
def understood(host: str, path: str) -> Iterator[None]:
    """Say of an answer that can't be read whose it is.

    Raises:
        HostError: in place of ValueError.
    """
    try:
        yield
    except ValueError as error:
        raise HostError(
            f"{host}: {path}: the answer can't be read: {error}",
            "Run the command again. If it stays so, look at what lies there: somebody else may have written to it.",
            host,
        ) from error


def _unpacked(answer: Mapping[str, Any]) -> Any:
    data = answer.get("data")
    if not isinstance(data, str):
        raise ValueError("it holds no data")
    try:
        unpacking = zlib.decompressobj()
        content = unpacking.decompress(base64.b64decode(data, validate=True), ANSWER_LIMIT_BYTES)
    except (binascii.Error, zlib.error) as error:
        raise ValueError(f"it can't be unpacked: {error}") from error
    if not unpacking.eof:
        raise ValueError("it is cut off, or unreasonably large")
    return parse_json(content)


def _list(value: Any, length: int | None = None) -> list[Any]:
    if not isinstance(value, list) or (length is not None and len(value) != length):
        raise ValueError("a list is expected there")
    return value


def _dict(value: Any) -> dict[Any, Any]:
    if not isinstance(value, dict):
        raise ValueError("a table is expected there")
    return value


def _plain(value: Any, suffix: str) -> str:
    name = text(value)
    if not _PLAIN.match(name) or not name.endswith(suffix):
        raise ValueError(f"{ascii(name)[:60]} is no file that was asked for")
    return name


def _bytes(value: Any) -> bytes:
    if not isinstance(value, str):
        raise ValueError("a text is expected there")
    return value.encode("latin-1")
