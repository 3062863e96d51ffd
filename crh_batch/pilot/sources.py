"""Inputs that are results of other tomodirs of the batch: taken from their packs, or from the tomodir once collected.

What lies in the other tomodir before its result is collected is of an earlier run, so it is never looked at.
"""

from __future__ import annotations

import hashlib
import os
import posixpath
import tarfile
import time
from collections.abc import Mapping
from typing import Any

from crh_batch.errors import CrhBatchError, DataError, LedgerError, TomodirError
from crh_batch.ledger import durable
from crh_batch.ledger.batch import Batch
from crh_batch.ledger.items import Item
from crh_batch.ledger.pack import Record, open_record
from crh_batch.ledger.paths import PROVENANCE
from crh_batch.ledger.reading import FILE_LIMIT_BYTES, parse_json, read_bytes
from crh_batch.ledger.session import holder_of, read_events
from crh_batch.pilot.staging import StagedInput, copy_input

_CHUNK = 1 << 20
# Between two looks for what another node has written and this one doesn't see yet.
_PAUSE_S = 1.0
# Files of a result that a message names at most.
_SHOWN = 12


def sourced_names(stages: tuple[Mapping[str, Any], ...]) -> dict[str, tuple[int, str]]:
    """Return which inputs are results of others: whose (its id), and the file's path in that tomodir."""
    found = {}
    for stage in stages:
        for name, (item_id, member) in (stage.get("sources") or {}).items():
            found[str(name)] = (int(item_id), str(member))
    return found


def take_results(
    batch: Batch, item: Item, copy: str, *, wait_s: float = durable.VISIBILITY_WAIT_S
) -> list[StagedInput]:
    """Put the results that a tomodir takes of others beside its copy, where it looks for them.

    Args:
        wait_s: how long a result may be late on this node, in seconds (docs/protocol.md, "Caches").

    Raises:
        TomodirError: the other one's run did not make the file, or its tomodir was changed.
        LedgerError: the result can't be read.
        OSError: the copy can't be written.
    """
    by_source: dict[int, dict[str, str]] = {}
    for name, (source, member) in sourced_names(item.stages).items():
        by_source.setdefault(source, {})[name] = member
    taken = []
    for source, members in by_source.items():
        if source not in batch.items:
            raise LedgerError(
                f"{batch.paths.items}: {item.path} takes a result of number {source}, which is not in the batch",
                "The batch can't be used. Cancel it, and submit again.",
                batch.paths.items,
            )
        taken += _take(batch, item, batch.items[source], copy, members, time.monotonic() + wait_s)
    return taken


def _take(
    batch: Batch, item: Item, source: Item, copy: str, members: dict[str, str], deadline: float
) -> list[StagedInput]:
    while True:
        try:
            return _from_pack(batch, item, source, copy, members)
        except LedgerError:
            if os.path.lexists(batch.paths.name(source.item_id, "collected")):
                return _from_tomodir(batch, source, copy, members)
            if time.monotonic() >= deadline:
                raise
            time.sleep(_PAUSE_S)


def _from_pack(batch: Batch, item: Item, source: Item, copy: str, members: dict[str, str]) -> list[StagedInput]:
    token, record = _record(batch, source)
    wanted: dict[str, list[str]] = {}
    for name, member in members.items():
        wanted.setdefault(member, []).append(name)
    made: list[str] = []
    staged = []
    with open_record(batch.paths.pack(token), record) as archive:
        for info in archive:
            made.append(info.name)
            if info.name in wanted:
                names = wanted.pop(info.name)
                staged += _extract(archive, info, copy, names)
    if wanted:
        raise _not_made(batch, item, source, next(iter(wanted.values()))[0], next(iter(wanted)), made)
    return staged


def _record(batch: Batch, source: Item) -> tuple[str, Record]:
    token = holder_of(batch.paths.name(source.item_id, "done")) or ""
    for event in read_events(batch.paths, token) if token else ():
        if event["event"] == "done" and event.get("id") == source.item_id and isinstance(event.get("record"), dict):
            try:
                return token, Record.from_json(token, event["record"])
            except ValueError:
                break
    raise LedgerError(
        f"{source.path}: the session {token!r} that finished it has no record of the result",
        "Run that tomodir again: crh-batch submit --force; then crh-batch retry.",
        batch.paths.session(token),
    )


def _extract(archive: tarfile.TarFile, info: tarfile.TarInfo, copy: str, names: list[str]) -> list[StagedInput]:
    reading = archive.extractfile(info)
    assert reading is not None, "open_record passes plain files only"
    targets = [os.path.join(copy, name) for name in names]
    digest = hashlib.sha256()
    for target in targets:
        os.makedirs(os.path.dirname(target), exist_ok=True)
    descriptors = [os.open(target, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o666) for target in targets]
    try:
        while chunk := reading.read(_CHUNK):
            digest.update(chunk)
            for descriptor in descriptors:
                durable.write_all(descriptor, chunk)
    finally:
        for descriptor in descriptors:
            os.close(descriptor)
    # As collect will set it, so that the file in the tomodir is known as this one.
    mtime_ns = int(info.mtime) * 10**9
    for target in targets:
        os.utime(target, ns=(mtime_ns, mtime_ns))
    return [StagedInput(name, info.size, mtime_ns, digest.hexdigest()) for name in names]


def _from_tomodir(batch: Batch, source: Item, copy: str, members: dict[str, str]) -> list[StagedInput]:
    """Take the files from where collect put them; its record there says whether they still are that result."""
    tomodir = batch.tomodir(source)
    try:
        data = parse_json(read_bytes(os.path.join(tomodir, PROVENANCE), FILE_LIMIT_BYTES))
        is_ours = (data.get("batch"), data.get("id")) == (batch.batch_id, source.item_id)
    except (OSError, ValueError, AttributeError):
        is_ours = False
    if not is_ours:
        raise TomodirError(
            f"{tomodir}: does not hold the result of batch {batch.batch_id} any more, which is wanted from it",
            "Submit what depends on it anew: crh-batch cancel it, then crh-batch submit.",
            tomodir,
        )
    return [copy_input(tomodir, member, copy, name) for name, member in members.items()]


def _not_made(batch: Batch, item: Item, source: Item, name: str, member: str, made: list[str]) -> CrhBatchError:
    directory, extension = posixpath.dirname(member), posixpath.splitext(member)[1]
    near = [one for one in made if posixpath.dirname(one) == directory]
    near = sorted(one for one in near if posixpath.splitext(one)[1] == extension) or sorted(near)
    shown = ", ".join(near[-_SHOWN:]) or "nothing there"
    return DataError(
        f"{item.path} takes {name}, but the run of {source.path} did not make {member}; it made {shown}",
        "Name a file that is there in the .cfg, and submit again.",
        batch.tomodir(item),
    )
