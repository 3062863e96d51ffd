"""The archive that a stage is made of: the inputs of its tomodirs at their places, and the batch's directory."""

from __future__ import annotations

import contextlib
import errno
import os
import stat
import tarfile
import tempfile
from collections.abc import Callable
from typing import IO

from crh_batch.errors import TomodirError
from crh_batch.ledger import durable
from crh_batch.ledger.items import Items
from crh_batch.ledger.paths import SHARD_SIZE
from crh_batch.mirror.references import inputs_of, place_of
from crh_batch.mirror.stage import Stage
from crh_batch.tomodir.files import explain

# Inputs are text: level 1 makes a quarter of them faster than a network takes the rest.
_LEVEL = 1
_CHUNK = 1 << 20
# An input is read whole before it goes into the archive, so that a part of an old and a part of a new one never does;
# larger ones are kept on disk meanwhile.
_IN_MEMORY_BYTES = 16 << 20
_TRIES = 3
# What stands in an input's place is its tomodir's affair. Any other error is this machine's, as pilots see it, too.
_NO_INPUT = frozenset(
    {
        errno.ENOENT,
        errno.ENOTDIR,
        errno.EISDIR,
        errno.ELOOP,
        errno.ENXIO,
        errno.ENODEV,
        errno.ENAMETOOLONG,
        errno.EACCES,
        errno.EPERM,
    }
)

# So many words about single inputs are said at most.
_SAID = 20

Say = Callable[[str], None]


def archive_path(stage: Stage) -> str:
    """Return where a stage's archive lies until it has arrived."""
    return os.path.join(stage.directory, "inputs.tar.gz")


def write_archive(stage: Stage, say: Say) -> str:
    """Write a stage's archive, durably; one that an earlier try wrote is taken as it is. Return its path.

    An input that is gone or can't be read is left out, with a word: its tomodir fails there with that reason, and no
    other one has to wait for it.

    Raises:
        LedgerError: the items can't be read.
        OSError: it can't be written, or the filesystem of the inputs fails.
    """
    path = archive_path(stage)
    if os.path.exists(path):
        return path
    part = f"{path}.part"
    try:
        _write(part, stage, say)
    except OSError:
        # It may be what has filled the disk.
        with contextlib.suppress(OSError):
            os.unlink(part)
        raise
    durable.calls.replace(part, path)
    durable.sync_directory(stage.directory)
    return path


def _write(path: str, stage: Stage, say: Say) -> None:
    with open(path, "wb") as stream:
        # Names are bytes to both ends, whatever locale is set here.
        with tarfile.open(
            fileobj=stream, mode="w:gz", compresslevel=_LEVEL, format=tarfile.PAX_FORMAT, encoding="utf-8"
        ) as archive:
            _add_inputs(archive, stage, say)
            _add_batch(archive, stage)
        stream.flush()
        durable.sync(stream.fileno())


def _add_inputs(archive: tarfile.TarFile, stage: Stage, say: Say) -> None:
    below = os.path.relpath(stage.root, stage.top)
    added: set[str] = set()
    lacking = 0
    for item in Items(stage.here.items):
        # Also where nothing is read from it: it is a directory there.
        archive.addfile(_directory(os.path.normpath(os.path.join(below, item.path))))
        for name in inputs_of(item.stages):
            place = place_of(item.path, name)
            if place in added:
                continue
            added.add(place)
            with tempfile.SpooledTemporaryFile(_IN_MEMORY_BYTES, dir=stage.directory) as content:
                try:
                    status = _copy_at_rest(os.path.join(stage.batch.root, item.path, name), content)
                except TomodirError as error:
                    lacking += 1
                    if lacking <= _SAID:
                        say(f"{item.path}: {name} isn't sent, so it will fail there: {error.message}")
                    continue
                content.seek(0)
                archive.addfile(_file(os.path.normpath(os.path.join(below, place)), status), content)
            # tarfile remembers all that it wrote, for readers; that would be a gigabyte for 100,000 tomodirs.
            archive.members = []  # type: ignore[attr-defined]
    if lacking > _SAID:
        say(f"{lacking - _SAID} more inputs aren't sent")


def _file(name: str, status: os.stat_result) -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.size, info.mode = status.st_size, 0o600
    # As text it is exact; what pilots note of an input is compared with the tomodir's later.
    sign, ns = ("-", -status.st_mtime_ns) if status.st_mtime_ns < 0 else ("", status.st_mtime_ns)
    info.pax_headers = {"mtime": f"{sign}{ns // 10**9}.{ns % 10**9:09d}"}
    return info


def _copy_at_rest(path: str, target: IO[bytes]) -> os.stat_result:
    """Copy an input as it is at one moment; return what it was then.

    Raises:
        TomodirError: it changes all the time, is no file, or can't be read.
        OSError: this machine fails.
    """
    for _ in range(_TRIES):
        target.seek(0)
        target.truncate()
        status = _copy(path, target)
        if status is not None:
            return status
    raise TomodirError("it is being written", "Submit it again when it is whole.", path)


def _copy(path: str, target: IO[bytes]) -> os.stat_result | None:
    """Copy a file; None if it changed meanwhile."""
    try:
        # O_NONBLOCK: opening a FIFO that somebody put there must not wait for a writer.
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as error:
        if error.errno not in _NO_INPUT:
            raise
        raise TomodirError(explain(error), "It must be a file that you can read.", path) from error
    before = os.fstat(descriptor)
    if not stat.S_ISREG(before.st_mode):
        os.close(descriptor)
        raise TomodirError("it is not a plain file", "Put the file there that the .cfg names.", path)
    with open(descriptor, "rb", buffering=0) as source:
        left = before.st_size
        while left and (block := source.read(min(left, _CHUNK))):
            target.write(block)
            left -= len(block)
        after = os.fstat(source.fileno())
    is_same = (after.st_size, after.st_mtime_ns) == (before.st_size, before.st_mtime_ns)
    return before if is_same and not left else None


def _add_batch(archive: tarfile.TarFile, stage: Stage) -> None:
    below = os.path.relpath(stage.there.directory, stage.top)
    last = Items(stage.here.items).ids[-1]
    for directory in stage.there.directories(last // SHARD_SIZE + 1):
        archive.addfile(_directory(os.path.join(below, os.path.relpath(directory, stage.there.directory))))
    # The items last: a batch counts from the moment that they are there.
    for here, there in (
        (stage.here.settings, stage.there.settings),
        (stage.batch.pilot, stage.there.pilot),
        (stage.here.items, stage.there.items),
    ):
        info = tarfile.TarInfo(os.path.join(below, os.path.relpath(there, stage.there.directory)))
        with open(here, "rb") as stream:
            info.size, info.mode = os.fstat(stream.fileno()).st_size, 0o600
            archive.addfile(info, stream)


def _directory(name: str) -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type, info.mode = tarfile.DIRTYPE, 0o700
    return info
