"""Damage to real files: the same seed gives the same damage."""

from __future__ import annotations

import json
import random
from collections.abc import Sequence
from typing import Any

LARGEST = 1 << 20

# What readers of text have stumbled over elsewhere: numbers too large, too long or none, bytes that are no text, paths.
TOKENS: tuple[bytes, ...] = (
    b"1e400", b"-1e400", b"1e-400", b"nan", b"-inf", b"0", b"-1", b"-0", b"1", b"2147483648", b"9223372036854775808",
    b"99999999999999999999", b"9" * 5000, b"0." + b"1" * 3000, b"1_000", b"0x10", b"1.2.3", b"+5", b"1d5", b"3*1.5",
    b"999999999*1", b"T", b"F", b".true.", b"\0", b"\xff\xfe", b"\xed\xa0\x80", "²".encode(), "٣".encode(), b"\r",
    b"\n", b"\r\n", b"\t", b" " * 3000, b"\t" * 3000, b",", b"," * 3000, b"/", b"../..", b"../../../../etc/passwd",
    b"/etc/passwd", b"-rf", b"$(reboot)", b"'", b'"', b"\\", b"\\ud800", b"[" * 3000, b"]", b"{", b"}", b"null",
    b"true", b'{"a":' * 1500, b"1-999999999", b"0-99999999999999999999", b"1-2:0", b"0-9:1%3", b"[0-", b"x" * 5000,
    b"=" * 80, b"|" * 40, b"|", b":", b"-", b"1:2:3:4:5", b"99999999999-00:00:00", b"&lt;",
    b"<!DOCTYPE a [<!ENTITY b 'c'>]>",
    b"</job_list>", b"<tasks>", b"***finished***", b"***", b"#", b"%", b"!", b"999999999", b"1000000000",
    b"10001 10001",
)  # fmt: skip

# What may stand at any key of any JSON.
VALUES: tuple[Any, ...] = (
    None, True, False, 0, -1, 1, 2**31, 2**63, 2**70, -(2**70), 10**400, 0.5, -0.5, 1e308, float("inf"), float("-inf"),
    float("nan"), "", " ", "0", "1e400", "x" * 3000, "\0", "\n", "\ud800", "\udcff", "ä", "..", "../..", "/etc/passwd",
    "a/../b", ".", "-rf", [], [[]], [None], ["a", 1, 2, "b"], [1, 2, 3], [[1, 2, 3]], {}, {"a": 1}, {"": {}},
    {"1": [2]}, {"../x": [0, "y"]},
)  # fmt: skip


def mutated(data: bytes, others: Sequence[bytes], draw: random.Random) -> bytes:
    """Return a damaged copy; JSON is often changed key by key, so that it stays JSON."""
    if data[:1] in b"{[" and draw.random() < 0.6:
        data = _json_lines(data, draw)
        if draw.random() < 0.8:
            return data[:LARGEST]
    for _ in range(draw.choice((1, 1, 1, 2, 3, 6))):
        data = draw.choice(_WAYS)(data, others, draw)[:LARGEST]
    return data


def _span(data: bytes, draw: random.Random, most: int = 64) -> tuple[int, int]:
    start = draw.randrange(len(data) + 1)
    return start, min(len(data), start + draw.randrange(most + 1))


def _flip(data: bytes, others: Sequence[bytes], draw: random.Random) -> bytes:
    changed = bytearray(data)
    for _ in range(draw.choice((1, 2, 8)) if data else 0):
        changed[draw.randrange(len(changed))] ^= 1 << draw.randrange(8)
    return bytes(changed)


def _set(data: bytes, others: Sequence[bytes], draw: random.Random) -> bytes:
    start, stop = _span(data, draw, 8)
    return data[:start] + draw.randbytes(stop - start) + data[stop:]


def _cut(data: bytes, others: Sequence[bytes], draw: random.Random) -> bytes:
    return data[: draw.randrange(len(data) + 1)]


