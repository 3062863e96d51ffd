"""A private directory for each attempt: inputs copied in, old outputs left out, results found by what is new.

Programs never run in the tomodir itself: an attempt that was given up for dead and goes on can then harm nothing, and
old outputs can't pass for new ones (a stale error.dat, an inv.ctr that says finished).
"""

from __future__ import annotations

import errno
import hashlib
import os
import stat
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from crh_batch.errors import DataError, OutsideReference, TomodirError
from crh_batch.ledger import durable
from crh_batch.ledger.inputs import sha256_of

_CHUNK = 1 << 20
# So often an input is copied that changes meanwhile.
_TRIES = 3


@dataclass(frozen=True)
class StagedInput:
    """An input as it was when it was copied: name in the tomodir, bytes, modification time, sum."""

    name: str
    size: int
    mtime_ns: int
    sha256: str

    def to_json(self) -> list[Any]:
        """Return the plain form that a session's event holds."""
        return [self.name, self.size, self.mtime_ns, self.sha256]


def place_in_scratch(scratch: str, tomodir: str, inputs: list[str]) -> str:
    """Return where the copy of a tomodir goes below ``scratch``: deep enough that ``../`` references stay inside.

    A reference ``../time0/inv/rho05.mag`` is staged at the same relative place, and one that climbs higher than the
    scratch directory would be written anywhere. Directories above the tomodir keep their names, so a path that climbs
    and comes back down into the tomodir itself finds it.
    """
    climbs = max((_climb(name) for name in inputs), default=0)
    parts = os.path.abspath(tomodir).split(os.sep)[1:]
    if climbs >= len(parts):
        raise OutsideReference(
            f"{tomodir}: a .cfg file refers to something above the root directory", "Mend the reference.", tomodir
        )
    return os.path.join(scratch, *parts[len(parts) - 1 - climbs :])


def _climb(name: str) -> int:
    climb = 0
    for part in name.split("/"):
        if part != "..":
            break
        climb += 1
    return climb


def stage_inputs(tomodir: str, copy: str, stages: tuple[Mapping[str, Any], ...]) -> list[StagedInput]:
    """Copy what the stages read into ``copy`` and make the directories that they need.

    Raises:
        TomodirError: an input is missing, isn't a file, or can't be read.
    """
    # What others of the batch make is taken from their results (sources.py), whatever lies there now.
    sourced = {name for stage in stages for name in stage.get("sources") or ()}
    names = sorted({name for stage in stages for name in stage["inputs"] if not name.startswith("/")} - sourced)
    made: set[str] = set()
    for directory in sorted({name for stage in stages for name in stage["make_dirs"]} | {"exe"}):
        _make(os.path.join(copy, directory), made)
    return [_copy(tomodir, name, copy, name, made) for name in names]


def copy_input(tomodir: str, source: str, copy: str, name: str) -> StagedInput:
    """Copy one file of a tomodir to where another one's copy has its input ``name``.

    Raises:
        TomodirError: it is missing, isn't a file, or can't be read.
    """
    return _copy(tomodir, source, copy, name, set())


def _make(directory: str, made: set[str]) -> None:
    if directory not in made:
        os.makedirs(directory, exist_ok=True)
        made.add(directory)


def _copy(tomodir: str, source: str, copy: str, name: str, made: set[str]) -> StagedInput:
    target = os.path.join(copy, name)
    _make(os.path.dirname(target), made)
    place = os.path.join(tomodir, source)
    for _ in range(_TRIES):
        staged = _copy_once(_open_input(tomodir, place), target, name)
        if staged is not None:
            return staged
    raise DataError(
        f"{place}: is being written: it changed while it was copied",
        "Wait until it is whole, then submit the tomodir again.",
        tomodir,
    )


def _copy_once(descriptor: int, target: str, name: str) -> StagedInput | None:
    """Copy an open file; None if it changed meanwhile, for a part of the old and a part of the new is neither."""
    digest = hashlib.sha256()
    left = 0
    with open(descriptor, "rb", buffering=0) as reading, open(target, "wb", buffering=0) as writing:
        status = os.fstat(reading.fileno())
        left = status.st_size
        # No more than that: a file that grows as fast as it is read would fill the disk.
        while left >= 0 and (chunk := reading.read(min(_CHUNK, left + 1))):
            left -= len(chunk)
            digest.update(chunk)
            # On a full disk write(2) may write a part and report no error.
            durable.write_all(writing.fileno(), chunk)
        # By its time find_outputs sees whether a program has written to the copy.
        os.utime(writing.fileno(), ns=(status.st_mtime_ns, status.st_mtime_ns))
        now = os.fstat(reading.fileno())
    if left or (now.st_size, now.st_mtime_ns) != (status.st_size, status.st_mtime_ns):
        return None
    return StagedInput(name, status.st_size, status.st_mtime_ns, digest.hexdigest())


# What stands in an input's place is the tomodir's affair. Any other error is the node's or the filesystem's.
_NO_INPUT = frozenset(
    {errno.ENOTDIR, errno.ELOOP, errno.ENXIO, errno.ENODEV, errno.ENAMETOOLONG, errno.EACCES, errno.EPERM}
)


def _open_input(tomodir: str, source: str) -> int:
    try:
        # O_NONBLOCK: opening a FIFO that somebody put there must not wait for a writer.
        descriptor = os.open(source, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except FileNotFoundError:
        raise DataError(
            f"{source}: is gone since it was submitted", "Put it back, or submit the tomodir again.", tomodir
        ) from None
    except OSError as error:
        if error.errno not in _NO_INPUT:
            raise
        raise TomodirError(
            f"{source}: {error.strerror}", "It must be a file that the compute nodes can read.", tomodir
        ) from error
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise DataError(f"{source}: is not a plain file", "Put the file there that the .cfg names.", tomodir)
    return descriptor


def find_outputs(copy: str, inputs: list[StagedInput]) -> tuple[list[str], list[str]]:
    """Return the files that the programs made, and the inputs that they changed, both relative to the tomodir.

    A changed input (CRTomo rewrites crt.lamnull) is the user's: it is named in the provenance and not put back.
    ``*.pid`` files are left out: they speak of a process that is over.
    """
    # "../td07/inv/rho05.mag" of td07 itself is one of its own files.
    staged = {os.path.relpath(os.path.join(copy, item.name), copy): item for item in inputs}
    made: list[str] = []
    changed: list[str] = []
    _walk(copy, "", staged, made, changed)
    return sorted(made), sorted(changed)


def _walk(directory: str, prefix: str, staged: Mapping[str, StagedInput], made: list[str], changed: list[str]) -> None:
    with os.scandir(directory) as entries:
        for entry in entries:
            name = prefix + entry.name
            if entry.is_dir(follow_symlinks=False):
                _walk(entry.path, name + "/", staged, made, changed)
            elif entry.is_file(follow_symlinks=False) and not name.endswith(".pid"):
                known = staged.get(name)
                if known is None:
                    made.append(name)
                elif _was_written(entry, known):
                    changed.append(name)


def _was_written(entry: os.DirEntry[str], known: StagedInput) -> bool:
    status = entry.stat(follow_symlinks=False)
    if (status.st_size, status.st_mtime_ns) == (known.size, known.mtime_ns):
        return False
    return status.st_size != known.size or sha256_of(entry.path) != known.sha256
