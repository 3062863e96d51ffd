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
import tarfile
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
WORKERS = 4
# So many at a time go through each step together, and are made durable together.
GROUP = 128
GROUP_BYTES = 256 << 20
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
    with ThreadPoolExecutor(WORKERS) as pool:
        for group in _groups(_with_events(batch, items)):
            _collect_group(batch, custody.session, pool, group, report, force=force)
            on_progress(report.collected + len(report.refused), len(items))
    return report


@dataclass(frozen=True)
class _Finished:
    """A result to be collected: its tomodir, the session that has it, and that session's event (None if missing)."""

    item_id: int
    token: str
    event: Mapping[str, Any] | None


@dataclass
class _Placing:
    """A result on its way into its tomodir: extracted to ``temporary`` under numbers, in the order of renaming."""

    item: Item
    tomodir: str
    temporary: str
    order: list[str]
    touched: set[str] = field(default_factory=set)

    def extracted(self, name: str) -> str:
        """Return where a file of the result lies until it is renamed."""
        return os.path.join(self.temporary, str(self.order.index(name)))


def _groups(finished: Iterable[_Finished]) -> Iterator[list[_Finished]]:
    group: list[_Finished] = []
    size = 0
    for one in finished:
        group.append(one)
        record = (one.event or {}).get("record")
        size += int(record.get("length") or 0) if isinstance(record, Mapping) else 0
        if len(group) >= GROUP or size >= GROUP_BYTES:
            yield group
            group, size = [], 0
    if group:
        yield group


def _collect_group(
    batch: Batch,
    session: Session,
    pool: ThreadPoolExecutor,
    group: list[_Finished],
    report: CollectReport,
    *,
    force: bool,
) -> None:
    """Take a group through all steps; each step is durable for all of them before the next begins."""
    placing: list[_Placing] = []

    def each(step: Callable[[_Placing], None]) -> None:
        """Do a step for all that are still in; who fails is refused and out."""
        answers = list(pool.map(_refusing(step), placing))
        for one, error in zip(list(placing), answers):
            if error is not None:
                report.refused.append((one.item.path, error))
                placing.remove(one)
                shutil.rmtree(one.temporary, ignore_errors=True)

    def extract(one: _Finished) -> _Placing | CrhBatchError:
        item = batch.items[one.item_id]
        try:
            return _extract(batch, item, one, force=force)
        except CrhBatchError as error:
            return error
        except OSError as error:
            return _failed(batch.tomodir(item), error)

    for finished, answer in zip(group, pool.map(extract, group)):
        if isinstance(answer, _Placing):
            placing.append(answer)
        else:
            report.refused.append((batch.items[finished.item_id].path, answer))
    files = [os.path.join(one.temporary, str(number)) for one in placing for number in range(len(one.order))]
    durable.sync_many(files, ())
    each(lambda one: _put_in_place(batch, one, one.order[:-1]))
    durable.sync_many((), {directory for one in placing for directory in one.touched})
    # What says "finished" must not be durable before the rest is.
    each(lambda one: _put_in_place(batch, one, one.order[-1:]))
    durable.sync_many((), {directory for one in placing for directory in one.touched})
    each(lambda one: _conclude(batch, session, one))
    report.collected += len(placing)


def _refusing(step: Callable[[_Placing], None]) -> Callable[[_Placing], CrhBatchError | None]:
    def refuse(one: _Placing) -> CrhBatchError | None:
        try:
            step(one)
        except CrhBatchError as error:
            return error
        except OSError as error:
            return _failed(one.tomodir, error)
        return None

    return refuse


def _with_events(batch: Batch, item_ids: Iterable[int]) -> Iterator[_Finished]:
    """Find the event that describes each result; sessions are read once each."""
    by_token: dict[str, list[int]] = {}
    for item_id in item_ids:
        token = holder_of(batch.paths.name(item_id, "done"), wait_s=durable.VISIBILITY_WAIT_S) or ""
        by_token.setdefault(token, []).append(item_id)
    for token, wanted in by_token.items():
        events = {event.get("id"): event for event in read_events(batch.paths, token) if event["event"] == "done"}
        for item_id in wanted:
            yield _Finished(item_id, token, events.get(item_id))


def _failed(tomodir: str, error: OSError) -> TomodirError:
    where = error.filename or tomodir
    return TomodirError(
        f"{tomodir}: its result could not be put in place: {where}: {error.strerror}",
        "The result stays in the pack. Mend the cause (space, permissions), then run crh-batch collect again.",
        tomodir,
    )


