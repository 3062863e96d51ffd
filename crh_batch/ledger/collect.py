"""Collect: results from the packs into the tomodirs, restartable at any point.

The order for one tomodir, and why (docs/protocol.md, "Collect"):

1. the record's sum and members are checked before anything is written;
2. the tomodir's inputs must be those that the result was made from;
3. files are extracted into a temporary directory inside the tomodir, and made durable there;
4. old outputs that the new result replaces or that would lie about it are copied to the batch's ``replaced/``;
5. each file is renamed into place, the provenance last but one, the file that says "finished" last: whoever looks at
   the tomodir by its own rules sees it finished only when everything is there;
6. the name ``collected``; 7. the .crh file goes.

A crash leaves steps to be done again; all of them may be.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import re
import shutil
import stat
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any, Callable

from crh_batch.errors import CrhBatchError, LedgerError, TomodirError
from crh_batch.ledger import durable
from crh_batch.ledger.batch import Batch, Item
from crh_batch.ledger.custody import Custody
from crh_batch.ledger.names import StateName, states
from crh_batch.ledger.pack import Record, open_record
from crh_batch.ledger.paths import PROVENANCE, program_log
from crh_batch.ledger.registration import read_registration, remove_registration
from crh_batch.ledger.session import Session, holder_of, read_events

TEMPORARY_PREFIX = ".crh-"
# Collecting waits for the disk more than for the processor; on a network filesystem almost only.
WORKERS = 8
_CHUNK = 1 << 20

# What CRTomo writes into its result directory. A file of an earlier run that the new one doesn't write again (rho07.mag
# when it converged at rho04.mag this time) would be taken for a result.
_INVERSION_OUTPUT = re.compile(
    r"(?:rho\d+\..*|volt\d+\..*|(?:inv|run|cjg|eps|fpi|wiggle)\.ctr|coverage\..*|ata.*\.diag|res_m\..*|cov\d.*|.*\.modl?)\Z"
)
_STALE_IN_EXE = ("exe/error.dat", "exe/crtomo.pid", "exe/crmod.pid")


@dataclass
class CollectReport:
    """What a collect did: how many results are in place now, and which tomodirs were refused, with reasons."""

    collected: int = 0
    refused: list[tuple[str, CrhBatchError]] = field(default_factory=list)


def collect_batch(
    batch: Batch,
    custody: Custody,
    *,
    force: bool = False,
    only: Callable[[Item], bool] | None = None,
    on_progress: Callable[[int, int], None] = lambda done, total: None,
) -> CollectReport:
    """Put all finished results of a batch into their tomodirs.

    Args:
        custody: entered by the caller; its session's name stands behind ``collected``.
        force: collect also where inputs changed since the run.
        only: which tomodirs; all by default.
        on_progress: called with how many are through, and of how many.
    """
    if custody.follows_a_death:
        remove_leftover_registrations(batch)
    done = [
        item_id
        for item_id, state in states(batch.paths, batch.items.ids, batch.settings.policy)
        if state.name is StateName.DONE
    ]
    items = [item_id for item_id in done if only is None or only(batch.items[item_id])]
    report = CollectReport()

    def collect_one(entry: tuple[int, Mapping[str, Any] | None, str]) -> tuple[str, CrhBatchError | None]:
        item_id, event, token = entry
        item = batch.items[item_id]
        try:
            _collect_item(batch, custody.session, item, event, token, force=force)
        except CrhBatchError as error:
            return item.path, error
        except OSError as error:
            return item.path, _failed(batch.tomodir(item), error)
        return item.path, None

    with ThreadPoolExecutor(WORKERS) as pool:
        for number, (path, error) in enumerate(pool.map(collect_one, _with_events(batch, items)), start=1):
            if error is None:
                report.collected += 1
            else:
                report.refused.append((path, error))
            on_progress(number, len(items))
    return report


def _with_events(batch: Batch, item_ids: Iterable[int]) -> list[tuple[int, Mapping[str, Any] | None, str]]:
    """Find the event that describes each result; sessions are read once each."""
    by_token: dict[str, list[int]] = {}
    for item_id in item_ids:
        token = holder_of(batch.paths.name(item_id, "done"), wait_s=durable.VISIBILITY_WAIT_S) or ""
        by_token.setdefault(token, []).append(item_id)
    found: list[tuple[int, Mapping[str, Any] | None, str]] = []
    for token, wanted in by_token.items():
        events = {event.get("id"): event for event in read_events(batch.paths, token) if event["event"] == "done"}
        found += [(item_id, events.get(item_id), token) for item_id in wanted]
    return found


def _failed(tomodir: str, error: OSError) -> TomodirError:
    where = error.filename or tomodir
    return TomodirError(
        f"{tomodir}: its result could not be put in place: {where}: {error.strerror}",
        "The result stays in the pack. Mend the cause (space, permissions), then run crh-batch collect again.",
        tomodir,
    )


def _collect_item(
    batch: Batch, session: Session, item: Item, event: Mapping[str, Any] | None, token: str, *, force: bool
) -> None:
    tomodir = batch.tomodir(item)
    if event is None:
        raise LedgerError(
            f"{item.path}: the session {token!r} that finished it has no record of the result",
            "If the file may only be late on this machine, try again in a minute; crh-batch verify tells more.",
            batch.paths.session(token),
        )
    try:
        record = Record.from_json(token, event["record"])
    except (KeyError, TypeError, ValueError):
        raise LedgerError(f"{item.path}: damaged record in {batch.paths.session(token)}", "", tomodir) from None
    if not os.path.isdir(tomodir):
        raise TomodirError(
            f"{tomodir}: the tomodir is gone",
            "The result stays in the pack; put the directory back and collect.",
            tomodir,
        )
    if not force:
        _check_registration(batch, item, tomodir)
        _check_inputs(tomodir, event.get("inputs", []))
    temporary = os.path.join(tomodir, f"{TEMPORARY_PREFIX}{batch.batch_id}-{durable.random_word()}")
    _remove_old_temporaries(tomodir, batch.batch_id)
    os.mkdir(temporary, 0o700)
    try:
        names = _extract(batch.paths.pack(token), record, temporary)
        order = _in_order(names, str(event.get("finish") or ""))
        _check_places(tomodir, names)
        _put_in_place(batch, item, tomodir, temporary, order)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    session.win(item.item_id, "collected", batch.settings.links)
    release(batch, item)


def _check_registration(batch: Batch, item: Item, tomodir: str) -> None:
    """Refuse to write into a tomodir that another batch has, or has put a newer result into."""
    registration = read_registration(tomodir)
    if registration is not None:
        if (registration.batch_id, registration.item_id) == (batch.batch_id, item.item_id):
            return
        why = registration.describe()
    else:
        # The .crh file is gone: removed by hand, or by cancel a moment before the run ended well.
        newer = _provenance_batch(tomodir)
        if newer <= batch.batch_id:
            return
        why = f"it holds the result of batch {newer}"
    raise TomodirError(
        f"{tomodir}: is not registered for batch {batch.batch_id} any more ({why})",
        "The result stays in the pack; to take it all the same: crh-batch collect --force.",
        tomodir,
    )


def _provenance_batch(tomodir: str) -> str:
    """Return the batch that the result in a tomodir came from, empty if there is none. Batch ids sort by time."""
    try:
        with open(os.path.join(tomodir, PROVENANCE), "rb") as stream:
            return str(json.load(stream)["batch"])
    except (OSError, ValueError, KeyError, TypeError):
        return ""


def release(batch: Batch, item: Item) -> None:
    """Remove a tomodir's .crh file if it is this batch's; only with custody."""
    registration = read_registration(batch.tomodir(item))
    if registration and registration.batch_id == batch.batch_id and registration.item_id == item.item_id:
        remove_registration(registration)


def remove_leftover_registrations(batch: Batch) -> None:
    """Remove the .crh files of collected tomodirs that a client left which died between the last two steps."""
    for item_id, state in states(batch.paths, batch.items.ids, batch.settings.policy):
        if state.name is StateName.COLLECTED:
            release(batch, batch.items[item_id])


def changed_inputs(tomodir: str, inputs: Iterable[Any]) -> list[str]:
    """Return which of a run's inputs are others now; what lies outside the tomodir is not looked at.

    Args:
        inputs: name, size in bytes, modification time in ns, and sha256 of each, as they were when it ran.
    """
    changed = []
    for name, size, mtime_ns, sha256 in inputs:
        if str(name).startswith(("../", "/")):
            continue
        path = os.path.join(tomodir, name)
        try:
            status = os.stat(path)
            if (status.st_size, status.st_mtime_ns) != (size, mtime_ns) and _sha256(path) != sha256:
                changed.append(str(name))
        except FileNotFoundError:
            changed.append(f"{name} (gone)")
    return changed


def _check_inputs(tomodir: str, inputs: Iterable[Any]) -> None:
    changed = changed_inputs(tomodir, inputs)
    if changed:
        raise TomodirError(
            f"{tomodir}: changed since it was run: {', '.join(changed)}",
            "The result stays in the pack. To run it with the new input: crh-batch submit --force; "
            "to take the old result all the same: crh-batch collect --force.",
            tomodir,
        )


def _sha256(path: str) -> str:
    digest = hashlib.sha256()
    with open(path, "rb") as stream:
        for chunk in iter(lambda: stream.read(_CHUNK), b""):
            digest.update(chunk)
    return digest.hexdigest()


def _remove_old_temporaries(tomodir: str, batch_id: str) -> None:
    """Remove what a collect of this batch left that died; with custody there is no other living one."""
    prefix = f"{TEMPORARY_PREFIX}{batch_id}-"
    for entry in os.scandir(tomodir):
        if entry.name.startswith(prefix) and entry.is_dir(follow_symlinks=False):
            shutil.rmtree(entry.path, ignore_errors=True)


def _extract(pack: str, record: Record, directory: str) -> list[str]:
    names = []
    with open_record(pack, record) as archive:
        for member in archive:
            source = archive.extractfile(member)
            assert source is not None, "open_record passes plain files only"
            path = os.path.join(directory, member.name)
            os.makedirs(os.path.dirname(path), exist_ok=True)
            with open(path, "xb") as target:
                shutil.copyfileobj(source, target, _CHUNK)
                target.flush()
                durable.calls.fsync(target.fileno())
            os.utime(path, (member.mtime, member.mtime)) if member.mtime else None
            names.append(member.name)
    return names


def _in_order(names: Iterable[str], finish: str) -> list[str]:
    def rank(name: str) -> tuple[int, str]:
        return (2 if name == finish else 1 if name == PROVENANCE else 0, name)

    return sorted(names, key=rank)


def _check_places(tomodir: str, names: Iterable[str]) -> None:
    """Refuse places that lead out of the tomodir through a symbolic link, and directories that stand in the way."""
    for directory in sorted({os.path.dirname(name) for name in names if "/" in name}):
        path = tomodir
        for part in directory.split("/"):
            path = os.path.join(path, part)
            with contextlib.suppress(FileNotFoundError):
                if not stat.S_ISDIR(os.lstat(path).st_mode):
                    raise TomodirError(
                        f"{path}: is a symbolic link or a file; results go into plain directories only",
                        "The result stays in the pack. Make it a directory, then run crh-batch collect again.",
                        tomodir,
                    )


def _put_in_place(batch: Batch, item: Item, tomodir: str, temporary: str, order: list[str]) -> None:
    for name in _stale_outputs(tomodir, item, set(order)):
        _keep_old(batch, item, tomodir, name)
        os.unlink(os.path.join(tomodir, name))
    touched = set()
    for name in order:
        source, place = os.path.join(temporary, name), os.path.join(tomodir, name)
        directory = os.path.dirname(place)
        if not os.path.isdir(directory):
            os.makedirs(directory, exist_ok=True)
            touched.add(os.path.dirname(directory))
        if os.path.lexists(place):
            if _same_content(source, place):
                continue
            _keep_old(batch, item, tomodir, name)
        if name == order[-1]:
            # What says "finished" must not be durable before the rest is.
            _sync_all(touched)
        durable.calls.replace(source, place)
        touched.add(directory)
    _sync_all(touched)


def _sync_all(directories: Iterable[str]) -> None:
    for directory in sorted(directories):
        durable.sync_directory(directory)


def _same_content(one: str, other: str) -> bool:
    status = os.lstat(other)
    return stat.S_ISREG(status.st_mode) and status.st_size == os.path.getsize(one) and _sha256(one) == _sha256(other)


def _stale_outputs(tomodir: str, item: Item, new: set[str]) -> Iterator[str]:
    """Yield outputs of earlier runs that would lie about the new result."""
    for name in _STALE_IN_EXE:
        if name not in new and os.path.lexists(os.path.join(tomodir, name)):
            yield name
    for stage in item.stages:
        for stream in ("out", "err"):
            log = program_log(stage["stage"], stream)
            if log not in new and os.path.lexists(os.path.join(tomodir, log)):
                yield log
        for directory in stage.get("inv_dirs", ()):
            with contextlib.suppress(FileNotFoundError):
                for entry in sorted(os.listdir(os.path.join(tomodir, directory))):
                    name = f"{directory}/{entry}"
                    if _INVERSION_OUTPUT.match(entry) and name not in new and _is_plain(tomodir, name):
                        yield name


def _is_plain(tomodir: str, name: str) -> bool:
    return stat.S_ISREG(os.lstat(os.path.join(tomodir, name)).st_mode)


def _keep_old(batch: Batch, item: Item, tomodir: str, name: str) -> None:
    """Copy a file that is about to go to the batch's ``replaced/``, durably; an earlier copy is not overwritten."""
    place = os.path.join(batch.paths.replaced, f"{item.item_id:06d}", name)
    os.makedirs(os.path.dirname(place), exist_ok=True)
    number = 1
    target = place
    while os.path.lexists(target):
        number += 1
        target = f"{place}.{number}"
    shutil.copy2(os.path.join(tomodir, name), target, follow_symlinks=False)
    if not os.path.islink(target):
        durable.sync_file(target)
    durable.sync_directory(os.path.dirname(target))
