"""A batch on disk: settings, items, and its directory's life from nothing to usable.

``batch.json`` and ``items.jsonl`` are written once. A batch counts from the moment items.jsonl exists: a directory
without it is what a client left that died while registering.
"""

from __future__ import annotations

import array
import contextlib
import json
import os
import re
import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from crh_batch.errors import BatchNotFound, LedgerError, NewerSchema
from crh_batch.ledger import durable
from crh_batch.ledger.memory import MemoryRule
from crh_batch.ledger.names import RetryPolicy
from crh_batch.ledger.paths import MAX_ITEMS, SHARD_SIZE, STATE_DIRECTORY, BatchPaths

SCHEMA = 1
_STAMP = "%Y%m%d-%H%M%S"
# How long a pilot without work waits for it, where the batch doesn't say.
IDLE_S = 600.0
_BATCH_ID = re.compile(r"\d{8}-\d{6}-[a-z0-9]{4,}\Z")


@dataclass(frozen=True)
class ItemClass:
    """Tomodirs that run alike: ids from ``first`` up to but not including ``stop``, all with ``threads`` cores."""

    threads: int
    first: int
    stop: int


@dataclass(frozen=True)
class Settings:
    """What all pilots of a batch share: the content of batch.json.

    Args:
        links: the kind of exclusive names, ``symlink`` or ``file`` (durable.find_link_kind).
        classes: id ranges, widest threads first; inside a range the longest comes first.
        programs: for each program its file below ``bin/`` and its sha256.
        after: for each tomodir that takes results of others of this batch, their ids; the same as in the items, so
            that states can be told without reading those.
        idle_s: how long a pilot stays that has nothing to do but may soon, in seconds.
        max_time_s: how long one attempt may take, in seconds; 0 for as long as its job.
        deadline: when nothing may run any more, seconds since 1970; 0 for never.
        keep_going: whether follow-up jobs are started as long as tomodirs are left.
        memory_mb: memory of a job that runs one tomodir at a time, as the user says, in MB of 2^20 bytes; 0 if it
            follows from the estimates.
        max_memory_mb: the most memory that a job can have; 0 if not known.
        container: words that are put before a program's path.
        extra: whatever else is worth knowing later: version, profile, who submitted.
    """

    links: str
    classes: tuple[ItemClass, ...]
    programs: Mapping[str, Mapping[str, str]]
    policy: RetryPolicy = RetryPolicy()
    scratch: str = ""
    after: Mapping[int, tuple[int, ...]] = field(default_factory=dict)
    idle_s: float = IDLE_S
    max_time_s: float = 0.0
    deadline: float = 0.0
    keep_going: bool = False
    memory_mb: int = 0
    max_memory_mb: int = 0
    container: tuple[str, ...] = ()
    extra: Mapping[str, Any] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """Return the plain form."""
        return {
            "schema": SCHEMA,
            "links": self.links,
            "classes": [[one.threads, one.first, one.stop] for one in self.classes],
            "programs": {name: dict(entry) for name, entry in self.programs.items()},
            "charged_attempts": self.policy.charged_attempts,
            "walltime_attempts": self.policy.walltime_attempts,
            "scratch": self.scratch,
            **({"after": {str(key): list(ids) for key, ids in self.after.items()}} if self.after else {}),
            "idle_s": self.idle_s,
            **{key: value for key, value in self._if_set().items() if value},
            **self.extra,
        }

    @property
    def memory_rule(self) -> MemoryRule:
        """How much memory its tomodirs are given."""
        return MemoryRule(self.memory_mb, self.max_memory_mb)

    def _if_set(self) -> dict[str, Any]:
        return {
            "max_time_s": self.max_time_s,
            "deadline": self.deadline,
            "keep_going": self.keep_going,
            "memory_mb": self.memory_mb,
            "max_memory_mb": self.max_memory_mb,
            "container": list(self.container),
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Settings:
        """Read the plain form.

        Raises:
            KeyError, TypeError, ValueError: it isn't one.
        """
        known = {"schema", "links", "classes", "programs", "charged_attempts", "walltime_attempts", "scratch"}
        known |= {"after", "idle_s", "max_time_s", "memory_mb", "max_memory_mb", "container", "deadline", "keep_going"}
        return cls(
            links=str(data["links"]),
            classes=tuple(ItemClass(int(t), int(a), int(b)) for t, a, b in data["classes"]),
            programs={str(name): dict(entry) for name, entry in dict(data["programs"]).items()},
            policy=RetryPolicy(int(data["charged_attempts"]), int(data["walltime_attempts"])),
            scratch=str(data.get("scratch") or ""),
            after={int(key): tuple(int(one) for one in ids) for key, ids in dict(data.get("after") or {}).items()},
            idle_s=float(data.get("idle_s", IDLE_S)),
            max_time_s=float(data.get("max_time_s", 0)),
            deadline=float(data.get("deadline", 0)),
            keep_going=bool(data.get("keep_going", False)),
            memory_mb=int(data.get("memory_mb", 0)),
            max_memory_mb=int(data.get("max_memory_mb", 0)),
            container=tuple(str(word) for word in data.get("container") or ()),
            extra={key: value for key, value in data.items() if key not in known},
        )


@dataclass(frozen=True)
class Item:
    """One tomodir of a batch.

    Args:
        item_id: its number, which is its place in the order.
        path: relative to the batch's root.
        threads: cores that it occupies.
        omp_threads: OMP_NUM_THREADS for its programs; may exceed ``threads`` (docs/decisions/0004).
        estimate_s: how long it may take, in seconds; a guess that orders the work.
        memory_bytes: the floor of its peak memory.
        stages: what to run, in order; each a plain dict as docs/protocol.md, "items.jsonl", describes it.
        group: the name that the user gave to some tomodirs together; empty if none.
        priority: higher ones come first in their class.
        after: ids of the tomodirs of this batch whose results it takes.
        high_s: nine of ten such tomodirs took less, in seconds; 0 if past runs don't tell.
    """

    item_id: int
    path: str
    threads: int
    omp_threads: int
    estimate_s: float
    memory_bytes: int
    stages: tuple[Mapping[str, Any], ...]
    group: str = ""
    priority: int = 0
    after: tuple[int, ...] = ()
    high_s: float = 0.0

    def to_line(self) -> bytes:
        """Return the line of items.jsonl; the id stands first, readers of the index rely on it."""
        data = {
            "id": self.item_id,
            "path": self.path,
            "threads": self.threads,
            "omp_threads": self.omp_threads,
            "estimate_s": round(self.estimate_s, 3),
            "memory_bytes": self.memory_bytes,
            "stages": [dict(stage) for stage in self.stages],
            **({"group": self.group} if self.group else {}),
            **({"priority": self.priority} if self.priority else {}),
            **({"after": list(self.after)} if self.after else {}),
            **({"high_s": round(self.high_s, 3)} if self.high_s else {}),
        }
        return json.dumps(data, separators=(",", ":")).encode() + b"\n"

    @classmethod
    def from_line(cls, line: bytes) -> Item:
        """Read a line of items.jsonl.

        Raises:
            ValueError, KeyError, TypeError: it isn't one.
        """
        data = json.loads(line)
        return cls(
            item_id=int(data["id"]),
            path=str(data["path"]),
            threads=int(data["threads"]),
            omp_threads=int(data["omp_threads"]),
            estimate_s=float(data["estimate_s"]),
            memory_bytes=int(data["memory_bytes"]),
            stages=tuple(data["stages"]),
            group=str(data.get("group") or ""),
            priority=int(data.get("priority") or 0),
            after=tuple(int(one) for one in data.get("after") or ()),
            high_s=float(data.get("high_s") or 0.0),
        )


class Items:
    """items.jsonl, read line by line when asked: a hundred thousand tomodirs must not sit in a pilot's memory.

    Raises:
        LedgerError: a line can't be read; items.jsonl is written once and durably, so that is damage.
    """

    def __init__(self, path: str) -> None:
        self._path = path
        self.ids = array.array("l")
        self._offsets = array.array("q")
        prefix = b'{"id":'
        offset = 0
        with open(path, "rb") as stream:
            for line in stream:
                if not line.startswith(prefix) or not line.endswith(b"\n"):
                    raise self._damaged(len(self.ids) + 1)
                try:
                    self.ids.append(int(line[len(prefix) : line.index(b",")]))
                except (ValueError, OverflowError):
                    raise self._damaged(len(self.ids) + 1) from None
                self._offsets.append(offset)
                offset += len(line)
        self._places = {item_id: place for place, item_id in enumerate(self.ids)} if self._has_gaps() else None
        self._descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)

    def _has_gaps(self) -> bool:
        return bool(self.ids) and self.ids[-1] != len(self.ids) - 1

    def _damaged(self, line: int) -> LedgerError:
        return LedgerError(
            f"{self._path}: line {line} is damaged",
            "The batch can't be used. Move its directory away, then submit again with --force.",
            self._path,
        )

    def __len__(self) -> int:
        return len(self.ids)

    def __contains__(self, item_id: int) -> bool:
        return item_id in self._places if self._places is not None else 0 <= item_id < len(self.ids)

    def __getitem__(self, item_id: int) -> Item:
        place = self._places[item_id] if self._places is not None else item_id
        start = self._offsets[place]
        stop = self._offsets[place + 1] if place + 1 < len(self._offsets) else os.fstat(self._descriptor).st_size
        # pread: several threads of a pilot read from the same descriptor.
        line = os.pread(self._descriptor, stop - start, start)
        try:
            return Item.from_line(line)
        except (ValueError, KeyError, TypeError) as error:
            raise self._damaged(place + 1) from error

    def __iter__(self) -> Iterator[Item]:
        return (self[item_id] for item_id in self.ids)

    def of_group(self, group: str) -> list[Item]:
        """Return the tomodirs of a group; the others are not parsed, for that would take seconds of a large batch."""
        wanted = f'"group":{json.dumps(group)}'.encode()
        with open(self._path, "rb") as stream:
            lines = [line for line in stream if wanted in line]
        return [item for item in map(Item.from_line, lines) if item.group == group]

    def __del__(self) -> None:
        descriptor = getattr(self, "_descriptor", -1)
        if descriptor >= 0:
            os.close(descriptor)