def _extract(batch: Batch, item: Item, finished: _Finished, *, force: bool) -> _Placing:
    """Check a result and everything it meets, and extract it next to its place; nothing else is touched."""
    tomodir = batch.tomodir(item)
    event, token = finished.event, finished.token
    if event is None:
        raise LedgerError(
            f"{item.path}: the session {token!r} that finished it has no record of the result",
            "If the file may only be late on this machine, try again in a minute.",
            batch.paths.session(token),
        )
    try:
        record = Record.from_json(token, event["record"])
    except (KeyError, TypeError, ValueError, AttributeError):
        raise LedgerError(
            f"{item.path}: damaged record in {batch.paths.session(token)}",
            "Run the tomodir again: crh-batch submit --force.",
            tomodir,
        ) from None
    if not os.path.isdir(tomodir):
        raise TomodirError(
            f"{tomodir}: the tomodir is gone",
            "The result stays in the pack; put the directory back and collect.",
            tomodir,
        )
    if not force:
        _check_registration(batch, item, tomodir)
        _check_inputs(tomodir, event.get("inputs", []))
    _remove_old_temporaries(tomodir, batch.batch_id)
    temporary = os.path.join(tomodir, f"{TEMPORARY_PREFIX}{batch.batch_id}-{durable.random_word()}")
    os.mkdir(temporary, 0o700)
    try:
        with open_record(batch.paths.pack(token), record) as archive:
            order = _extract_members(archive, temporary, str(event.get("finish") or ""))
        _check_places(tomodir, item, order)
    except BaseException:
        shutil.rmtree(temporary, ignore_errors=True)
        raise
    return _Placing(item, tomodir, temporary, order)


def _conclude(batch: Batch, session: Session, one: _Placing) -> None:
    # Before the name: what is collected is not looked at again, so nobody would remove it after a crash.
    shutil.rmtree(one.temporary, ignore_errors=True)
    session.win(one.item.item_id, "collected", batch.settings.links)
    release(batch, one.item)


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


def _extract_members(archive: tarfile.TarFile, directory: str, finish: str) -> list[str]:
    """Extract all members under the numbers of their places in the order of renaming; return their names in it.

    The provenance comes last but one, ``finish``, the file that says that all is there, last.
    """
    names: list[str] = []
    for member in archive:
        source = archive.extractfile(member)
        assert source is not None, "open_record passes plain files only"
        path = os.path.join(directory, f"member-{len(names)}")
        with open(path, "xb") as target:
            shutil.copyfileobj(source, target, _CHUNK)
        if member.mtime:
            os.utime(path, (member.mtime, member.mtime))
        names.append(member.name)

    def rank(place: int) -> tuple[int, str]:
        name = names[place]
        return (2 if name == finish else 1 if name == PROVENANCE else 0, name)

    places = sorted(range(len(names)), key=rank)
    for number, place in enumerate(places):
        os.rename(os.path.join(directory, f"member-{place}"), os.path.join(directory, str(number)))
    return [names[place] for place in places]


def _check_places(tomodir: str, item: Item, names: Iterable[str]) -> None:
    """Refuse places that lead out of the tomodir through a symbolic link, and directories that stand in the way."""
    directories = {os.path.dirname(name) for name in names if "/" in name}
    # From these, stale outputs go away even if no new file comes.
    directories.update(directory for stage in item.stages for directory in stage.get("inv_dirs", ()))
    for directory in sorted(directories):
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
    for name in names:
        path = os.path.join(tomodir, name)
        if os.path.isdir(path) and not os.path.islink(path):
            raise TomodirError(
                f"{path}: is a directory; a file of the result belongs there",
                "The result stays in the pack. Move the directory away, then run crh-batch collect again.",
                tomodir,
            )


def _put_in_place(batch: Batch, one: _Placing, names: list[str]) -> None:
    """Rename files into place; what stood there is kept in ``replaced/``, what is there already is left."""
    if names != one.order[-1:] or len(one.order) == 1:
        for name in list(_stale_outputs(one.tomodir, one.item, set(one.order))):
            _keep_old(batch, one.item, one.tomodir, name)
            durable.calls.unlink(os.path.join(one.tomodir, name))
    for name in names:
        source, place = one.extracted(name), os.path.join(one.tomodir, name)
        directory = os.path.dirname(place)
        if not os.path.isdir(directory):
            os.makedirs(directory, exist_ok=True)
            one.touched.add(os.path.dirname(directory))
        if os.path.lexists(place):
            if _same_content(source, place):
                continue
            _keep_old(batch, one.item, one.tomodir, name)
        durable.calls.replace(source, place)
        one.touched.add(directory)


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
