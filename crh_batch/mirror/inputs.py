"""The archive that a stage is made of: the inputs of its tomodirs at their places, and the batch's directory."""

from __future__ import annotations

import os
import stat
import tarfile
import tempfile
from collections.abc import Callable, Iterator
from typing import IO

from crh_batch.errors import TomodirError
from crh_batch.ledger import durable
from crh_batch.ledger.items import Item, Items
from crh_batch.ledger.paths import SHARD_SIZE
from crh_batch.mirror.references import inputs_of, place_of
from crh_batch.mirror.stage import Stage

# Inputs are text: level 1 makes a quarter of them faster than a network takes the rest.
_LEVEL = 1
_CHUNK = 1 << 20
# An input is read whole before it goes into the archive, so that a part of an old and a part of a new one never does;
# larger ones are kept on disk meanwhile.
_IN_MEMORY_BYTES = 16 << 20
_TRIES = 3

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
        OSError: it can't be written.
    """
    path = archive_path(stage)
    if os.path.exists(path):
        return path
    part = f"{path}.part"
    with open(part, "wb") as stream:
        with tarfile.open(fileobj=stream, mode="w:gz", compresslevel=_LEVEL, format=tarfile.PAX_FORMAT) as archive:
            _add_inputs(archive, stage, say)
            _add_batch(archive, stage)
        stream.flush()
        durable.sync(stream.fileno())
    durable.calls.replace(part, path)
    durable.sync_directory(stage.directory)
    return path


def _add_inputs(archive: tarfile.TarFile, stage: Stage, say: Say) -> None:
    below = os.path.relpath(stage.root, stage.top)
    added: set[str] = set()
    for item in Items(stage.here.items):
        # Also where nothing is read from it: it is a directory there.
        archive.addfile(_directory(os.path.normpath(os.path.join(below, item.path))))
        for name in inputs_of(item.stages):
            place = place_of(item.path, name)
            if place in added:
                continue
            added.add(place)
            try:
                for info, content in _read(stage, item, name):
                    info.name = os.path.normpath(os.path.join(below, place))
                    archive.addfile(info, content)
            except (TomodirError, OSError) as error:
                say(f"{item.path}: {name} isn't sent: {error.strerror if isinstance(error, OSError) else error}")


def _read(stage: Stage, item: Item, name: str) -> Iterator[tuple[tarfile.TarInfo, IO[bytes]]]:
    """Yield an input as it is at one moment.

    Raises:
        TomodirError: it changes all the time, or is no file.
        OSError: it can't be read.
    """
    tomodir = os.path.join(stage.batch.root, item.path)
    for _ in range(_TRIES):
        with tempfile.SpooledTemporaryFile(_IN_MEMORY_BYTES, dir=stage.directory) as content:
            status = _copy(os.path.join(tomodir, name), content)
            if status is not None:
                info = tarfile.TarInfo()
                info.size, info.mode = status.st_size, 0o600
                seconds, rest = divmod(status.st_mtime_ns, 10**9)
                # As text it is exact; what pilots note of an input is compared with the tomodir's later.
                info.pax_headers = {"mtime": f"{seconds}.{rest:09d}"} if seconds >= 0 else {}
                content.seek(0)
                yield info, content
                return
    raise TomodirError(f"{tomodir}: {name} is being written", "Submit it again when it is whole.", tomodir)


def _copy(path: str, target: IO[bytes]) -> os.stat_result | None:
    """Copy a file; None if it changed meanwhile."""
    # O_NONBLOCK: opening a FIFO that somebody put there must not wait for a writer.
    with open(os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC), "rb", buffering=0) as source:
        before = os.fstat(source.fileno())
        if not stat.S_ISREG(before.st_mode):
            raise TomodirError(f"{path}: is not a plain file", "Put the file there that the .cfg names.", path)
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
