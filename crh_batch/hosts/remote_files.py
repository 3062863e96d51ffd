"""What the other side of a connection does with files; sent as text, as remote_side.py says.

An OSError is the answer; main() says it.
"""

# ruff: noqa: UP006, UP035, UP045 - Python 3.6 has no dict[str, Any].
from __future__ import annotations

import base64
import errno
import fcntl
import os
import shutil
import stat
import time
from typing import Any, Callable, Dict, Optional

from crh_batch.hosts.remote_durable import (
    as_path,
    as_text,
    digest_of,
    named,
    random_word,
    remove_quietly,
    sync_directory,
    sync_path,
    write_all,
    write_durable,
)

Request = Dict[str, Any]
Answer = Dict[str, Any]

STAGE_MARKER = ".crh-batch-stage"
# How often, and how many times in vain, a file is looked at that is still being received.
_LOOK_S = 0.05
_STILL_LOOKS = 20
_RECEIVE_BYTES = 1 << 16


def digest(request: Request) -> Answer:
    """Say how long a file is and the sha256 of its first ``length`` bytes (all if None); -1 if there is no file."""
    size, found = digest_of(as_path(request["path"]), request.get("length"))
    return {"size": size, "sha256": found}


def listing(request: Request) -> Answer:
    """List a directory: names with size, time of change in ns, and kind (f, d, o); None if it isn't there."""
    entries = []
    try:
        with os.scandir(as_path(request["path"])) as found:
            for entry in found:
                try:
                    facts = entry.stat(follow_symlinks=False)
                except FileNotFoundError:
                    continue
                kind = "d" if stat.S_ISDIR(facts.st_mode) else "f" if stat.S_ISREG(facts.st_mode) else "o"
                entries.append([as_text(entry.name), facts.st_size, facts.st_mtime_ns, kind])
    except FileNotFoundError:
        return {"entries": None}
    return {"entries": sorted(entries)}


def exists(request: Request) -> Answer:
    """Say of each path whether something is there, be it a link that leads nowhere."""
    return {"exists": [os.path.lexists(as_path(path)) for path in request["paths"]]}


def make_directories(request: Request) -> Answer:
    """Make directories, and those above them, if they aren't there."""
    for text in request["paths"]:
        path = as_path(text)
        if os.path.isdir(path):
            continue
        made = []
        while not os.path.lexists(path):
            made.append(path)
            path = os.path.dirname(path) or b"."
        for one in reversed(made):
            try:
                os.mkdir(one, request.get("mode", 0o700))
            except FileExistsError:
                continue
            sync_directory(os.path.dirname(one))
        if not os.path.isdir(as_path(text)):
            raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), as_path(text))
    return {}


def write(request: Request) -> Answer:
    """Write a small file so that a reader sees the old content or the new, also after a crash."""
    data = base64.b64decode(request["base64"]) if "base64" in request else request["text"].encode()
    write_durable(as_path(request["path"]), data, request.get("mode", 0o600))
    return {}


def begun(request: Request) -> Answer:
    """Say whether a file is there with this size and sha256, and else how much of it a broken transfer has left."""
    if digest_of(as_path(request["path"])) == (request["size"], request["sha256"]):
        return {"there": True, "size": 0, "digest": ""}
    part = as_path(request["part"])
    _settle(part)
    size, found = digest_of(part)
    return {"there": False, "size": max(size, 0), "digest": found}


