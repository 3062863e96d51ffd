"""Collect: results from the packs into the tomodirs, restartable at any point.

The order for one tomodir, and why (docs/protocol.md, "Collect"):

1. the record's sum and members are checked before anything is written;
2. the tomodir's inputs must be those that the result was made from, results of other tomodirs that it took included:
   these are put in place before it, and where one was refused, so is what took it;
3. files are extracted into a temporary directory inside the tomodir, and made durable there;
4. old outputs that the new result replaces or that would lie about it are copied to the batch's ``replaced/``;
5. each file is renamed into place, the provenance last but one, the file that says "finished" last: whoever looks at
   the tomodir by its own rules sees it finished only when everything is there;
6. the name ``collected``; 7. the .crh file goes.

A crash leaves steps to be done again; all of them may be.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any, Callable

from crh_batch.errors import CrhBatchError, LedgerError, TomodirError
from crh_batch.ledger import durable
from crh_batch.ledger.batch import Batch
from crh_batch.ledger.custody import Custody
from crh_batch.ledger.inputs import changed_inputs
from crh_batch.ledger.items import Item
from crh_batch.ledger.names import StateName, states
from crh_batch.ledger.pack import Record, open_record
from crh_batch.ledger.paths import PROVENANCE
from crh_batch.ledger.placing import (
    TEMPORARY_PREFIX,
    Placing,
    check_places,
    extract_members,
    put_in_place,
    remove_old_temporaries,
)
from crh_batch.ledger.reading import FILE_LIMIT_BYTES, parse_json, read_bytes, taken, text, whole_number
from crh_batch.ledger.registration import read_registration, remove_registration
from crh_batch.ledger.session import holder_of, read_events
from crh_batch.ledger.sharing import share_with
from crh_batch.ledger.sources import check_sources, collected_sources, levels

# Collecting waits for the disk more than for the processor; on a network filesystem almost only.
WORKERS = 4
# So many at a time go through each step together, and are made durable together.
GROUP = 128
GROUP_BYTES = 256 << 20


@dataclass
class CollectReport:
    """What a collect did: how many results are in place now, and which tomodirs were refused, with reasons.

    ``trouble`` is what kept further results from being here.
    """

    collected: int = 0
    refused: list[tuple[str, CrhBatchError]] = field(default_factory=list)
    trouble: list[CrhBatchError] = field(default_factory=list)


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
        for item_id, state in states(batch.paths, batch.items.ids, batch.settings)
        if state.name is StateName.DONE
    ]
    items = [item_id for item_id in done if only is None or only(batch.items[item_id])]
    report = CollectReport()
    with ThreadPoolExecutor(WORKERS) as pool:
        for level in levels(items, batch.settings.after):
            for group in _groups(_with_events(batch, level)):
                _collect_group(batch, custody, pool, group, report, force=force)
                on_progress(report.collected + len(report.refused), len(items))
    return report


@dataclass(frozen=True)
class _Finished:
    """A result to be collected: its tomodir, the session that has it, and that session's event (None if missing)."""

    item_id: int
    token: str
    event: Mapping[str, Any] | None


def _groups(finished: Iterable[_Finished]) -> Iterator[list[_Finished]]:
    group: list[_Finished] = []
    size = 0
    for one in finished:
        group.append(one)
        record = (one.event or {}).get("record")
        size += taken(whole_number, record.get("length"), 0) if isinstance(record, Mapping) else 0
        if len(group) >= GROUP or size >= GROUP_BYTES:
            yield group
            group, size = [], 0
    if group:
        yield group


