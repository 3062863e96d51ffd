"""Steering a batch: tomodirs held and released, given up, and taken up again. All of it is names that only get added.

Many thousand names are made in several threads and made durable once; what speaks of them comes after.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Collection, Iterator
from dataclasses import dataclass, field

from crh_batch.engines.pilots import end_pilots
from crh_batch.engines.target import Target
from crh_batch.hosts.base import Host
from crh_batch.ledger import collect
from crh_batch.ledger.arbiter import see_news
from crh_batch.ledger.batch import Batch
from crh_batch.ledger.custody import custody_of
from crh_batch.ledger.identity import this_process
from crh_batch.ledger.names import Failure, Marks, StateName, claim_mark, fail_mark, marks_of, states
from crh_batch.ledger.registration import read_registration, register, sim_type_of
from crh_batch.ledger.session import Session
from crh_batch.ledger.steering import batch_hold, give_notice, hold_batch, in_threads, release_batch, win_many

_SETTLED = (StateName.DONE, StateName.COLLECTED, StateName.FAILED, StateName.MOVED)


@dataclass
class Retried:
    """What a retry did.

    Args:
        again: how many failed tomodirs are ready again.
        held: how many of these are held all the same.
        left: which were left alone, with the reason.
    """

    again: int = 0
    held: int = 0
    left: list[tuple[str, str]] = field(default_factory=list)


# ---------------------------------------------------------------- hold and release


def hold(target: Target) -> int:
    """Keep tomodirs from being begun; what runs goes on. Return how many were not held before.

    A whole batch is held by one name, whatever its size. No custody is needed: it works whatever other clients do.

    Raises:
        LedgerError: the names can't be made.
    """
    batch, links = target.batch, target.batch.settings.links
    with _client(batch) as session:
        if target.only is not None:
            return _hold_each(batch, session, target.only)
        before = _unfinished(batch, target.ids)
        was_held = batch_hold(batch.paths).is_held
        session.append("held")
        hold_batch(session, links)
        return 0 if was_held else sum(not _is_held(marks) for _, marks in before)


def release(target: Target) -> int:
    """Let tomodirs be begun again; return how many were held.

    A whole batch is released with all of its tomodirs. Of a batch that is held as a whole a part can be released, too:
    the others are held one by one then.

    Raises:
        LedgerError: the names can't be made.
    """
    batch, links = target.batch, target.batch.settings.links
    with _client(batch) as session:
        whole = batch_hold(batch.paths).is_held
        wanted = [(item_id, marks) for item_id, marks in _unfinished(batch, target.ids) if whole or _is_held(marks)]
        if whole and target.only is not None:
            # Before the batch is released: in between, nothing may be free that the user holds.
            _hold_each(batch, session, frozenset(batch.items.ids) - target.only)
        # Names of finished ones don't matter, but a failed one must not be held when it is retried.
        own = [(item_id, marks) for item_id, marks in marks_of(batch.paths, target.ids) if _is_held(marks)]
        for item_id, _ in own:
            session.append("release", id=item_id)
        win_many(session, [(item_id, f"release.{marks.held:03d}") for item_id, marks in own], links)
        if whole:
            session.append("release")
            release_batch(session, links)
        else:
            give_notice(session, links)
        return len(wanted)


def _hold_each(batch: Batch, session: Session, only: Collection[int]) -> int:
    ids = [item_id for item_id in batch.items.ids if item_id in only]
    free = [(item_id, marks) for item_id, marks in _unfinished(batch, ids) if not _is_held(marks)]
    for item_id, _ in free:
        session.append("held", id=item_id)
    marks_to_make = [(item_id, f"held.{max(marks.held, marks.released) + 1:03d}") for item_id, marks in free]
    win_many(session, marks_to_make, batch.settings.links)
    give_notice(session, batch.settings.links)
    return len(free)


def _unfinished(batch: Batch, ids: list[int]) -> list[tuple[int, Marks]]:
    policy = batch.settings.policy
    return [
        (item_id, marks) for item_id, marks in marks_of(batch.paths, ids) if marks.state(policy).name not in _SETTLED
    ]


def _is_held(marks: Marks) -> bool:
    return marks.held > marks.released


@contextlib.contextmanager
def _client(batch: Batch) -> Iterator[Session]:
    session = Session.begin(batch.paths, "client")
    try:
        yield session
    finally:
        session.close()


# ---------------------------------------------------------------- cancel


def cancel(target: Target, host: Host, *, force: bool = False) -> int:
    """Give up tomodirs that are not finished, and what has failed; return how many.

    One that is not running is claimed and failed by this client, so no pilot can get it; of a running one the attempt
    is failed, which its pilot notices within seconds. The .crh files go, so the tomodirs are free. Finished results
    stay collectable. Of a whole batch the jobs are cancelled first.

    Raises:
        Busy: another client is at work on the batch.
        SchedulerError: the jobs could not be cancelled; nothing was given up then.
    """
    batch = target.batch
    if target.only is None:
        end_pilots(batch, host)
    with custody_of(batch, force=force) as custody:
        found = list(states(batch.paths, target.ids, batch.settings))
        unfinished = [(item_id, state) for item_id, state in found if state.name not in _SETTLED]
        _fail_attempts(batch, custody.session, [(item_id, state.name, state.attempt) for item_id, state in unfinished])
        # RACE: a result that was committed a moment before stays a result.
        see_news(batch.paths)
        after = states(batch.paths, [item_id for item_id, _ in unfinished], batch.settings)
        given_up = [item_id for item_id, state in after if state.name is StateName.FAILED]
        failed_before = [item_id for item_id, state in found if state.name is StateName.FAILED]
        in_threads(lambda item_id: collect.release(batch, batch.items[item_id]), given_up + failed_before)
    return len(given_up)


def _fail_attempts(batch: Batch, session: Session, attempts: list[tuple[int, StateName, int]]) -> None:
    links = batch.settings.links
    for item_id, _, attempt in attempts:
        session.append("fail", id=item_id, attempt=attempt, failure="cancelled", error="cancelled", stages=[])
    # A name never speaks of an event that a crash can still take away.
    session.sync()
    # RACE: where a pilot has just claimed one, its attempt is failed as a running one's is.
    win_many(
        session,
        [(item_id, claim_mark(number)) for item_id, name, number in attempts if name is not StateName.RUNNING],
        links,
    )
    win_many(session, [(item_id, fail_mark(number, Failure.CANCELLED)) for item_id, _, number in attempts], links)


# ---------------------------------------------------------------- retry


def retry(target: Target, *, causes: Collection[Failure] = (), force: bool = False) -> Retried:
    """Make failed tomodirs ready again.

    Args:
        causes: only those that failed by one of these; empty for all.

    Raises:
        Busy: another client is at work on the batch.
    """
    batch = target.batch
    retried = Retried()
    with custody_of(batch, force=force) as custody:
        found = states(batch.paths, target.ids, batch.settings)
        failed = [
            (item_id, state.attempt)
            for item_id, state in found
            if state.name is StateName.FAILED and (not causes or state.failure in causes)
        ]
        reasons = in_threads(lambda one: _registered_by_others(batch, one[0]), failed)
        retried.left = [(batch.items[one].path, why) for (one, _), why in zip(failed, reasons) if why]
        free = [one for one, why in zip(failed, reasons) if not why]
        for item_id, attempt in free:
            custody.session.append("retry", id=item_id, attempt=attempt)
        names = [(item_id, f"retry.{attempt:03d}") for item_id, attempt in free]
        retried.again = sum(win_many(custody.session, names, batch.settings.links))
        after = states(batch.paths, [item_id for item_id, _ in free], batch.settings)
        retried.held = sum(state.name is StateName.HELD for _, state in after)
        give_notice(custody.session, batch.settings.links)
    return retried


def _registered_by_others(batch: Batch, item_id: int) -> str:
    """Make sure that a tomodir is registered for this batch; return who has it otherwise."""
    item = batch.items[item_id]
    tomodir = batch.tomodir(item)
    if not os.path.isdir(tomodir):
        return "the tomodir is gone"
    found = read_registration(tomodir)
    if found is None:
        sim_type = sim_type_of(str(one["stage"]) for one in item.stages)
        found = register(tomodir, batch.paths, item_id, this_process(), sim_type)
    if found is None or (found.batch_id, found.item_id) == (batch.batch_id, item_id):
        return ""
    return found.describe()