def _settle(part: bytes) -> None:
    """Wait for the process of a connection that broke, which may still write what had arrived of it.

    If it writes nothing more, its connection may be dead without its knowing: then what is there is what there is.
    """
    try:
        descriptor = os.open(part, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return
    try:
        size, looks = -1, 0
        while looks < _STILL_LOOKS:
            if _lock(descriptor):
                return
            found = os.fstat(descriptor).st_size
            size, looks = found, looks + 1 if found == size else 0
            time.sleep(_LOOK_S)
    finally:
        os.close(descriptor)


def _lock(descriptor: int) -> bool:
    """Take the lock of a file that is being received; where there are no locks, nobody has it."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:
        pass
    return True


def receive(request: Request, requests: Any, say: Callable[[Answer], None]) -> Answer:
    """Take the ``length`` bytes that follow the request into a file, from ``offset`` on; they are kept as they come.

    ``at`` says again and again how many have been: a client sends little more than that ahead, because what is on
    its way when a connection breaks is lost.
    """
    path = as_path(request["path"])
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    try:
        _lock(descriptor)
        os.ftruncate(descriptor, request["offset"])
        os.lseek(descriptor, request["offset"], os.SEEK_SET)
        left = request["length"]
        while left:
            block = requests.read1(min(left, _RECEIVE_BYTES))
            if not block:
                break
            write_all(descriptor, block)
            left -= len(block)
            say({"at": request["length"] - left})
    except OSError as error:
        raise named(error, path) from None
    finally:
        os.close(descriptor)
    return {"received": request["length"] - left}


def publish(request: Request) -> Answer:
    """Give a received file its name, durably, if it is the one that was sent; else say what arrived."""
    path, part = as_path(request["path"]), as_path(request["part"])
    wanted = (request["size"], request["sha256"])
    found = digest_of(part)
    if found != wanted:
        # It may have its name already, when this is asked again.
        return {"size": found[0], "published": found[0] < 0 and digest_of(path) == wanted}
    sync_path(part)
    os.replace(part, path)
    sync_directory(os.path.dirname(path))
    return {"size": found[0], "published": True}


def links(request: Request) -> Answer:
    """Say which exclusive names work in a directory: symbolic links, or files that are made exclusively."""
    stem = os.path.join(as_path(request["directory"]), b".probe-" + random_word())
    why: Optional[OSError] = None
    for kind in ("symlink", "file"):
        path = stem + b"." + kind.encode()
        try:
            _make_exclusively(path, kind)
            try:
                _make_exclusively(path, kind)
            except FileExistsError:
                return {"links": kind}
        except OSError as error:
            why = error
        finally:
            remove_quietly(path)
    raise why or OSError(
        errno.ENOTSUP, "neither symbolic links nor exclusive files work", as_path(request["directory"])
    )


def _make_exclusively(path: bytes, kind: str) -> None:
    if kind == "symlink":
        os.symlink(b"first", path)
    else:
        os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))


def space(request: Request) -> Answer:
    """Say how much is free where a directory is or will be, and what a write there says (empty if nothing).

    A quota is in no statvfs(2): only a write tells.
    """
    path = as_path(request["path"])
    while not os.path.isdir(path) and os.path.dirname(path) != path:
        path = os.path.dirname(path)
    facts = os.statvfs(path)
    problem = code = ""
    probe = os.path.join(path, b".crh-batch-probe-" + random_word())
    try:
        descriptor = os.open(probe, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        try:
            write_all(descriptor, b"\xff" * (1 << 16))
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
    except OSError as error:
        problem, code = error.strerror or str(error), errno.errorcode.get(error.errno or 0, "")
    finally:
        remove_quietly(probe)
    return {
        "directory": as_text(path),
        "free_bytes": facts.f_bavail * facts.f_frsize,
        # Some filesystems have no number of files that they end at.
        "free_inodes": facts.f_favail if facts.f_files else None,
        "problem": problem,
        "code": code,
    }


def remove(request: Request) -> Answer:
    """Remove a stage, and nothing else: a real directory of this user's with the batch's name and unpack's mark."""
    top, batch_id = as_path(request["top"]), as_path(request["batch_id"])
    if not os.path.lexists(top):
        return {"removed": False}
    why = _no_stage(top, batch_id)
    if why:
        raise OSError(errno.EPERM, "is not removed: " + why, top)
    # The mark goes last, so that what is left of a broken removal can still be removed.
    for name in os.listdir(top):
        if as_text(name) != STAGE_MARKER:
            _remove_whole(os.path.join(top, name))
    remove_quietly(os.path.join(top, STAGE_MARKER.encode()))
    os.rmdir(top)
    return {"removed": True}


def _no_stage(top: bytes, batch_id: bytes) -> str:
    if not os.path.isabs(top) or os.path.normpath(top) != top:
        return "it is not a plain absolute path"
    if not batch_id or os.path.basename(top) != batch_id:
        return "its name is not the batch's"
    facts = os.lstat(top)
    if not stat.S_ISDIR(facts.st_mode):
        return "it is no directory"
    if facts.st_uid != os.geteuid():
        return "it is another user's"
    if not os.path.isfile(os.path.join(top, STAGE_MARKER.encode())) and _holds_a_file(top):
        return "it holds files, and no " + STAGE_MARKER
    return ""


def _holds_a_file(top: bytes) -> bool:
    """Return whether a directory holds a plain file; a site that purges files leaves directories and links."""
    for directory, _, names in os.walk(top):
        if any(stat.S_ISREG(os.lstat(os.path.join(directory, name)).st_mode) for name in names):
            return True
    return False


def _remove_whole(path: bytes) -> None:
    if not stat.S_ISDIR(os.lstat(path).st_mode):
        os.unlink(path)
        return

    def once_more(function: Any, place: Any, why: Any) -> None:
        # A directory that a program made read-only.
        os.chmod(os.path.dirname(place), 0o700)
        if os.path.isdir(place) and not os.path.islink(place):
            os.chmod(place, 0o700)
            shutil.rmtree(place)
        else:
            os.unlink(place)

    # As text: Python 3.6 can't do it with bytes. fsdecode and fsencode are each other's inverse in any locale.
    shutil.rmtree(os.fsdecode(path), onerror=once_more)
