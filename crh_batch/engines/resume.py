"""Going on with batches that exist: claims of the dead are ready again, pilots are started where none live.

What is alive is left alone. All of it happens with the batch's custody, so two clients never start pilots for the same.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from crh_batch.engines.base import Engine, Started
from crh_batch.engines.fetched import fetched
from crh_batch.engines.history_file import remember
from crh_batch.engines.living import Living
from crh_batch.engines.parts import Part, parts_of
from crh_batch.engines.pilots import send_again, settle_intents
from crh_batch.engines.target import is_over
from crh_batch.errors import CrhBatchError
from crh_batch.hosts.base import Host
from crh_batch.ledger.batch import Batch
from crh_batch.ledger.collect import CollectReport, collect_batch
from crh_batch.ledger.custody import Custody, custody_of
from crh_batch.ledger.identity import Verdict
from crh_batch.ledger.lost import Recovery, open_claims, recover_lost
from crh_batch.ledger.names import StateName, states
from crh_batch.ledger.settings import ItemClass
from crh_batch.ledger.submissions import Submission, read_submissions
from crh_batch.ledger.waiting import Waits
from crh_batch.mirror.refresh import refresh
from crh_batch.plan.arrays import ALL_WIDTHS, ArrayRequest, ClassWork
from crh_batch.plan.order import at_once

# Tomodirs that are to be run, ascending, and how many attempts of each ran out of memory.
Ready = Mapping[int, int]


@dataclass
class Resumed:
    """What was done for one batch.

    Args:
        lost: attempts whose pilots had died.
        unknown: attempts of which nobody can say whether they live.
        alive: whether pilots live or wait in the queue.
        trouble: what went wrong at one of several clusters.
    """

    batch: Batch
    counts: Counter[StateName] = field(default_factory=Counter)
    lost: int = 0
    unknown: int = 0
    alive: bool = False
    started: list[Started] = field(default_factory=list)
    trouble: list[CrhBatchError] = field(default_factory=list)
    collected: CollectReport = field(default_factory=CollectReport)


def resume(
    batch: Batch, engine: Engine, host: Host, *, force: bool = False, collect: bool = True, start: bool = True
) -> Resumed:
    """Bring a batch on: settle open submissions, recover lost claims, start pilots, collect if nothing lives.

    Args:
        force: take claims for dead of which nothing is known.
        collect: put results into the tomodirs if no pilot of the batch lives.
        start: whether pilots may be started.

    Raises:
        Busy: another client is at work on the batch.
        SchedulerError, HostError: pilots are needed and can't be had.
    """
    unseen = refresh(batch)
    with custody_of(batch, force=force) as custody:
        living = settle_intents(batch, host)
        resumed = Resumed(batch, trouble=[*unseen])
        recovery = recover(batch, living, custody, force=force)
        resumed.lost, resumed.unknown = recovery.lost, len(recovery.unknown)
        if start:
            wanted = {one.threads for one, ids in ready_by_class(batch).items() if ids}
            sent = send_again(batch, host, wanted | {ALL_WIDTHS} if wanted else ())
            resumed.started = sent + start_pilots(batch, engine, living, sent, trouble=resumed.trouble)
        alive = any(living.submission(one) is Verdict.ALIVE for one in read_submissions(batch.paths))
        resumed.alive = alive or recovery.alive > 0
        if collect and not resumed.alive and not resumed.started:
            resumed.trouble += refresh(batch, packs=True)
            resumed.collected = collect_batch(batch, custody, only=fetched(batch, resumed.trouble))
            if is_over(count_states(batch)):
                remember(batch)
        resumed.counts = count_states(batch)
        return resumed


def recover(batch: Batch, living: Living, custody: Custody, *, force: bool = False) -> Recovery:
    """Declare lost the claims of sessions that are dead."""
    return recover_lost(
        batch,
        open_claims(batch),
        living.verdict,
        custody.session,
        force=force,
        ran_out_of_memory=living.ran_out_of_memory,
    )


def count_states(batch: Batch) -> Counter[StateName]:
    """Count the tomodirs of a batch by state."""
    found = states(batch.paths, batch.items.ids, batch.settings)
    return Counter(state.name for _, state in found if state.name is not StateName.MOVED)


def start_pilots(
    batch: Batch,
    engine: Engine,
    living: Living,
    sent: Sequence[Started] = (),
    *,
    trouble: list[CrhBatchError] | None = None,
) -> list[Started]:
    """Start pilots for each class that has ready tomodirs and none that lives or waits; the caller has custody.

    Where the batch keeps going, follow-ups come behind the last of each class that has too few of them.

    Args:
        sent: submissions that were sent again after the look.
        trouble: where errors of one cluster go, if the batch runs on several: the others get their pilots all the same.
    """
    started: list[Started] = []
    parts = parts_of(batch, engine)
    for part in parts:
        try:
            started += _start_part(batch, part, living, sent)
        except CrhBatchError as error:
            if trouble is None or len(parts) == 1:
                raise
            trouble.append(error)
    return started


def _start_part(batch: Batch, part: Part, living: Living, sent: Sequence[Started]) -> list[Started]:
    engine = part.engine
    again = {one.submission.token for one in sent}
    alive: dict[int, list[Submission]] = {}
    for one in read_submissions(batch.paths):
        is_alive = one.token in again or living.submission(one) is not Verdict.DEAD
        if one.stage == part.stage and is_alive:
            alive.setdefault(one.threads, []).append(one)
    ready = [(item_class, ids) for item_class, ids in ready_by_class(batch, part.ids).items() if ids]
    new = [one for one in ready if one[0].threads not in alive and ALL_WIDTHS not in alive]
    requests = _requests(batch, engine, new)
    if batch.settings.keep_going:
        for threads, chain in alive.items():
            rest = [one for one in ready if threads in (ALL_WIDTHS, one[0].threads)]
            if rest and all(one.job_id for one in chain):
                behind = chain[-1].job_id
                requests += [replace(one, after_job=behind, chain=len(chain)) for one in _requests(batch, engine, rest)]
    return engine.start(batch, requests) if requests else []


def _requests(batch: Batch, engine: Engine, ready: Sequence[tuple[ItemClass, Ready]]) -> list[ArrayRequest]:
    work = [work_of(batch, item_class, part) for item_class, ids in ready for part in _by_memory(ids)]
    deadline = batch.settings.deadline if batch.settings.deadline > time.time() else 0.0
    chain = 0 if batch.settings.keep_going else None
    return [replace(one, deadline=deadline, chain=chain) for one in (engine.plan(work) if work else ())]


def _by_memory(ready: Ready) -> list[Ready]:
    """Part those that ran out of memory from the rest, which needs no larger jobs for their sake."""
    parts = ({key: failures for key, failures in ready.items() if bool(failures) is failed} for failed in (False, True))
    return [part for part in parts if part]


def ready_by_class(batch: Batch, only: frozenset[int] | None = None) -> dict[ItemClass, Ready]:
    """Return which tomodirs of each class are ready, and which may become so by these; none where none is ready.

    Args:
        only: those that are looked at; None for all.
    """
    found = dict(states(batch.paths, batch.items.ids, batch.settings))
    waits = Waits(batch)
    by_class: dict[ItemClass, Ready] = {}
    for one in batch.settings.classes:
        ids = (item_id for item_id in range(one.first, one.stop) if only is None or item_id in only)
        inside = [(item_id, found[item_id].name) for item_id in ids if item_id in found]
        ready = [item_id for item_id, name in inside if name is StateName.READY]
        following = [item_id for item_id, name in inside if name is StateName.WAITING and waits.may_end(item_id)]
        by_class[one] = {key: found[key].memory_failures for key in sorted(ready + following)} if ready else {}
    return by_class


def work_of(batch: Batch, item_class: ItemClass, ready: Ready) -> ClassWork:
    """Return what the tomodirs of a class that are or will be ready are expected to need."""
    items = [batch.items[item_id] for item_id in ready]
    return ClassWork(
        item_class.threads,
        [one.estimate_s for one in items],
        [batch.need_bytes(one, ready[one.item_id]) for one in items],
        at_once({one.item_id: one.after for one in items}),
    )
