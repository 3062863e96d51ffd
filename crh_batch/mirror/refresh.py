"""Keeping a batch's mirror up to date: its stages all at once, each for itself; one that can't be reached stays old."""

from __future__ import annotations

import contextlib
import os
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from crh_batch.errors import HostError
from crh_batch.hosts.base import OnBytes
from crh_batch.hosts.reach import abandon_all, reach
from crh_batch.ledger.batch import Batch
from crh_batch.mirror.down import bring_down, nothing
from crh_batch.mirror.for_all import settle_for_all
from crh_batch.mirror.stage import Stage, read_stages

_SEEN = "seen"

Answer = TypeVar("Answer")


def refresh(
    batch: Batch,
    *,
    packs: bool = False,
    at_most_every_s: float = 0.0,
    on_bytes: OnBytes = nothing,
    on_total: OnBytes = nothing,
) -> list[HostError]:
    """Bring here what is new in all stages of a batch; nothing is done for a batch without any.

    Who may not write to the batch sees it as somebody else's refresh left it.

    Args:
        packs: results, too.
        at_most_every_s: leave alone what was refreshed so many seconds ago or later.
        on_bytes: called with each number of bytes of results that has come.
        on_total: called, by each stage, with how many bytes of results it has for us.

    Returns:
        Why stages could not be reached; what was known of them stays.

    Raises:
        LedgerError: the mirror can't be written, or contradicts a stage.
    """
    stages = read_stages(batch.paths)
    due = [one for one in stages if packs or not _is_fresh(one, at_most_every_s)]
    if not due or not _may_write(batch):
        return []
    on_bytes, on_total = _one_at_a_time(on_bytes), _one_at_a_time(on_total)

    def one_stage(stage: Stage) -> HostError | None:
        begun = time.time()
        try:
            bring_down(stage, reach(stage.host), packs=packs, on_bytes=on_bytes, on_total=on_total)
        except HostError as error:
            return error
        _note_seen(stage, begun)
        return None

    errors = [error for error in for_each(one_stage, due) if error is not None]
    settle_for_all(batch.paths, stages)
    return errors


def known_since(batch: Batch) -> float | None:
    """Return since when the mirror may be behind (seconds since 1970); None if some stage was never looked at.

    A batch without stages is never behind: None, too.
    """
    times = [seen_at(stage) for stage in read_stages(batch.paths)]
    return min((one for one in times if one is not None), default=None) if None not in times else None


def for_each(work: Callable[[Stage], Answer], stages: Sequence[Stage]) -> list[Answer]:
    """Return the answer of each stage, in order; several are asked at the same time."""
    if len(stages) < 2:
        # In this thread: Ctrl-C ends it.
        return [work(stage) for stage in stages]
    with ThreadPoolExecutor(len(stages)) as pool:
        try:
            return list(pool.map(work, stages))
        except KeyboardInterrupt:
            # The pool waits for its threads, and these wait for clusters.
            abandon_all()
            raise


def _may_write(batch: Batch) -> bool:
    return all(os.access(one, os.W_OK | os.X_OK) for one in (batch.paths.names, batch.paths.sessions))


def _is_fresh(stage: Stage, within_s: float) -> bool:
    seen = seen_at(stage)
    # A clock that was set back must not keep a mirror old.
    return seen is not None and 0 <= time.time() - seen < within_s


def seen_at(stage: Stage) -> float | None:
    """Return until when (seconds since 1970) what happened in a stage is known here; None if it was never looked at."""
    try:
        return os.stat(os.path.join(stage.directory, _SEEN)).st_mtime
    except OSError:
        return None


def _note_seen(stage: Stage, when: float) -> None:
    path = os.path.join(stage.directory, _SEEN)
    # Without it the mirror only looks older than it is.
    with contextlib.suppress(OSError):
        with open(path, "ab"):
            pass
        os.utime(path, (when, when))


def _one_at_a_time(call: OnBytes) -> OnBytes:
    lock = threading.Lock()

    def locked(count: int) -> None:
        with lock:
            call(count)

    return locked
