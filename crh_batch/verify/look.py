"""One look at a batch's names, sessions and packs.

The order of reading is the reverse of the order of writing: names, then the sessions that they point to, then the packs
that these speak of. A name speaks of nothing that was not durable before it was made, so what a living pilot adds in
between can't look as if something were missing.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from crh_batch.errors import NewerSchema
from crh_batch.ledger.batch import Batch
from crh_batch.ledger.durable import calls
from crh_batch.ledger.names import Marks, State, gather, parse_name, states
from crh_batch.ledger.paths import BatchPaths
from crh_batch.ledger.session import SessionHeader, list_sessions, read_events, read_header
from crh_batch.ledger.steering import in_threads
from crh_batch.mirror.stage import is_staged

_SHARD = re.compile(r"\d{3}\Z")
_BATCH_NAME = re.compile(r"(?:(?:custody\.\d+(?:\.end)?)|(?:held|release|steered)\.\d+|submission\.[\w-]+)\Z")
_TARGET = re.compile(r"(?:\.\./){1,2}sessions/([^/]+)\.crh\Z")


@dataclass(frozen=True)
class Name:
    """An exclusive name: its path below ``names/``, what it says, and the session that it points to.

    Args:
        item_id: -1 for a name of the whole batch.
        mark: such as ``claim.001``, or the whole name for one of the batch.
        token: empty if it is half made or points elsewhere.
    """

    place: str
    item_id: int
    mark: str
    token: str


@dataclass
class SessionView:
    """What a session says.

    Args:
        header: None if it has no complete first line.
        size: of its file, in bytes.
        done: its events ``done`` by the tomodir's number.
        failed: its events ``fail`` by number and attempt.
        ended: whether it says that it came to a good end.
    """

    header: SessionHeader | None
    size: int
    done: dict[int, Mapping[str, Any]] = field(default_factory=dict)
    failed: dict[tuple[int, int], Mapping[str, Any]] = field(default_factory=dict)
    ended: bool = False


@dataclass
class Look:
    """What there was at one look.

    Args:
        foreign: what lies below ``names/``, ``sessions/`` and ``packs/`` and is none of them, relative to the batch.
        packs: sizes in bytes by token.
        states: of all tomodirs, from a listing of the same moment.
        done_by: the session behind each name ``done``.
        of_batch: the names of the whole batch.
        finished: which sessions have an event ``done`` of a tomodir.
        failures: which have an event ``fail`` of an attempt at one.
        packs_elsewhere: whether packs, or the ends of some, lie where the pilots run, to be fetched.
    """

    batch: Batch
    names: list[Name] = field(default_factory=list)
    marks: dict[int, Marks] = field(default_factory=dict)
    states: dict[int, State] = field(default_factory=dict)
    sessions: dict[str, SessionView] = field(default_factory=dict)
    packs: dict[str, int] = field(default_factory=dict)
    foreign: list[str] = field(default_factory=list)
    done_by: dict[int, str] = field(default_factory=dict)
    of_batch: set[str] = field(default_factory=set)
    finished: dict[int, list[str]] = field(default_factory=dict)
    failures: dict[tuple[int, int], list[str]] = field(default_factory=dict)
    packs_elsewhere: bool = False

    @property
    def paths(self) -> BatchPaths:
        """The batch's places."""
        return self.batch.paths

    def path_of(self, item_id: int) -> str:
        """Return a tomodir's path relative to the root; a word for one that isn't in the batch."""
        return self.batch.items[item_id].path if item_id in self.batch.items else f"number {item_id}"


