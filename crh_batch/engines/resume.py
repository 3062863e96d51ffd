"""Going on with batches that exist: claims of the dead are ready again, pilots are started where none live.

What is alive is left alone. All of it happens with the batch's custody, so two clients never start pilots for the same.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

from crh_batch.engines.base import Engine, Started
from crh_batch.engines.living import Living
from crh_batch.engines.pilots import settle_intents
from crh_batch.hosts.base import Host
from crh_batch.ledger.batch import Batch, ItemClass
from crh_batch.ledger.collect import CollectReport, collect_batch
from crh_batch.ledger.custody import Custody, custody_of
from crh_batch.ledger.identity import Verdict
from crh_batch.ledger.lost import Recovery, open_claims, recover_lost
from crh_batch.ledger.names import StateName, states
from crh_batch.ledger.submissions import read_submissions
from crh_batch.plan.arrays import ClassWork


@dataclass
class Resumed:
    """What was done for one batch.

    Args:
        lost: attempts whose pilots had died.
        unknown: attempts of which nobody can say whether they live.
        alive: whether pilots live or wait in the queue.
    """

    batch: Batch
    counts: Counter[StateName] = field(default_factory=Counter)
    lost: int = 0
    unknown: int = 0
    alive: bool = False
    started: list[Started] = field(default_factory=list)
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
    with custody_of(batch, force=force) as custody:
        living = settle_intents(batch, host)
        resumed = Resumed(batch)
        recovery = recover(batch, living, custody, force=force)
        resumed.lost, resumed.unknown = recovery.lost, len(recovery.unknown)
        if start:
            resumed.started = start_pilots(batch, engine, living)
        alive = any(living.submission(one) is Verdict.ALIVE for one in read_submissions(batch.paths))
        resumed.alive = alive or recovery.alive > 0
        if collect and not resumed.alive and not resumed.started:
            resumed.collected = collect_batch(batch, custody)
        resumed.counts = count_states(batch)
        return resumed


def recover(batch: Batch, living: Living, custody: Custody, *, force: bool = False) -> Recovery:
    """Declare lost the claims of sessions that are dead."""
    return recover_lost(batch, open_claims(batch), living.verdict, custody.session, force=force)


def count_states(batch: Batch) -> Counter[StateName]:
    """Count the tomodirs of a batch by state."""
    found = states(batch.paths, batch.items.ids, batch.settings.policy)
    return Counter(state.name for _, state in found if state.name is not StateName.MOVED)


def start_pilots(batch: Batch, engine: Engine, living: Living) -> list[Started]:
    """Start pilots for each class that has ready tomodirs and none that lives or waits; the caller has custody."""
    covered = {one.threads for one in read_submissions(batch.paths) if living.submission(one) is not Verdict.DEAD}
    if 0 in covered:
        return []
    work = [
        work_of(batch, one, ready)
        for one, ready in ready_by_class(batch).items()
        if ready and one.threads not in covered
    ]
    return engine.start(batch, engine.plan(work)) if work else []


def ready_by_class(batch: Batch) -> dict[ItemClass, list[int]]:
    """Return which tomodirs of each class are ready."""
    ready = [
        item_id
        for item_id, state in states(batch.paths, batch.items.ids, batch.settings.policy)
        if state.name is StateName.READY
    ]
    return {one: [item_id for item_id in ready if one.first <= item_id < one.stop] for one in batch.settings.classes}


def work_of(batch: Batch, item_class: ItemClass, ready: list[int]) -> ClassWork:
    """Return what the ready tomodirs of a class are expected to need."""
    items = [batch.items[item_id] for item_id in ready]
    return ClassWork(item_class.threads, [one.estimate_s for one in items], [one.memory_bytes for one in items])
