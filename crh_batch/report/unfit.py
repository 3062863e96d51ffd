"""What pilots left alone because it would not have fitted into their time or memory, as their last words say."""

from __future__ import annotations

import contextlib
from typing import NamedTuple

from crh_batch.ledger.batch import Batch
from crh_batch.ledger.reading import open_regular, parse_json
from crh_batch.ledger.session import list_sessions, read_header

# An ``end`` is a line of some hundred bytes.
_TAIL_BYTES = 4096


class Unfit(NamedTuple):
    """How many ready tomodirs were left for want of time, and of memory."""

    time: int = 0
    memory: int = 0


def left_as_unfit(batch: Batch) -> Unfit:
    """Return what the pilots of the submission that ended last left behind."""
    ended: dict[str, list[tuple[float, Unfit]]] = {}
    for token in list_sessions(batch.paths):
        event = _last_event(batch.paths.session(token))
        if event.get("event") != "end" or "unfit" not in event:
            continue
        header = read_header(batch.paths, token)
        unfit = Unfit(_count(event, "unfit"), _count(event, "unfit_memory"))
        ended.setdefault(header.submission if header else "", []).append((_time(event), unfit))
    if not ended:
        return Unfit()
    last = max(ended.values(), key=lambda ends: max(when for when, _ in ends))
    # Each pilot counts all that is left, so they must not be added up.
    return Unfit(max(one.time for _, one in last), max(one.memory for _, one in last))


def _last_event(path: str) -> dict[str, object]:
    with contextlib.suppress(OSError, ValueError), open_regular(path) as stream:
        size = stream.seek(0, 2)
        stream.seek(max(0, size - _TAIL_BYTES))
        found = parse_json(stream.read(_TAIL_BYTES).rstrip(b"\n").rpartition(b"\n")[2])
        if isinstance(found, dict):
            return found
    return {}


def _count(event: dict[str, object], key: str) -> int:
    value = event.get(key)
    return value if isinstance(value, int) else 0


def _time(event: dict[str, object]) -> float:
    value = event.get("time")
    return float(value) if isinstance(value, (int, float)) else 0.0