class Batch:
    """An existing batch, opened for reading its settings and items."""

    def __init__(self, directory: str) -> None:
        self.paths = BatchPaths(directory)
        self.settings = read_settings(self.paths)
        self._items: Items | None = None

    @property
    def items(self) -> Items:
        """The batch's tomodirs; the index is built at the first use."""
        if self._items is None:
            self._items = Items(self.paths.items)
        return self._items

    @property
    def batch_id(self) -> str:
        """The batch's name."""
        return self.paths.batch_id

    def tomodir(self, item: Item) -> str:
        """Return where an item's tomodir lies, as this process sees it."""
        return os.path.join(self.paths.root, item.path)

    def need_bytes(self, item: Item, memory_failures: int = 0) -> int:
        """Return how much memory an item's next attempt may take, the pilot not counted."""
        return self.settings.memory_rule.need_bytes(item.memory_bytes, memory_failures)


def read_settings(paths: BatchPaths) -> Settings:
    """Read batch.json.

    Raises:
        BatchNotFound: there is none.
        NewerSchema: a newer crh-batch wrote it.
        LedgerError: it is damaged.
    """
    try:
        with open(paths.settings, "rb") as stream:
            data = json.load(stream)
        schema = data["schema"]
        if isinstance(schema, int) and schema > SCHEMA:
            raise NewerSchema(
                f"{paths.settings}: written with schema {schema}, this crh-batch knows {SCHEMA}",
                "Use the newer crh-batch.",
                paths.settings,
                schema,
                SCHEMA,
            )
        return Settings.from_json(data)
    except FileNotFoundError:
        raise BatchNotFound(
            f"{paths.directory}: not a batch (it has no batch.json)",
            "Give a directory below .crh-batch, or run the command in the survey.",
            paths.directory,
        ) from None
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise LedgerError(
            f"{paths.settings}: can't be read: {error}",
            "batch.json is written once; restore it, or move the batch's directory away and submit again with --force.",
            paths.settings,
        ) from error


