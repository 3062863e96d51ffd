"""items.jsonl: the tomodirs of a batch, a line each; written once. A batch counts from the moment it exists."""

from __future__ import annotations

import array
import json
import os
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, BinaryIO

from crh_batch.errors import LedgerError
from crh_batch.ledger import durable
from crh_batch.ledger.paths import ID_DIGITS, MAX_ITEMS, BatchPaths
from crh_batch.ledger.reading import any_number, inside, lines_of, open_regular, parse_json, text, whole_number
from crh_batch.ledger.stage_lines import checked_stage
from crh_batch.tomodir.files import explain


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
            ValueError, LookupError, TypeError, AttributeError: it isn't one.
        """
        data = parse_json(line)
        if not data["path"]:
            raise ValueError("an item without a path")
        return cls(
            item_id=_id(data["id"]),
            path=inside(data["path"]),
            threads=whole_number(data["threads"], 1),
            omp_threads=whole_number(data["omp_threads"], 1),
            estimate_s=any_number(data["estimate_s"]),
            memory_bytes=whole_number(data["memory_bytes"]),
            stages=tuple(checked_stage(stage) for stage in data["stages"]),
            group=text(data.get("group", "")),
            priority=whole_number(data.get("priority", 0), -(1 << 62)),
            after=tuple(_id(one) for one in data.get("after", ())),
            high_s=any_number(data.get("high_s", 0.0)),
        )


def _id(value: Any) -> int:
    return whole_number(value, 0, MAX_ITEMS - 1)


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
        last = -1
        self._stream = self._open()
        for line in lines_of(self._stream):
            digits = line[len(prefix) : len(prefix) + ID_DIGITS + 1].partition(b",")[0]
            if not line.startswith(prefix) or not line.endswith(b"\n") or not digits.isdigit():
                raise self._damaged(len(self.ids) + 1)
            number = int(digits)
            # Readers of shards and classes rely on the order, and each id stands once.
            if not last < number < MAX_ITEMS:
                raise self._damaged(len(self.ids) + 1)
            self.ids.append(number)
            self._offsets.append(offset)
            offset += len(line)
            last = number
        self._places = {item_id: place for place, item_id in enumerate(self.ids)} if self._has_gaps() else None
        self._descriptor = self._stream.fileno()

    def _open(self) -> BinaryIO:
        try:
            return open_regular(self._path)
        except (OSError, ValueError) as error:
            raise LedgerError(
                f"{self._path}: can't be read: {explain(error)}",
                "It must be a plain file that you can read. If it is lost, move the batch's directory away and submit "
                "again with --force.",
                self._path,
            ) from error

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
            item = Item.from_line(line)
            if item.item_id != item_id:
                raise ValueError("it has two ids")
            return item
        except (ValueError, LookupError, TypeError, AttributeError) as error:
            raise self._damaged(place + 1) from error

    def __iter__(self) -> Iterator[Item]:
        return (self[item_id] for item_id in self.ids)

    def of_group(self, group: str) -> list[Item]:
        """Return the tomodirs of a group; the others are not parsed, for that would take seconds of a large batch."""
        wanted = f'"group":{json.dumps(group)}'.encode()
        with self._open() as stream:
            ids = [self.ids[place] for place, line in enumerate(lines_of(stream)) if wanted in line]
        return [item for item in map(self.__getitem__, ids) if item.group == group]

    def __del__(self) -> None:
        stream = getattr(self, "_stream", None)
        if stream is not None:
            stream.close()


def write_items(paths: BatchPaths, items: Iterable[Item]) -> bool:
    """Write items.jsonl, durably and exclusively; return whether this call made it.

    From here on the batch counts. Whoever takes over a half-made batch makes this file first, empty, so a client that
    was only slow finds out here that its registrations are no longer its own. Items come in the order of their ids.
    """
    content = b"".join(item.to_line() for item in items)
    made = durable.publish_exclusively(paths.items, content, paths.items + ".part")
    durable.sync_directory(paths.directory)
    return made