def look_at(batch: Batch, *, has_packs: bool = False) -> Look:
    """Read everything once; nothing is written.

    Args:
        has_packs: whether the packs of a batch that runs elsewhere were fetched just now.

    Raises:
        NewerSchema: a newer crh-batch wrote a session.
        OSError: a directory can't be listed.
    """
    look = Look(batch, packs_elsewhere=not has_packs and is_staged(batch.paths))
    # First of all: states only move on, so what is compared with them later is at least as new.
    look.states = dict(states(batch.paths, batch.items.ids, batch.settings))
    _read_names(look)
    _read_sessions(look)
    for token in _listing(look, look.paths.packs, ".pack"):
        try:
            look.packs[token] = os.lstat(look.paths.pack(token)).st_size
        except FileNotFoundError:
            continue
    return look


def is_temporary(name: str) -> bool:
    """Return whether a file name is one of those that exist for moments (ledger/durable.py)."""
    return name.endswith(".part") or name.startswith(".probe-") or ".part." in name


def _read_names(look: Look) -> None:
    top = _entries(look.paths.names)
    found: list[tuple[str, int, str]] = []
    for entry in sorted(top):
        if _SHARD.match(entry):
            listed = _entries(os.path.join(look.paths.names, entry))
            look.marks.update(gather(listed))
            for name in listed:
                parsed = parse_name(name)
                place = f"{entry}/{name}"
                if parsed is not None and f"{parsed[0] // 1000:03d}" == entry:
                    found.append((place, parsed[0], name.partition(".")[2]))
                elif not is_temporary(name):
                    look.foreign.append(f"names/{place}")
        elif _BATCH_NAME.match(entry):
            found.append((entry, -1, entry))
        elif not is_temporary(entry):
            look.foreign.append(f"names/{entry}")
    tokens = in_threads(lambda one: _token(os.path.join(look.paths.names, one[0])), found)
    for (place, item_id, mark), token in zip(found, tokens):
        if token is not None:
            look.names.append(Name(place, item_id, mark, token))
            if item_id < 0:
                look.of_batch.add(mark)
            elif mark == "done":
                look.done_by[item_id] = token


def _token(path: str) -> str | None:
    """Return the session that a name points to; empty if it says none, None if it is gone."""
    try:
        target = calls.readlink(path)
    except FileNotFoundError:
        return None
    except OSError:
        try:
            # Names are links or small files; a pipe or the like would be waited for.
            descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
            try:
                target = os.read(descriptor, 4096).decode(errors="replace")
            finally:
                os.close(descriptor)
        except OSError:
            target = ""
    match = _TARGET.match(target)
    return match.group(1) if match else ""


def _read_sessions(look: Look) -> None:
    _listing(look, look.paths.sessions, ".crh")
    for token in list_sessions(look.paths):
        path = look.paths.session(token)
        try:
            size = os.lstat(path).st_size
            if not os.path.isfile(path):
                look.foreign.append(f"sessions/{token}.crh")
                continue
            view = SessionView(read_header(look.paths, token), size)
        except NewerSchema:
            raise
        except OSError:
            continue
        look.sessions[token] = view
        for event in read_events(look.paths, token):
            item_id, attempt = event.get("id"), event.get("attempt")
            view.ended = view.ended or event["event"] == "end"
            if event["event"] == "done" and isinstance(item_id, int):
                view.done[item_id] = event
                look.finished.setdefault(item_id, []).append(token)
            elif event["event"] == "fail" and isinstance(item_id, int) and isinstance(attempt, int):
                view.failed[item_id, attempt] = event
                look.failures.setdefault((item_id, attempt), []).append(token)


def _listing(look: Look, directory: str, suffix: str) -> list[str]:
    """Return the tokens of the files in a directory, and note what else lies there."""
    tokens = []
    for name in sorted(_entries(directory)):
        if name.endswith(suffix) and not name.startswith("."):
            tokens.append(name[: -len(suffix)])
        elif not is_temporary(name) and not name.startswith(".nfs"):
            look.foreign.append(f"{os.path.basename(directory)}/{name}")
    return tokens


def _entries(directory: str) -> list[str]:
    try:
        return os.listdir(directory)
    except FileNotFoundError:
        return []
