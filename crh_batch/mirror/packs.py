"""Packs: results, brought from the byte that is here, as far as anybody here still wants them."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
from collections.abc import Iterator

from crh_batch.errors import LedgerError
from crh_batch.hosts.base import FarHost, OnBytes
from crh_batch.ledger import durable
from crh_batch.ledger.names import Marks, gather, list_shard
from crh_batch.ledger.paths import SHARD_SIZE, BatchPaths
from crh_batch.ledger.reading import taken, whole_number
from crh_batch.ledger.session import read_events
from crh_batch.mirror.answers import parse_sizes, understood
from crh_batch.mirror.gone import noticing
from crh_batch.mirror.sessions import sizes_here
from crh_batch.mirror.stage import Stage
from crh_batch.tomodir.files import explain

SUFFIX = ".pack"
_LOCK = "fetching"
_PAUSE_S = 0.2
# Who has the lock and brings nothing for so long has been stopped (Ctrl-Z), or has a dead line.
_STALLED_S = 60.0
_NO_LOCKS = (errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP)


def bring_packs(stage: Stage, far: FarHost, on_bytes: OnBytes, on_total: OnBytes) -> int:
    """Bring what packs have that isn't here; return how many bytes came. The sessions are here already.

    Args:
        on_bytes: called with each number of bytes that has come.
        on_total: called once, with how many there are to come.

    Raises:
        HostError: they can't be fetched; what has arrived is kept.
        LedgerError: they can't be written here.
    """
    try:
        return _bring_packs(stage, far, on_bytes, on_total)
    except OSError as error:
        raise _unwritable(str(error.filename or stage.batch.packs), error) from error


def _bring_packs(stage: Stage, far: FarHost, on_bytes: OnBytes, on_total: OnBytes) -> int:
    with _alone(stage):
        answer = far.ask("sizes", directory=stage.there.packs, suffix=SUFFIX)
        with understood(far.name, stage.there.packs):
            there = parse_sizes(answer, SUFFIX)
        here = sizes_here(stage.batch.packs, SUFFIX)
        longer = [name for name, size in there.items() if size > here.get(name, 0)]
        wanted = _Wanted(stage.batch)
        # Behind the last record that a session speaks of, its pilot may still cut off what it could not finish.
        stops = {name: min(there[name], wanted.stop_of(name[: -len(SUFFIX)])) for name in longer}
        missing = {name: stop for name, stop in stops.items() if stop > here.get(name, 0)}
        on_total(sum(stop - here.get(name, 0) for name, stop in missing.items()))
        return sum(
            far.fetch_tail(os.path.join(stage.there.packs, name), os.path.join(stage.batch.packs, name), stop, on_bytes)
            for name, stop in sorted(missing.items())
        )


def bring_pack(stage: Stage, far: FarHost, token: str, stop: int, on_bytes: OnBytes, on_total: OnBytes) -> int:
    """Bring the beginning of one pack, whether anybody else wants it or not; return how many bytes came.

    Args:
        stop: how long the beginning is, in bytes; nothing is asked if it is here already.
        on_bytes, on_total: as for ``bring_packs``.

    Raises:
        StageGone: it isn't there any more.
        HostError: it can't be fetched; what has arrived is kept.
        LedgerError: it can't be written here.
    """
    here = stage.batch.pack(token)
    lacking = stop - sizes_here(stage.batch.packs, SUFFIX).get(os.path.basename(here), 0)
    if lacking <= 0:
        return 0
    on_total(lacking)
    try:
        with _alone(stage), noticing(stage, far):
            return far.fetch_tail(stage.there.pack(token), here, stop, on_bytes)
    except OSError as error:
        raise _unwritable(here, error) from error


def _unwritable(path: str, error: OSError) -> LedgerError:
    return LedgerError(
        f"{path}: results can't be written here: {explain(error)}",
        "Is the disk here full, or over its quota? Mend that, and run the command again: it goes on there.",
        path,
    )


class _Wanted:
    """Tells how far packs hold a result, or a failed attempt's output, of a tomodir that isn't settled here."""

    def __init__(self, paths: BatchPaths) -> None:
        self._paths = paths
        self._shards: dict[int, dict[int, Marks]] = {}

    def stop_of(self, token: str) -> int:
        """Return behind which byte of a pack nothing is wanted; 0 if nothing of it is."""
        ends: dict[int, int] = {}
        for event in read_events(self._paths, token):
            record, item_id = event.get("record"), event.get("id")
            if isinstance(record, dict) and isinstance(item_id, int):
                offset, length = (taken(whole_number, record.get(key), 0) for key in ("offset", "length"))
                ends[item_id] = max(offset + length, ends.get(item_id, 0))
        return max((end for item_id, end in ends.items() if not self._is_settled(item_id)), default=0)

    def _is_settled(self, item_id: int) -> bool:
        shard = item_id // SHARD_SIZE
        if shard not in self._shards:
            self._shards[shard] = gather(list_shard(self._paths, shard))
        marks = self._shards[shard].get(item_id)
        return marks is not None and (marks.collected or marks.moved)


@contextlib.contextmanager
def _alone(stage: Stage) -> Iterator[None]:
    """Let one process at a time fetch, so that nothing comes twice; the lock goes with the process that has it.

    Two would do no harm, so where there are no locks there is none, and who stands still is waited for no longer.
    """
    descriptor = os.open(os.path.join(stage.directory, _LOCK), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        size, stalled_s = -1, 0.0
        while not _try_lock(descriptor) and stalled_s < _STALLED_S:
            durable.calls.sleep(_PAUSE_S)
            found = sum(sizes_here(stage.batch.packs, SUFFIX).values())
            size, stalled_s = found, stalled_s + _PAUSE_S if found == size else 0.0
        yield
    finally:
        os.close(descriptor)


def _try_lock(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError as error:
        if error.errno not in _NO_LOCKS:
            raise
    return True
