"""A batch's tomodirs: their .crh files, inputs and results."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
from collections.abc import Collection, Iterator, Mapping
from typing import Any

from crh_batch.errors import PackDamaged
from crh_batch.ledger.batch import Batch, counts
from crh_batch.ledger.inputs import changed_inputs, sha256_of
from crh_batch.ledger.items import Item
from crh_batch.ledger.names import State, StateName
from crh_batch.ledger.pack import Record, open_record
from crh_batch.ledger.paths import PROVENANCE
from crh_batch.ledger.placing import TEMPORARY_PREFIX
from crh_batch.ledger.reading import open_regular
from crh_batch.ledger.registration import Registration
from crh_batch.ledger.sources import collected_sources
from crh_batch.ledger.steering import in_threads
from crh_batch.verify.finding import Finding, Kind
from crh_batch.verify.look import Look
from crh_batch.verify.tree import Tree

_TO_BE_RUN = (StateName.READY, StateName.HELD, StateName.WAITING)
ACTIVE = (*_TO_BE_RUN, StateName.RUNNING, StateName.DONE)
_CHUNK = 1 << 20


def tomodirs_of(
    look: Look, tree: Tree, only: Collection[int] | None = None, *, busy: bool, deep: bool = False
) -> list[Finding]:
    """Compare tomodirs with their states.

    Args:
        only: which; None for all.
        busy: a client is in the middle of something, so what it has not come to yet is not odd.
        deep: compare what was collected with the packs.
    """

    def compare(item_id: int) -> list[Finding]:
        item, state = look.batch.items[item_id], look.states[item_id]
        return [
            *_registration(look.batch, tree, item, state, busy=busy),
            *_inside(look, item, state, busy=busy, deep=deep),
        ]

    wanted = [item_id for item_id in look.states if only is None or item_id in only]
    return [finding for found in in_threads(compare, wanted) for finding in found]


def _registration(batch: Batch, tree: Tree, item: Item, state: State, *, busy: bool) -> Iterator[Finding]:
    tomodir = batch.tomodir(item)
    if state.name in (StateName.COLLECTED, StateName.MOVED):
        # Nearly all of them have none; the listings of the walk tell so without a look at each.
        left = tree.registrations.get(os.path.normpath(tomodir)) if tree.holds(tomodir) else tree.registration(tomodir)
        if left is not None and is_of(left, batch, item.item_id) and not busy:
            yield Finding(Kind.REGISTRATION_LEFT, item.path, item_id=item.item_id, mends=True)
    elif state.name in ACTIVE:
        found = tree.registration(tomodir)
        if not os.path.isdir(tomodir):
            yield Finding(Kind.TOMODIR_GONE, item.path, item_id=item.item_id)
        elif found is None:
            yield Finding(Kind.REGISTRATION_MISSING, item.path, item_id=item.item_id, mends=True)
        elif not found.flaw and not is_of(found, batch, item.item_id):
            yield from _of_another(batch, found, item, state)


def is_of(found: Registration, batch: Batch, item_id: int) -> bool:
    """Return whether a .crh file is that of a batch's tomodir; where it says that the batch lies is another matter."""
    return not found.flaw and (found.batch_id, found.item_id) == (batch.batch_id, item_id)


def _of_another(batch: Batch, found: Registration, item: Item, state: State) -> Iterator[Finding]:
    if found.batch_id == batch.batch_id:
        yield Finding(Kind.REGISTRATION_WRONG_ID, item.path, str(found.item_id), item.item_id, mends=True)
    elif counts(found.batch_directory):
        waits = state.name in _TO_BE_RUN
        yield Finding(Kind.REGISTERED_ELSEWHERE, item.path, found.batch_id, item.item_id, mends=waits)