def _collect_group(
    batch: Batch,
    custody: Custody,
    pool: ThreadPoolExecutor,
    group: list[_Finished],
    report: CollectReport,
    *,
    force: bool,
) -> None:
    """Take a group through all steps; each step is durable for all of them before the next begins."""
    placing: list[Placing] = []

    def each(step: Callable[[Placing], None]) -> None:
        """Do a step for all that are still in; who fails is refused and out."""
        answers = list(pool.map(_refusing(step), placing))
        for one, error in zip(list(placing), answers):
            if error is not None:
                report.refused.append((one.item.path, error))
                placing.remove(one)
                shutil.rmtree(one.temporary, ignore_errors=True)

    def sync(files: Iterable[str], directories: Iterable[str]) -> None:
        """Make a step durable; where that fails nobody can say for whom, so none of the group goes on."""
        try:
            durable.sync_many(files, directories)
        except OSError as error:
            each(_failing_with(error))

    def extract(one: _Finished) -> Placing | CrhBatchError:
        item = batch.items[one.item_id]
        try:
            return _extract(batch, item, one, report, force=force)
        except CrhBatchError as error:
            return error
        except OSError as error:
            return _failed(batch.tomodir(item), error)

    for finished, answer in zip(group, pool.map(extract, group)):
        if isinstance(answer, Placing):
            placing.append(answer)
        else:
            report.refused.append((batch.items[finished.item_id].path, answer))
    files = [os.path.join(one.temporary, str(number)) for one in placing for number in range(len(one.order))]
    sync(files, ())
    each(lambda one: put_in_place(batch, one, one.order[:-1]))
    sync((), {directory for one in placing for directory in one.touched})
    # What says "finished" must not be durable before the rest is.
    each(lambda one: put_in_place(batch, one, one.order[-1:]))
    sync((), {directory for one in placing for directory in one.touched})
    each(lambda one: _conclude(batch, custody, one))
    report.collected += len(placing)


def _failing_with(error: OSError) -> Callable[[Placing], None]:
    def fail(one: Placing) -> None:
        raise error

    return fail


def _refusing(step: Callable[[Placing], None]) -> Callable[[Placing], CrhBatchError | None]:
    def refuse(one: Placing) -> CrhBatchError | None:
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


def _extract(batch: Batch, item: Item, finished: _Finished, report: CollectReport, *, force: bool) -> Placing:
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
        check_sources(batch, item, {path for path, _ in report.refused} if item.after else ())
        _check_inputs(tomodir, event.get("inputs", []), collected_sources(batch, item))
    remove_old_temporaries(tomodir, batch.batch_id)
    temporary = os.path.join(tomodir, f"{TEMPORARY_PREFIX}{batch.batch_id}-{durable.random_word()}")
    os.mkdir(temporary, 0o700)
    try:
        with open_record(batch.paths.pack(token), record) as archive:
            order = extract_members(archive, temporary, str(event.get("finish") or ""))
        if batch.settings.share_gid:
            share_with(batch.settings.share_gid, (entry.path for entry in os.scandir(temporary)))
        check_places(tomodir, item, order)
    except BaseException:
        shutil.rmtree(temporary, ignore_errors=True)
        raise
    return Placing(item, tomodir, temporary, order)


def _conclude(batch: Batch, custody: Custody, one: Placing) -> None:
    # Before the name: what is collected is not looked at again, so nobody would remove it after a crash.
    shutil.rmtree(one.temporary, ignore_errors=True)
    custody.session.win(one.item.item_id, "collected", batch.settings.links)
    try:
        release(batch, one.item)
    except OSError as error:
        custody.say_left(one.item.item_id)
        raise TomodirError(
            f"{one.tomodir}: its result is in place, but {error.filename or one.tomodir} could not be removed: "
            f"{error.strerror or error}",
            "Mend the cause, then run crh-batch collect again.",
            one.tomodir,
        ) from error


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
        return text(parse_json(read_bytes(os.path.join(tomodir, PROVENANCE), FILE_LIMIT_BYTES))["batch"])
    except (OSError, ValueError, LookupError, TypeError):
        return ""


def release(batch: Batch, item: Item) -> None:
    """Remove a tomodir's .crh file if it is this batch's; only with custody."""
    registration = read_registration(batch.tomodir(item))
    if registration and registration.batch_id == batch.batch_id and registration.item_id == item.item_id:
        remove_registration(registration)


def remove_leftover_registrations(batch: Batch) -> None:
    """Remove the .crh files of collected tomodirs that a client left which died between the last two steps."""
    for item_id, state in states(batch.paths, batch.items.ids, batch.settings):
        if state.name is StateName.COLLECTED:
            release(batch, batch.items[item_id])


def _check_inputs(tomodir: str, inputs: Iterable[Any], sourced: frozenset[str]) -> None:
    changed = changed_inputs(tomodir, inputs, sourced)
    if changed:
        raise TomodirError(
            f"{tomodir}: changed since it was run: {', '.join(changed)}",
            "The result stays in the pack. To run it with the new input: crh-batch submit --force; "
            "to take the old result all the same: crh-batch collect --force.",
            tomodir,
        )
