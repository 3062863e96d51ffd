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
from crh_batch.plan.arrays import ALL_WIDTHS
from crh_batch.schedulers.known import SCHEDULERS


class Keeper:
    """Keeps batches going while a command waits for them."""

    def __init__(self, host: Host) -> None:
        self._host = host
        self._before: dict[str, int] = {}

    def bring_on(self, batch: Batch) -> list[Started] | None:
        """Do what there is to do for a batch.

        Returns:
            What was started; None if nothing can be done for it or nothing helps.

        Raises:
            SchedulerError, HostError: the scheduler refuses.
        """
        submissions = [one for one in read_submissions(batch.paths) if one.engine in SCHEDULERS]
        if not submissions or not _is_due(batch, submissions, self._host):
            return None
        begun = _attempts(batch)
        if self._before.get(batch.batch_id) == begun:
            # The last ones that were started ended without beginning anything: more of them would do the same.
            return None
        try:
            started = resume(batch, _engine_of(batch, submissions, self._host), self._host, collect=False).started
        except (Busy, Unreachable, MaybeSubmitted):
            # Somebody else is at it, or the next look will tell.
            return []
        self._before[batch.batch_id] = begun
        return started


def _is_due(batch: Batch, submissions: list[Submission], host: Host) -> bool:
    """Return whether a submission hangs in the air, or a class of a batch that keeps going has no pilots.

    So does a batch in which some wait for others.
    """
    if any(one.is_open for one in submissions):
        return True
    # Where tomodirs wait for others, pilots may have left that had nothing to do for long.
    keeps_going = batch.settings.keep_going or bool(batch.settings.after)
    if not keeps_going or 0 < batch.settings.deadline <= time.time():
        return False
    living = look(batch, host)
    covered = {one.threads for one in submissions if living.submission(one) is not Verdict.DEAD}
    if ALL_WIDTHS in covered:
        return False
    # Those that ran in jobs which have ended are ready as soon as somebody says so: resume does.
    left = {item_id for item_id, state in _states(batch) if state.name in (StateName.READY, StateName.RUNNING)}
    classes = [one for one in batch.settings.classes if one.threads not in covered]
    return any(one.first <= item_id < one.stop for one in classes for item_id in left)


def _attempts(batch: Batch) -> int:
    """Return how many attempts have begun, up to those that are ready for the next one."""
    not_begun = (StateName.READY, StateName.WAITING)
    return sum(state.attempt - (state.name in not_begun) for _, state in _states(batch))


def _states(batch: Batch) -> Iterator[tuple[int, State]]:
    return states(batch.paths, batch.items.ids, batch.settings)


def _engine_of(batch: Batch, submissions: list[Submission], host: Host) -> ArrayEngine:
    """Return the engine that the batch was submitted with, and its profile of that time."""
    last = submissions[-1]
    return ArrayEngine(SCHEDULERS[last.engine], machine_of(batch, last, host), profile_of(batch))
