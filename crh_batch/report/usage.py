"""What the pilots of a batch did and used, told by their sessions alone."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from crh_batch.ledger.batch import Batch
from crh_batch.ledger.events import parse_event
from crh_batch.ledger.paths import BatchPaths
from crh_batch.ledger.reading import LINE_LIMIT_BYTES, lines_of, open_regular
from crh_batch.ledger.session import SessionHeader, list_sessions, read_header

# Lines of other events (progress, stage) are most of a session that inverts; they are not parsed.
_WANTED = tuple(f'{{"event": "{event}"'.encode() for event in ("claim", "done", "fail", "end"))


class AttemptUse(NamedTuple):
    """One attempt that ended, as its own pilot tells.

    Args:
        wall_s: of all stages that ran, seconds.
        cpu_s: processor time of the programs, seconds.
        peak_bytes: the largest resident set of its stages, None if none ran.
        peak_is_bound: whether that is only known not to be exceeded.
    """

    item_id: int
    finished: bool
    wall_s: float
    cpu_s: float
    peak_bytes: int | None
    peak_is_bound: bool


@dataclass
class SessionUse:
    """One life of a pilot.

    Args:
        ended: seconds since 1970: its end, or the last that is known of it.
        claims: item and attempt of each of its claims.
        own_cpu_s: processor time of the pilot itself, seconds; 0 if it didn't say.
    """

    header: SessionHeader
    ended: float
    claims: list[tuple[int, int]] = field(default_factory=list)
    attempts: list[AttemptUse] = field(default_factory=list)
    own_cpu_s: float = 0.0

    @property
    def life_s(self) -> float:
        """How long it lived, as far as is known."""
        return max(0.0, self.ended - self.header.started)

    @property
    def core_s(self) -> float:
        """Cores times life."""
        return self.header.cores * self.life_s


def read_usage(batch: Batch, now_if_alive: Callable[[SessionHeader], float | None]) -> Iterator[SessionUse]:
    """Yield what each pilot did.

    Args:
        now_if_alive: gives the time for a session that lives, None for one that doesn't.
    """
    for token in list_sessions(batch.paths):
        header = read_header(batch.paths, token)
        if header is None or header.kind != "pilot":
            continue
        use = SessionUse(header, header.started)
        has_ended = False
        for event in _events(batch.paths, token):
            use.ended = max(use.ended, float(event.get("time") or 0.0))
            has_ended = event["event"] == "end"
            _take_in(use, event)
        if not has_ended:
            use.ended = max(use.ended, now_if_alive(header) or 0.0)
        yield use


def _events(paths: BatchPaths, token: str) -> Iterator[dict[str, Any]]:
    """Yield the events that matter here, and the last one, for its time."""
    last = b""
    with open_regular(paths.session(token)) as stream:
        stream.readline(LINE_LIMIT_BYTES)
        for line in lines_of(stream):
            if line.startswith(_WANTED):
                last = b""
                yield from _parsed(line)
            else:
                last = line
    for event in _parsed(last) if last else ():
        yield {"event": "", "time": event.get("time")}


def _parsed(line: bytes) -> Iterator[dict[str, Any]]:
    """Yield a line's event; a torn or unreadable one is passed over."""
    event = parse_event(line)
    if event is not None:
        yield event


def _take_in(use: SessionUse, event: dict[str, Any]) -> None:
    kind, item_id = event["event"], event.get("id")
    if kind == "end":
        use.own_cpu_s = float(event.get("cpu_s") or 0.0)
    if not isinstance(item_id, int):
        return
    if kind == "claim":
        use.claims.append((item_id, int(event.get("attempt") or 0)))
    elif kind in ("done", "fail"):
        stages = [one for one in event.get("stages") or [] if isinstance(one, dict)]
        peak = max((int(one["peak_bytes"]) for one in stages if one.get("peak_bytes") is not None), default=None)
        use.attempts.append(
            AttemptUse(
                item_id,
                kind == "done",
                sum(float(one.get("wall_s") or 0.0) for one in stages),
                sum(float(one.get("cpu_s") or 0.0) for one in stages),
                peak,
                all(one.get("peak_is_bound") for one in stages if one.get("peak_bytes") == peak),
            )
        )


def finished_since(batch: Batch, since: float) -> dict[str, int]:
    """Return how many tomodirs each host has finished since a time (seconds since 1970), most first.

    Only sessions that were written to since then are read, and of them only the times.
    """
    import os

    prefix = b'{"event": "done", "time": '
    found: dict[str, int] = {}
    for token in list_sessions(batch.paths):
        path = batch.paths.session(token)
        try:
            if os.stat(path).st_mtime < since:
                continue
            with open_regular(path) as stream:
                done = [line[len(prefix) :].partition(b",")[0] for line in lines_of(stream) if line.startswith(prefix)]
            recent = sum(float(one) >= since for one in done)
        except (OSError, ValueError):
            continue
        header = read_header(batch.paths, token) if recent else None
        if header is not None:
            found[header.who.host] = found.get(header.who.host, 0) + recent
    return dict(sorted(found.items(), key=lambda one: -one[1]))
