"""items.jsonl: the tomodirs of a batch, a line each; written once. A batch counts from the moment it exists."""

from __future__ import annotations

import array
import json
import os
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from crh_batch.errors import LedgerError
from crh_batch.ledger import durable
from crh_batch.ledger.paths import BatchPaths


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


def write_items(paths: BatchPaths, items: Iterable[Item]) -> bool:
    """Write items.jsonl, durably and exclusively; return whether this call made it.

    From here on the batch counts. Whoever takes over a half-made batch makes this file first, empty, so a client that
    was only slow finds out here that its registrations are no longer its own. Items come in the order of their ids.
    """
    content = b"".join(item.to_line() for item in items)
    made = durable.publish_exclusively(paths.items, content, paths.items + ".part")
    durable.sync_directory(paths.directory)
    return made