def _drop(data: bytes, others: Sequence[bytes], draw: random.Random) -> bytes:
    start, stop = _span(data, draw, draw.choice((1, 16, 512)))
    return data[:start] + data[stop:]


def _repeat(data: bytes, others: Sequence[bytes], draw: random.Random) -> bytes:
    start, stop = _span(data, draw)
    return data[:stop] + data[start:stop] * draw.choice((1, 2, 50, 1000)) + data[stop:]


def _insert(data: bytes, others: Sequence[bytes], draw: random.Random) -> bytes:
    start, stop = _span(data, draw, draw.choice((0, 4)))
    return data[:start] + draw.choice(TOKENS) + data[stop:]


def _splice(data: bytes, others: Sequence[bytes], draw: random.Random) -> bytes:
    other = draw.choice(others)
    return data[: draw.randrange(len(data) + 1)] + other[draw.randrange(len(other) + 1) :]


def _word(data: bytes, others: Sequence[bytes], draw: random.Random) -> bytes:
    separator = draw.choice((b" ", b"\n", b"|", b","))
    parts = data.split(separator)
    parts[draw.randrange(len(parts))] = draw.choice(TOKENS)
    return separator.join(parts)


def _line(data: bytes, others: Sequence[bytes], draw: random.Random) -> bytes:
    lines = data.split(b"\n")
    one, other = draw.randrange(len(lines)), draw.randrange(len(lines))
    if draw.random() < 0.5:
        lines[one], lines[other] = lines[other], lines[one]
    else:
        lines[one:one] = [lines[other]] * draw.choice((1, 3, 200))
    return b"\n".join(lines)


def _replace_all(data: bytes, others: Sequence[bytes], draw: random.Random) -> bytes:
    return draw.choice((b"", draw.choice(TOKENS), draw.choice(others), draw.randbytes(draw.randrange(300))))


_WAYS = (_flip, _set, _cut, _drop, _repeat, _insert, _insert, _splice, _word, _word, _word, _line, _replace_all)


def _json_lines(data: bytes, draw: random.Random) -> bytes:
    """Change one value or key of one line, or of the whole if it is one document."""
    parts = [data] if _is_json(data) else data.split(b"\n")
    place = draw.randrange(len(parts))
    try:
        parts[place] = _text(_changed(json.loads(parts[place]), draw), draw)
    except ValueError:
        parts[place] = draw.choice(TOKENS)
    return b"\n".join(parts)


def _is_json(data: bytes) -> bool:
    try:
        json.loads(data)
    except ValueError:
        return False
    return True


def _text(value: Any, draw: random.Random) -> bytes:
    text = json.dumps(value, separators=draw.choice(((",", ":"), (", ", ": "))))
    if draw.random() < 0.1 and text.startswith("{") and len(text) > 2:
        # Each key twice: once with another value.
        text = text[:-1] + "," + json.dumps({key: draw.choice(VALUES) for key in value})[1:]
    return text.encode()


def _changed(value: Any, draw: random.Random) -> Any:
    """Return a copy with one thing changed, somewhere in it."""
    if isinstance(value, dict) and value and draw.random() < 0.85:
        key = draw.choice(sorted(value))
        how = draw.random()
        if how < 0.12:
            return {one: value[one] for one in value if one != key}
        if how < 0.2:
            return {**value, str(draw.choice(VALUES))[:50]: draw.choice(VALUES)}
        return {**value, key: _changed(value[key], draw)}
    if isinstance(value, list) and value and draw.random() < 0.85:
        place = draw.randrange(len(value))
        how = draw.random()
        if how < 0.15:
            return value[:place] + value[place + 1 :]
        if how < 0.3:
            return value + value[place : place + 1] * draw.choice((1, 100))
        return [*value[:place], _changed(value[place], draw), *value[place + 1 :]]
    return draw.choice(VALUES)