def _inside(look: Look, item: Item, state: State, *, busy: bool, deep: bool) -> Iterator[Finding]:
    tomodir = look.batch.tomodir(item)
    try:
        entries = os.listdir(tomodir)
    except OSError:
        return  # gone is told above; one that was collected may be
    prefix = f"{TEMPORARY_PREFIX}{look.batch.batch_id}-"
    if not busy and any(name.startswith(prefix) for name in entries):
        yield Finding(Kind.COLLECT_LEFT, item.path, item_id=item.item_id, mends=True)
    if state.name in _TO_BE_RUN:
        missing = [name for name in _own_inputs(look.batch, item) if not os.path.exists(os.path.join(tomodir, name))]
        if missing:
            yield Finding(Kind.INPUT_MISSING, item.path, ", ".join(missing), item.item_id)
    event = _event(look, item.item_id)
    if state.name is StateName.DONE and event is not None:
        changed = _changed(look.batch, item, tomodir, event)
        if changed:
            yield Finding(Kind.INPUT_CHANGED, item.path, ", ".join(changed), item.item_id)
    elif state.name is StateName.COLLECTED:
        yield from compare_result(look, item, event, deep=deep)


def _own_inputs(batch: Batch, item: Item) -> Iterator[str]:
    """Yield the inputs that have to lie there before the first stage: no earlier stage or other tomodir makes them."""
    made: set[str] = set()
    for stage in item.stages:
        sources = stage.get("sources") or {}
        for name in stage.get("inputs", ()):
            # An earlier stage makes mod/volt.dat, and whatever else lies in its directories.
            if name not in sources and name not in made and os.path.dirname(name) not in made:
                yield name
        made.update(directory for directory in stage.get("make_dirs", ()) if directory != "exe")
        made.add(str(stage.get("result") or ""))


def _event(look: Look, item_id: int) -> Mapping[str, Any] | None:
    view = look.sessions.get(look.done_by.get(item_id, ""))
    return view.done.get(item_id) if view is not None else None


def _changed(batch: Batch, item: Item, tomodir: str, event: Mapping[str, Any]) -> list[str]:
    inputs = event.get("inputs")
    with contextlib.suppress(OSError, ValueError, TypeError):
        return changed_inputs(tomodir, inputs or (), collected_sources(batch, item))
    return []


def compare_result(look: Look, item: Item, event: Mapping[str, Any] | None, *, deep: bool) -> Iterator[Finding]:
    """Compare what was collected with what lies in the tomodir.

    The result of a newer batch took this one's place with its user's knowledge, and is not looked at.
    """
    tomodir = look.batch.tomodir(item)
    try:
        with open_regular(os.path.join(tomodir, PROVENANCE)) as stream:
            written = json.load(stream)
        said = (str(written["batch"]), int(written["id"]))
    except FileNotFoundError:
        yield Finding(Kind.RESULT_GONE, item.path, PROVENANCE, item.item_id)
        return
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        yield Finding(Kind.RESULT_CHANGED, item.path, PROVENANCE, item.item_id)
        return
    if said[0] > look.batch.batch_id:
        return
    if said != (look.batch.batch_id, item.item_id):
        yield Finding(Kind.RESULT_CHANGED, item.path, PROVENANCE, item.item_id)
        return
    finish = str((event or {}).get("finish") or "")
    if finish and not os.path.exists(os.path.join(tomodir, finish)):
        yield Finding(Kind.RESULT_GONE, item.path, finish, item.item_id)
    elif deep and event is not None:
        missing, changed = differing(look, item, event)
        if missing:
            yield Finding(Kind.RESULT_GONE, item.path, ", ".join(missing), item.item_id)
        if changed:
            yield Finding(Kind.RESULT_CHANGED, item.path, ", ".join(changed), item.item_id)


def differing(look: Look, item: Item, event: Mapping[str, Any]) -> tuple[list[str], list[str]]:
    """Return which files of a result aren't in its tomodir, and which are others now; nothing if the pack is gone."""
    token = look.done_by.get(item.item_id, "")
    missing: list[str] = []
    changed: list[str] = []
    try:
        record = Record.from_json(token, event["record"])
        with open_record(look.paths.pack(token), record) as archive:
            for member in archive:
                path = os.path.join(look.batch.tomodir(item), member.name)
                source = archive.extractfile(member)
                if not os.path.lexists(path):
                    missing.append(member.name)
                elif source is None or os.path.getsize(path) != member.size or sha256_of(path) != _sum(source):
                    changed.append(member.name)
    except (PackDamaged, KeyError, TypeError, ValueError, AttributeError):
        pass
    return missing, changed


def _sum(stream: Any) -> str:
    digest = hashlib.sha256()
    for chunk in iter(lambda: stream.read(_CHUNK), b""):
        digest.update(chunk)
    return digest.hexdigest()
