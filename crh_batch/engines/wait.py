"""Waiting for batches: until all is over, nobody is left to do the rest, or time is up."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Sequence
from enum import Enum

from crh_batch.engines.base import Started
from crh_batch.engines.keep_going import Keeper
from crh_batch.engines.living import look
from crh_batch.engines.onlooker import Onlooker
from crh_batch.engines.target import Counts, Target, progress_of
from crh_batch.errors import HostError
from crh_batch.hosts.base import Host
from crh_batch.ledger.batch import Batch
from crh_batch.ledger.identity import Verdict
from crh_batch.ledger.lost import open_claims
from crh_batch.ledger.submissions import read_submissions

# How often names are listed: often for few tomodirs, and at most a twentieth of the time for many.
_PAUSE_S = 0.25
_MAX_PAUSE_S = 10.0
_LISTING_SHARE = 20.0
# How soon, and then how often, it is asked who lives while nothing changes. A scheduler is asked once a minute at most.
_FIRST_LOOK_S = 3.0
LOOK_EVERY_S = 60.0


class End(Enum):
    """Why waiting ended: all is over; time is up; or tomodirs are left and nobody lives who could run them."""

    OVER = "over"
    TIMEOUT = "timeout"
    STALLED = "stalled"


def wait_for(
    targets: Sequence[Target],
    host: Host,
    *,
    timeout_s: float | None = None,
    on_counts: Callable[[Counts], None] = lambda counts: None,
    on_started: Callable[[Started], None] = lambda started: None,
    on_silent: Callable[[Batch, HostError], None] = lambda batch, error: None,
) -> End:
    """Wait for all targets, and keep those batches going that were submitted so. Held tomodirs are not waited for.

    Args:
        timeout_s: seconds; None waits for ever.
        on_counts: called with the counts of all targets together, whenever they were looked at.
        on_started: called for each submission that was sent meanwhile.
        on_silent: called when a cluster can't be reached any more; it is tried again as long as is waited.

    Raises:
        SchedulerError, HostError: the scheduler refuses what is needed to keep a batch going.
    """
    keeper = Keeper(host)
    onlooker = Onlooker(on_silent)
    began = time.monotonic()
    next_look = began + _FIRST_LOOK_S
    last: Counts | None = None
    while True:
        onlooker.look([target.batch for target in targets])
        listed = time.monotonic()
        each = [progress_of(target) for target in targets]
        took = time.monotonic() - listed
        counts: Counts = sum((one.counts for one in each), Counter())
        on_counts(counts)
        if all(one.over for one in each):
            return End.OVER
        now = time.monotonic()
        if counts != last:
            last = counts
            next_look = max(next_look, now + _FIRST_LOOK_S) if next_look <= now else next_look
        if timeout_s is not None and now - began >= timeout_s:
            return End.TIMEOUT
        if now >= next_look or _only_local(targets):
            next_look = now + LOOK_EVERY_S
            batches = [target.batch for target, one in zip(targets, each) if not one.over]
            started = [keeper.bring_on(batch) for batch in batches]
            for one_started in (one for many in started for one in many or ()):
                on_started(one_started)
            if all(many is None for many in started) and not any(lives(batch, host) for batch in batches):
                # RACE: the last pilot may have finished and gone since the states were counted.
                onlooker.look(batches, at_once=True)
                if [progress_of(target) for target in targets] == each:
                    return End.STALLED
                continue
        pause = min(max(_PAUSE_S, took * _LISTING_SHARE), _MAX_PAUSE_S)
        if timeout_s is not None:
            pause = min(pause, max(0.0, began + timeout_s - now))
        time.sleep(pause)


def _only_local(targets: Sequence[Target]) -> bool:
    """Return whether looking costs nothing: no scheduler is involved."""
    return all(
        one.process is not None or one.refused for target in targets for one in read_submissions(target.batch.paths)
    )


def lives(batch: Batch, host: Host) -> bool:
    """Return whether pilots of a batch live, wait, or can't be proven dead."""
    living = look(batch, host)
    if any(living.submission(one) is not Verdict.DEAD for one in read_submissions(batch.paths)):
        return True
    # Pilots that were started by hand have no submission.
    headers = {claim.token: claim.header for claim in open_claims(batch)}
    return any(header is None or living.verdict(header) is not Verdict.DEAD for header in headers.values())
