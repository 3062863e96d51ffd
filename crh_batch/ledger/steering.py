"""Names by which clients steer a batch that runs: the hold of a whole batch, notices to pilots, and many names at once.

Names for the whole batch, below ``names/``::

    held.NNN release.NNN   the whole batch is held if the last ``held`` is later than the last ``release``
    steered.NNN            a notice: tomodirs were held, released or retried; listings from before it are out of date

None of them needs custody: two clients at the same time make the same name, or one more.
"""

from __future__ import annotations

import os
import re
import time
from collections.abc import Iterable, Sequence
from typing import Callable, NamedTuple, TypeVar

from crh_batch.ledger import durable
from crh_batch.ledger.arbiter import arbiter_of
from crh_batch.ledger.paths import SHARD_SIZE, BatchPaths
from crh_batch.ledger.session import Session

_BATCH_NAME = re.compile(r"(held|release|steered)\.(\d+)\Z")
# How long it is enough to ask for the next notice by its name; a listing shows it sooner over a network filesystem
# (docs/protocol.md, "Caches").
_LIST_EVERY_S = 5.0
# Making names waits for the filesystem; on a network filesystem almost only.
_WORKERS = 8
_CHUNK = 200

One = TypeVar("One")
Answer = TypeVar("Answer")


class BatchHold(NamedTuple):
    """The highest numbers of ``held`` and ``release``; 0 where there is none."""

    held: int
    released: int

    @property
    def is_held(self) -> bool:
        """Whether the whole batch is held."""
        return self.held > self.released


def batch_hold(paths: BatchPaths) -> BatchHold:
    """Return whether a whole batch is held, as of now."""
    last = _last_numbers(paths)
    return BatchHold(last["held"], last["release"])


def _last_numbers(paths: BatchPaths) -> dict[str, int]:
    last = {"held": 0, "release": 0, "steered": 0}
    try:
        names = os.listdir(paths.names)
    except FileNotFoundError:
        return last
    for name in names:
        match = _BATCH_NAME.match(name)
        if match:
            last[match.group(1)] = max(last[match.group(1)], int(match.group(2)))
    return last


class Notices:
    """Tells a reader of names whether clients have steered the batch since its last look; for one thread.

    Args:
        clock: seconds, monotonic.
    """

    def __init__(self, paths: BatchPaths, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._paths = paths
        self._clock = clock
        self._seen = 0
        self._listed_at: float | None = None
        self.changed()

    def changed(self) -> bool:
        """Return whether there is a notice that this reader has not been told of. Costs one lstat(2) as a rule."""
        recently = self._listed_at is not None and self._clock() - self._listed_at < _LIST_EVERY_S
        if recently and not os.path.lexists(self._paths.batch_name(f"steered.{self._seen + 1:03d}")):
            return False
        last = _last_numbers(self._paths)["steered"]
        self._listed_at = self._clock()
        changed = last > self._seen
        self._seen = max(self._seen, last)
        return changed


def give_notice(session: Session, links: str) -> None:
    """Tell all pilots to look again, after the names that they are to see are durable.

    A number that another client makes at the same time may be older than this client's names, so the next one is taken
    until it is this session's own.
    """
    number = _last_numbers(session.paths)["steered"] + 1
    while not session.win_for_batch(f"steered.{number:03d}", links):
        number += 1
    durable.sync_directory(session.paths.names)


def hold_batch(session: Session, links: str) -> bool:
    """Hold a whole batch; return whether it was not held before."""
    hold = batch_hold(session.paths)
    if not hold.is_held:
        # RACE: if another client makes the same name, the batch is held all the same.
        session.win_for_batch(f"held.{hold.released + 1:03d}", links)
    give_notice(session, links)
    return not hold.is_held


def release_batch(session: Session, links: str) -> bool:
    """Release a whole batch; return whether it was held. Tomodirs with a hold of their own stay held."""
    hold = batch_hold(session.paths)
    if hold.is_held:
        session.win_for_batch(f"release.{hold.held:03d}", links)
    give_notice(session, links)
    return hold.is_held


def win_many(session: Session, marks: Sequence[tuple[int, str]], links: str) -> list[bool]:
    """Make many tomodirs' names, several at a time, then make them durable; return for each whether it is ours.

    Args:
        marks: id and mark, such as (17, "held.001").
    """
    if (arbiter := arbiter_of(session.paths)) is not None:
        return arbiter.win(session, marks)
    won = in_threads(lambda one: session.win(one[0], one[1], links), marks)
    shards = {session.paths.shard(item_id // SHARD_SIZE) for item_id, _ in marks}
    durable.sync_many((), sorted(shards))
    return won


def in_threads(work: Callable[[One], Answer], many: Iterable[One]) -> list[Answer]:
    """Return ``work`` of each, in order, done by several threads in chunks: one hand-over each would cost more."""
    # Imported here: the pilot has no use for it, and starts faster.
    from concurrent.futures import ThreadPoolExecutor

    everything = list(many)
    chunks = [everything[start : start + _CHUNK] for start in range(0, len(everything), _CHUNK)]
    if len(chunks) < 2:
        return [work(one) for one in everything]
    with ThreadPoolExecutor(_WORKERS) as pool:
        return [
            answer for answers in pool.map(lambda chunk: [work(one) for one in chunk], chunks) for answer in answers
        ]
