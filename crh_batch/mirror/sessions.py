"""Sessions' control files, brought from the byte that is here.

Their files only grow, so byte k is the same wherever and whenever it is read: two processes that bring the same bytes
write them to the same place, and no lock is needed. A session of a client of this side is the longer one here.
"""

from __future__ import annotations

import os

from crh_batch.errors import HostError, LedgerError
from crh_batch.hosts.base import FarHost
from crh_batch.ledger import durable
from crh_batch.ledger.paths import BatchPaths
from crh_batch.ledger.sharing import share
from crh_batch.mirror.answers import parse_tails, size_of, understood
from crh_batch.mirror.stage import Stage
from crh_batch.tomodir.files import explain

SUFFIX = ".crh"
# What one answer holds, before it is compressed.
ANSWER_BYTES = 4 << 20


def sizes_here(directory: str, suffix: str) -> dict[str, int]:
    """Return the files of a directory that grow there and here, with their sizes here."""
    with os.scandir(directory) as entries:
        return {
            entry.name: entry.stat(follow_symlinks=False).st_size
            for entry in entries
            if entry.name.endswith(suffix) and not entry.name.startswith(".")
        }


def bring_sessions(stage: Stage, far: FarHost) -> int:
    """Bring what sessions have written there since the last time; return how many bytes came.

    Raises:
        HostError: they can't be read there.
        LedgerError: they can't be written here.
    """
    here, there = stage.batch.sessions, stage.there.sessions
    have = sizes_here(here, SUFFIX)
    fetched = 0
    touched = []
    while True:
        answer = far.ask("tails", directory=there, have=have, suffix=SUFFIX, limit=ANSWER_BYTES, timeout_s=600.0)
        fetched += size_of(answer)
        with understood(far.name, there):
            tails = parse_tails(answer, SUFFIX)
        for name, start, data in tails:
            if start != have.get(name, 0):
                continue  # would leave a hole
            _write_at(stage.batch, name, start, data)
            have[name] = start + len(data)
            touched.append(os.path.join(here, name))
        if not answer.get("more"):
            break
        if not tails:
            raise HostError(
                f"{far.name}: {there}: says that there is more, and sends nothing", "Run it again.", far.name
            )
    _make_durable(touched, here)
    return fetched


def _write_at(paths: BatchPaths, name: str, start: int, data: bytes) -> None:
    path = os.path.join(paths.sessions, name)
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o644)
        try:
            share(descriptor, paths.sessions)
            os.lseek(descriptor, start, os.SEEK_SET)
            durable.write_all(descriptor, data)
        finally:
            os.close(descriptor)
    except OSError as error:
        raise _unwritable(path, error) from error


def _make_durable(files: list[str], directory: str) -> None:
    """Make them durable before any name speaks of them: a hole that a crash leaves would never be filled."""
    try:
        durable.sync_many(dict.fromkeys(files), (directory,) if files else ())
    except OSError as error:
        raise _unwritable(directory, error) from error


def _unwritable(path: str, error: OSError) -> LedgerError:
    return LedgerError(
        f"{path}: what is new there can't be written here: {explain(error)}",
        "Is the disk here full, or over its quota? Mend that, and run the command again.",
        path,
    )