def new_batch(root: str, count: int) -> BatchPaths:
    """Make the directories of a new batch for up to ``count`` tomodirs; it has neither settings nor items yet.

    Raises:
        LedgerError: the directories can't be made, or there are too many tomodirs for one batch.
    """
    if count > MAX_ITEMS:
        raise LedgerError(
            f"{root}: {count} tomodirs are more than one batch can hold ({MAX_ITEMS})",
            "Submit parts of the tree one after another.",
            root,
        )
    batch_id = f"{_next_stamp(root)}-{durable.random_word(4)}"
    paths = BatchPaths(os.path.join(root, STATE_DIRECTORY, batch_id))
    try:
        os.makedirs(os.path.dirname(paths.directory), exist_ok=True)
        os.mkdir(paths.directory, 0o700)
        for directory in paths.directories((count + SHARD_SIZE - 1) // SHARD_SIZE):
            os.mkdir(directory)
        durable.sync_directory(os.path.dirname(paths.directory))
        durable.sync_directory(paths.directory)
    except OSError as error:
        raise LedgerError(
            f"{paths.directory}: can't be made: {error.strerror}",
            "The survey's directory must be writable, with free space and inodes.",
            paths.directory,
        ) from error
    return paths


def _next_stamp(root: str) -> str:
    """Return the time that a new batch's name begins with: now, but later than those of all batches of the root.

    Names of batches are compared to tell which is newer, and clocks of login nodes differ, or are set back.
    """
    now = time.time()
    for name in _batch_names(root):
        with contextlib.suppress(ValueError):
            now = max(now, time.mktime(time.strptime(name[:15], _STAMP)) + 1)
    return time.strftime(_STAMP, time.localtime(now))


def _batch_names(root: str) -> list[str]:
    try:
        return sorted(name for name in os.listdir(os.path.join(root, STATE_DIRECTORY)) if is_batch_id(name))
    except (FileNotFoundError, NotADirectoryError):
        return []


def write_settings(paths: BatchPaths, settings: Settings) -> None:
    """Write batch.json, durably."""
    durable.write_durable(paths.settings, json.dumps(settings.to_json(), indent=1).encode() + b"\n")


def write_items(paths: BatchPaths, items: Iterable[Item]) -> bool:
    """Write items.jsonl, durably and exclusively; return whether this call made it.

    From here on the batch counts. Whoever takes over a half-made batch makes this file first, empty, so a client that
    was only slow finds out here that its registrations are no longer its own. Items come in the order of their ids.
    """
    content = b"".join(item.to_line() for item in items)
    made = durable.publish_exclusively(paths.items, content, paths.items + ".part")
    durable.sync_directory(paths.directory)
    return made


def is_batch_id(name: str) -> bool:
    """Return whether a name has the form of a batch's."""
    return _BATCH_ID.match(name) is not None


def batches_of(root: str) -> list[str]:
    """Return the directories of all batches of a root that count, oldest first."""
    paths = [os.path.join(root, STATE_DIRECTORY, name) for name in _batch_names(root)]
    return [path for path in paths if counts(path)]


def counts(directory: str) -> bool:
    """Return whether a directory holds a batch: it has items; an empty list marks one that was taken over."""
    try:
        return os.path.getsize(BatchPaths(directory).items) > 0
    except OSError:
        return False


def find_batches(start: str) -> list[str]:
    """Return the directories of all batches at or above a directory, oldest first.

    Batches are ordered by their names, which begin with the time of submission.
    """
    found: list[str] = []
    directory = os.path.abspath(start)
    while True:
        found += batches_of(directory)
        parent = os.path.dirname(directory)
        if parent == directory:
            break
        directory = parent
    return sorted(found, key=os.path.basename)


def open_batch(where: str, start: str = ".") -> Batch:
    """Open a batch by its directory, its id, or any directory at or below its root; the newest where several fit.

    Args:
        where: a batch's directory or id, a directory, or empty for ``start``.

    Raises:
        BatchNotFound: nothing fits.
    """
    if where and is_batch_id(os.path.basename(os.path.abspath(where))) and counts(where):
        return Batch(os.path.abspath(where))
    if where and is_batch_id(where):
        for directory in reversed(find_batches(start)):
            if os.path.basename(directory) == where:
                return Batch(directory)
    elif not where or os.path.isdir(where):
        found = find_batches(where or start)
        if found:
            return Batch(found[-1])
    raise BatchNotFound(
        f"{where or os.path.abspath(start)}: no batch at or above this directory"
        if not is_batch_id(where)
        else f"{where}: no batch of this name at or above {os.path.abspath(start)}",
        "Run `crh-batch submit` first, or name a batch's directory below .crh-batch.",
        where,
    )
