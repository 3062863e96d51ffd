"""Names, sessions and packs: each pair that must agree."""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Iterator, Mapping
from typing import Any

from crh_batch.errors import PackDamaged
from crh_batch.ledger.names import Failure, State, StateName
from crh_batch.ledger.pack import Record, verify
from crh_batch.mirror.stage import is_staged
from crh_batch.verify.finding import Finding, Kind
from crh_batch.verify.look import Look, Name, SessionView

_NUMBERED = re.compile(r"(custody|held|claim)\.(\d+)\Z")
# Their results are in the tomodirs, or nobody wants them.
_SETTLED = (StateName.COLLECTED, StateName.MOVED)


def names_of(look: Look, *, deep: bool = False) -> list[Finding]:
    """Compare names, sessions and packs.

    Args:
        deep: read every record that is still needed, and compare its sum.
    """
    found = [Finding(Kind.FOREIGN, place) for place in look.foreign]
    pointed = {name.token for name in look.names if name.token}
    for name in look.names:
        found += _name(look, name)
    found += _gaps(look)
    for token, view in look.sessions.items():
        found += _session(look, token, view, token in pointed)
    for item_id, state in look.states.items():
        found += _result(look, item_id, state, deep=deep)
    return found


def _name(look: Look, name: Name) -> Iterator[Finding]:
    place = f"names/{name.place}"
    if name.item_id >= 0 and name.item_id not in look.batch.items:
        yield Finding(Kind.NAME_WITHOUT_ITEM, place, item_id=name.item_id)
        return
    if not name.token:
        yield Finding(Kind.HALF_NAME, place, _about(look, name), name.item_id, note=name.mark)
    elif name.token not in look.sessions:
        if _matters(look, name):
            yield Finding(Kind.SESSION_MISSING, f"sessions/{name.token}.crh", _about(look, name), name.item_id)
    elif look.sessions[name.token].header is None and _matters(look, name):
        yield Finding(Kind.SESSION_HEADLESS, f"sessions/{name.token}.crh", _about(look, name), name.item_id)


def _about(look: Look, name: Name) -> str:
    return look.path_of(name.item_id) if name.item_id >= 0 else ""


def _matters(look: Look, name: Name) -> bool:
    """Return whether somebody has to read the session behind a name: a claim that is open, a result to be collected."""
    if name.item_id < 0:
        return name.mark.startswith("custody.") and f"{name.mark}.end" not in look.of_batch
    state = look.states[name.item_id]
    if name.mark == "done":
        return state.name is StateName.DONE
    return state.name is StateName.RUNNING and name.mark == f"claim.{state.attempt:03d}"


def _gaps(look: Look) -> Iterator[Finding]:
    """Find numbers that are missing: names are made one after another and never removed."""
    numbers: dict[tuple[int, str], set[int]] = {}
    for name in look.names:
        match = _NUMBERED.match(name.mark)
        if match and (name.item_id < 0 or name.item_id in look.batch.items):
            numbers.setdefault((name.item_id, match[1]), set()).add(int(match[2]))
    for (item_id, kind), found in numbers.items():
        for number in sorted(set(range(1, max(found))) - found):
            place = look.path_of(item_id) if item_id >= 0 else "names"
            yield Finding(Kind.GAP, place, f"{kind}.{number:03d}", item_id)


def _session(look: Look, token: str, view: SessionView, is_pointed_to: bool) -> Iterator[Finding]:
    place = f"sessions/{token}.crh"
    if view.header is None:
        # With a name that points to it, it is told of there.
        if not is_pointed_to:
            yield Finding(Kind.SESSION_EMPTY, place)
        return
    numbers = {item_id for item_id in view.done if item_id not in look.batch.items}
    numbers |= {item_id for item_id, _ in view.failed if item_id not in look.batch.items}
    for item_id in sorted(numbers):
        yield Finding(Kind.EVENT_WITHOUT_ITEM, place, f"number {item_id}", item_id)


def _result(look: Look, item_id: int, state: State, *, deep: bool) -> Iterator[Finding]:
    if state.name is StateName.COLLECTED and item_id not in look.done_by:
        yield Finding(Kind.COLLECTED_WITHOUT_DONE, look.path_of(item_id), item_id=item_id)
    elif state.name is StateName.DONE and look.done_by.get(item_id):
        token = look.done_by[item_id]
        view = look.sessions.get(token)
        if view is not None and view.header is not None:
            yield from _record(look, token, view.done.get(item_id), item_id, deep=deep)
    elif state.name is StateName.FAILED and state.failure is not Failure.CANCELLED:
        yield from _log(look, item_id, state)
    if state.name not in (StateName.DONE, *_SETTLED) and state.failure is not Failure.CANCELLED:
        yield from _nameless(look, item_id)


def _record(look: Look, token: str, event: Mapping[str, Any] | None, item_id: int, *, deep: bool) -> Iterator[Finding]:
    """Compare the event behind a name ``done`` with the pack."""
    if event is None:
        yield Finding(Kind.DONE_WITHOUT_EVENT, f"sessions/{token}.crh", look.path_of(item_id), item_id)
        return
    try:
        record = Record.from_json(token, event["record"])
    except (KeyError, TypeError, ValueError, AttributeError):
        yield Finding(Kind.RECORD_UNREADABLE, f"sessions/{token}.crh", look.path_of(item_id), item_id)
        return
    place = f"packs/{token}.pack"
    if look.packs_elsewhere and look.packs.get(token, 0) < record.offset + record.length:
        return
    if token not in look.packs:
        yield Finding(Kind.PACK_MISSING, place, look.path_of(item_id), item_id)
    elif look.packs[token] < record.offset + record.length:
        yield Finding(Kind.PACK_SHORT, place, look.path_of(item_id), item_id)
    elif deep and not is_sound(look, record):
        yield Finding(Kind.PACK_DAMAGED, place, look.path_of(item_id), item_id)


def is_sound(look: Look, record: Record) -> bool:
    """Return whether a record's bytes are those that were written."""
    try:
        verify(look.paths.pack(record.token), record)
    except PackDamaged:
        return False
    return True


def _log(look: Look, item_id: int, state: State) -> Iterator[Finding]:
    """Look for the record of a failed attempt, which is what ``log`` shows."""
    for token in () if look.packs_elsewhere else look.failures.get((item_id, state.attempt), ()):
        event = look.sessions[token].failed[item_id, state.attempt]
        with contextlib.suppress(KeyError, TypeError, ValueError, AttributeError):
            if "record" in event:
                record = Record.from_json(token, event["record"])
                if look.packs.get(token, 0) < record.offset + record.length:
                    yield Finding(Kind.LOG_GONE, f"packs/{token}.pack", look.path_of(item_id), item_id)


def _nameless(look: Look, item_id: int) -> Iterator[Finding]:
    """Find results whose pilot said so in its session and did not come to make the name; whether it lives is asked."""
    # A name can't be made for a pilot of another filesystem: its claim is declared lost, and it is run again.
    for token in () if is_staged(look.paths) else look.finished.get(item_id, ()):
        event = look.sessions[token].done[item_id]
        if not os.path.isdir(look.batch.tomodir(look.batch.items[item_id])):
            continue
        with contextlib.suppress(KeyError, TypeError, ValueError, AttributeError):
            record = Record.from_json(token, event["record"])
            if look.packs.get(token, 0) >= record.offset + record.length:
                path, said = look.path_of(item_id), f"sessions/{token}.crh"
                yield Finding(Kind.RESULT_WITHOUT_NAME, path, said, item_id, mends=True, note=token)
