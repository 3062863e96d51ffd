"""How the other side of a connection makes a stage of the archive it was sent; sent as text, as remote_side.py says."""

# ruff: noqa: UP006, UP035 - Python 3.6 has no dict[str, Any].
from __future__ import annotations

import errno
import fcntl
import gzip
import os
import shutil
import stat
import tarfile
from typing import Any, Dict, List, Set

from crh_batch.hosts.remote_durable import (
    as_path,
    digest_of,
    remove_quietly,
    sync_directory,
    sync_many,
    write_durable,
)
from crh_batch.hosts.remote_files import STAGE_MARKER

Request = Dict[str, Any]
Answer = Dict[str, Any]


def unpack(request: Request) -> Answer:
    """Make a stage: a tar.gz below ``top``, then programs, all of it durable, then the ``marker`` file.

    Members are plain files and directories below ``top``. Their times of change are exact to the ns where the archive
    has them as text (pax header ``mtime``). A program is copied from ``path`` to ``target`` (absolute, or below
    ``root``, which is ``top`` if not given). Asked again, what was done is left alone.
    """
    top, archive = as_path(request["top"]), as_path(request["archive"])
    marker = _inside(top, as_path(request["marker"]), top)
    # Not the archive itself: who received it, over a connection that is dead without its knowing, may have that one.
    lock = archive + b".unpacking"
    if os.path.lexists(marker):
        # Who made it may have died before it could tidy up.
        remove_quietly(archive)
        remove_quietly(lock)
        return {"unpacked": False}
    descriptor = os.open(lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    try:
        # One at a time: a connection that broke may have left a process that is still at it, and pilots read these
        # files as soon as the marker is there.
        _wait_for_lock(descriptor)
        if os.path.lexists(marker):
            return {"unpacked": False}
        _unpack_alone(request, top, archive, marker)
        return {"unpacked": True}
    finally:
        if os.path.lexists(marker):
            remove_quietly(lock)
        os.close(descriptor)


def _wait_for_lock(descriptor: int) -> None:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
    except OSError:
        # There are no locks here.
        pass


def _unpack_alone(request: Request, top: bytes, archive: bytes, marker: bytes) -> None:
    if digest_of(archive)[1] != request["sha256"]:
        raise OSError(errno.EINVAL, "is not the archive that was sent", archive)
    stage = _Stage(top)
    # tarfile's own reader of streams copies what it has unpacked again for each header.
    with gzip.open(archive) as plain, tarfile.open(fileobj=plain, mode="r|", encoding="utf-8") as members:
        for member in members:
            stage.add(members, member)
            # tarfile remembers all that it read; that would be a gigabyte for 100,000 tomodirs.
            members.members = []  # type: ignore[attr-defined]
    root = as_path(request.get("root") or request["top"])
    for program in request.get("programs", ()):
        _copy_program(stage, program, _inside(top, as_path(program["target"]), root))
    sync_many(stage.files + sorted(stage.directories))
    sync_directory(os.path.dirname(top))
    write_durable(marker, request["sha256"].encode() + b"\n", 0o600)
    remove_quietly(archive)


def _inside(top: bytes, path: bytes, base: bytes) -> bytes:
    """Return an absolute path that is below ``top``; a relative one counts from ``base``."""
    whole = os.path.normpath(os.path.join(base, path))
    if not whole.startswith(os.path.join(top, b"")) or b".." in path.split(b"/"):
        raise OSError(errno.EPERM, "lies outside the stage", path)
    return whole


class _Stage:
    """Adds to a stage; never through a link, never over what isn't its own."""

    def __init__(self, top: bytes) -> None:
        self.top = top
        self.files: List[bytes] = []
        self.directories: Set[bytes] = set()
        os.makedirs(os.path.dirname(top), 0o700, exist_ok=True)
        try:
            os.mkdir(top, 0o700)
        except FileExistsError:
            pass
        facts = os.lstat(top)
        if not stat.S_ISDIR(facts.st_mode) or facts.st_uid != os.geteuid():
            raise OSError(errno.EPERM, "is no directory of this user's", top)
        self.directories.add(top)
        # Before all else: with it a stage that was begun can be removed.
        write_durable(os.path.join(top, STAGE_MARKER.encode()), os.path.basename(top) + b"\n", 0o600)

    def add(self, members: Any, member: Any) -> None:
        name = as_path(member.name)
        if os.path.isabs(name) or b".." in name.split(b"/"):
            raise OSError(errno.EPERM, "leads out of the stage", name)
        path = os.path.normpath(os.path.join(self.top, name))
        if member.isdir():
            self.make_directory(path)
        elif member.isreg():
            self.make_directory(os.path.dirname(path))
            with self.new_file(path, (member.mode & 0o700) | 0o600) as target:
                shutil.copyfileobj(members.extractfile(member), target, 1 << 20)
            changed = _nanoseconds(member)
            os.utime(path, ns=(changed, changed))
        else:
            raise OSError(errno.EPERM, "is neither a file nor a directory", name)

    def make_directory(self, path: bytes) -> None:
        if path in self.directories:
            return
        self.make_directory(os.path.dirname(path))
        try:
            os.mkdir(path, 0o700)
        except FileExistsError:
            if not stat.S_ISDIR(os.lstat(path).st_mode):
                raise
        self.directories.add(path)

    def new_file(self, path: bytes, mode: int) -> Any:
        """Make a file in place of the one that a broken try left."""
        remove_quietly(path)
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW, mode)
        self.files.append(path)
        return os.fdopen(descriptor, "wb")


def _nanoseconds(member: Any) -> int:
    """Return a member's time of change; tarfile makes a float of it, which isn't exact."""
    text = member.pax_headers.get("mtime", "")
    sign = -1 if text.startswith("-") else 1
    whole, _, rest = text[text.startswith("-") :].partition(".")
    if whole.isdigit() and (not rest or rest.isdigit()):
        return sign * (int(whole) * 10**9 + int((rest + "0" * 9)[:9]))
    return int(member.mtime * 10**9)


def _copy_program(stage: _Stage, program: Dict[str, str], target: bytes) -> None:
    source = as_path(program["path"])
    stage.make_directory(os.path.dirname(target))
    with open(source, "rb") as stream, stage.new_file(target, 0o700) as copy:
        shutil.copyfileobj(stream, copy, 1 << 20)
    os.chmod(target, 0o755)
    if digest_of(target)[1] != program["sha256"]:
        raise OSError(errno.EINVAL, "is another program than when the batch was made", source)
