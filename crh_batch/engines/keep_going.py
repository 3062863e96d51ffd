"""What a client that waits does for a batch: sends what a silent scheduler didn't take, starts pilots while it helps.

``submit`` does the same when it is called again; this is for the time between.
"""

from __future__ import annotations

import time
from collections.abc import Iterator

from crh_batch.engines.array import ArrayEngine
from crh_batch.engines.base import Started
from crh_batch.engines.living import look
from crh_batch.engines.machines import machine_of
from crh_batch.engines.profile_then import profile_of
from crh_batch.engines.resume import resume
from crh_batch.errors import Busy, MaybeSubmitted, Unreachable
from crh_batch.hosts.base import Host
from crh_batch.ledger.batch import Batch
from crh_batch.ledger.identity import Verdict
from crh_batch.ledger.names import State, StateName, states
from crh_batch.ledger.submissions import Submission, read_submissions
from crh_batch.mirror.stage import read_stages
from crh_batch.plan.arrays import ALL_WIDTHS
from crh_batch.schedulers.known import SCHEDULERS


class Keeper:
    """Keeps batches going while a command waits for them."""

    def __init__(self, host: Host) -> None:
        self._host = host
        self._before: dict[tuple[str, int], int] = {}

    def bring_on(self, batch: Batch) -> list[Started] | None:
        """Do what there is to do for a batch.

        Returns:
            What was started; None if nothing can be done for it or nothing helps.

        Raises:
            SchedulerError, HostError: the scheduler refuses.
        """
        submissions = [one for one in read_submissions(batch.paths) if one.engine in SCHEDULERS]
        due = _due(batch, submissions, self._host) if submissions else {}
        begun = {number: _attempts(batch, ids) for number, ids in due.items()}
        if all(self._before.get((batch.batch_id, number)) == count for number, count in begun.items()):
            # The last ones that were started ended without beginning anything: more of them would do the same.
            return None
        try:
            started = resume(batch, _engine_of(batch, submissions, self._host), self._host, collect=False).started
        except (Busy, Unreachable, MaybeSubmitted):
            # Somebody else is at it, or the next look will tell.
            return []
        self._before.update({(batch.batch_id, number): count for number, count in begun.items()})
        return started


def _due(batch: Batch, submissions: list[Submission], host: Host) -> dict[int, frozenset[int] | None]:
    """Return where something is to be done: the numbers of stages with their tomodirs; 0 and None without stages.

    That is where a submission hangs in the air, or a class of a batch that keeps going, or of one in which some wait
    for others, has no pilots.
    """
    stages = read_stages(batch.paths)
    places: dict[int, frozenset[int] | None] = {one.number: one.ids for one in stages} if stages else {0: None}
    hanging = {one.stage for one in submissions if one.is_open}
    if hanging:
        return {number: places.get(number) for number in hanging}
    # Where tomodirs wait for others, pilots may have left that had nothing to do for long.
    keeps_going = batch.settings.keep_going or bool(batch.settings.after)
    if not keeps_going or 0 < batch.settings.deadline <= time.time():
        return {}
    living = look(batch, host)
    covered = {(one.stage, one.threads) for one in submissions if living.submission(one) is not Verdict.DEAD}
    return {number: ids for number, ids in places.items() if _lacks_pilots(batch, ids, number, covered)}


def _lacks_pilots(batch: Batch, ids: frozenset[int] | None, number: int, covered: set[tuple[int, int]]) -> bool:
    if (number, ALL_WIDTHS) in covered:
        return False
    # Those that ran in jobs which have ended are ready as soon as somebody says so: resume does.
    left = {item_id for item_id, state in _states(batch, ids) if state.name in (StateName.READY, StateName.RUNNING)}
    classes = [one for one in batch.settings.classes if (number, one.threads) not in covered]
    return any(one.first <= item_id < one.stop for one in classes for item_id in left)


def _attempts(batch: Batch, ids: frozenset[int] | None) -> int:
    """Return how many attempts have begun, up to those that are ready for the next one."""
    not_begun = (StateName.READY, StateName.WAITING)
    return sum(state.attempt - (state.name in not_begun) for _, state in _states(batch, ids))


def _states(batch: Batch, ids: frozenset[int] | None) -> Iterator[tuple[int, State]]:
    return states(batch.paths, batch.items.ids if ids is None else sorted(ids), batch.settings)


def _engine_of(batch: Batch, submissions: list[Submission], host: Host) -> ArrayEngine:
    """Return the engine that the batch was submitted with, and its profile of that time."""
    last = submissions[-1]
    return ArrayEngine(SCHEDULERS[last.engine], machine_of(batch, last, host), profile_of(batch))
