"""What the other side of a connection does with a batch's ledger; sent as text, as remote_side.py says.

Answers that may be long have one key ``data``: JSON, compressed, in base64. Names and texts in it are ASCII with the
escapes of JSON; bytes of files are in it as latin-1, so that JSON lines stay as short as they are.
"""

# ruff: noqa: UP006, UP035, UP045 - Python 3.6 has no dict[str, Any].
from __future__ import annotations

import base64
import errno
import json
import os
import re
import stat
import time
import zlib
from hashlib import sha256
from typing import Any, Dict, Iterator, List, Optional, Set, Tuple

from crh_batch.hosts.remote_durable import (
    as_path,
    as_text,
    named,
    random_word,
    remove_quietly,
    sync_directory,
    sync_path,
    write_all,
)

Request = Dict[str, Any]
Answer = Dict[str, Any]

_ANSWER_BYTES = 4 << 20
# Of clients alone: custody of each side's own, and what is in place in the tomodirs of a side.
_NOT_SENT = re.compile(rb"\.|custody\.|.*\.collected\Z", re.DOTALL)
_READABLE_WITHIN_S = 60.0


def packed(data: Any) -> str:
    """Return an answer's ``data``."""
    return base64.b64encode(zlib.compress(json.dumps(data, separators=(",", ":")).encode(), 3)).decode()


# ---- names

# What this process has sent of each batch's names, by shard; "" are those of the whole batch.
_sent: Dict[bytes, Dict[str, Set[bytes]]] = {}
_rounds: Dict[bytes, Iterator[Tuple[str, bytes, bytes]]] = {}


def names(request: Request) -> Answer:
    """Send the exclusive names that weren't sent over this connection: ``[[name below names/, target], ...]``.

    ``sent``: "first" begins with looking at the directory, "more" goes on where an answer was full. ``have`` may say
    of a shard ("" for the names of the whole batch) how many names the client has of those that are sent at all, and
    the sha256 of them, sorted and joined by newlines: [count, hexadecimal]. What was sent is counted as arrived
    only in a shard of which it says nothing, or just that. One that is as long as the client's costs no readlink(2).
    The last answer has ``counts``: how many names there are in each shard.
    """
    directory = as_path(request["directory"])
    if request.get("sent", "first") == "first" or directory not in _rounds:
        _rounds[directory] = _new_names(directory, request.get("have") or {})
    taken = []
    size = 0
    more = False
    try:
        for shard, name, target in _rounds[directory]:
            taken.append((shard, name, target))
            size += len(name) + len(target) + 12
            if size >= _ANSWER_BYTES:
                more = True
                break
    finally:
        if not more:
            del _rounds[directory]
    for shard, name, _ in taken:
        _sent[directory][shard].add(name)
    paths = [[(shard + "/" if shard else "") + as_text(name), as_text(target)] for shard, name, target in taken]
    answer = {"data": packed(paths), "more": more}  # type: Answer
    if not more:
        # All that was found: sent now or before, or known to the client.
        answer["counts"] = {shard: len(known) for shard, known in _sent[directory].items()}
    return answer


def _new_names(directory: bytes, have: Dict[str, Any]) -> Iterator[Tuple[str, bytes, bytes]]:
    sent = _sent.setdefault(directory, {})
    shards = [""]
    with os.scandir(directory) as entries:
        shards += sorted(as_text(one.name) for one in entries if one.is_dir(follow_symlinks=False))
    for shard in shards:
        place = os.path.join(directory, as_path(shard)) if shard else directory
        # By the sort of their bytes, as the client sorts.
        found = sorted(name for name in os.listdir(place) if not _NOT_SENT.match(name))
        if not shard:
            found = [name for name in found if as_text(name) not in shards]
        known = sent.setdefault(shard, set())
        if shard in have:
            if tuple(have[shard]) == _sum(found):
                known.update(found)
            elif tuple(have[shard]) != _sum(sorted(known)):
                known.clear()
        for name in found:
            if name not in known:
                target = _target(os.path.join(place, name))
                if target:
                    yield shard, name, target


def _sum(ordered: List[bytes]) -> Tuple[int, str]:
    return len(ordered), sha256(b"\n".join(ordered)).hexdigest()


def _target(path: bytes) -> bytes:
    """Return what a name points to; nothing if it can't be read now, then it comes the next time."""
    try:
        return os.readlink(path)
    except OSError as error:
        if error.errno in (errno.ENOENT, errno.ESTALE):
            return b""
        if error.errno != errno.EINVAL:
            raise
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
    except FileNotFoundError:
        return b""
    try:
        return os.read(descriptor, 4096) if stat.S_ISREG(os.fstat(descriptor).st_mode) else b""
    finally:
        os.close(descriptor)


# ---- files that only grow


def sizes(request: Request) -> Answer:
    """Say how long the files of a directory are whose names end with ``suffix``."""
    return {"data": packed(dict(_sizes(request)))}


def tails(request: Request) -> Answer:
    """Send of each file of a directory what is longer than ``have`` says: ``[[name, from which byte, text], ...]``.

    At most about ``limit`` bytes; "more" says that there are more, from what the client has then.
    """
    directory, have = as_path(request["directory"]), request.get("have") or {}
    left = request.get("limit") or _ANSWER_BYTES
    taken = []
    more = False
    for name, size in sorted(_sizes(request)):
        start = have.get(name, 0)
        if size <= start:
            continue
        if left <= 0:
            more = True
            break
        with open(os.path.join(directory, as_path(name)), "rb") as stream:
            stream.seek(start)
            data = stream.read(min(size - start, left))
        left -= len(data)
        more = more or start + len(data) < size
        taken.append([name, start, data.decode("latin-1")])
    return {"data": packed(taken), "more": more}


def _sizes(request: Request) -> List[Tuple[str, int]]:
    suffix = as_path(request.get("suffix", ""))
    found = []
    try:
        with os.scandir(as_path(request["directory"])) as entries:
            for entry in entries:
                if entry.name.endswith(suffix) and not entry.name.startswith(b"."):
                    size = _size(entry.path)
                    if size is not None:
                        found.append((as_text(entry.name), size))
    except FileNotFoundError:
        pass
    return found


def _size(path: bytes) -> Optional[int]:
    """Return a file's size; asked of the open file, for nfs(5) lets stat(2) tell an old one for a minute."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW | os.O_CLOEXEC)
    except FileNotFoundError:
        return None
    except OSError as error:
        if error.errno in (errno.ELOOP, errno.ENXIO):
            return None
        raise
    try:
        facts = os.fstat(descriptor)
        return facts.st_size if stat.S_ISREG(facts.st_mode) else None
    finally:
        os.close(descriptor)


# ---- winning names


def win(request: Request) -> Answer:
    """Make sessions' files as long as they are at the client, then names for them; say of each whether it was won.

    Asked again it says the same: a name that points to its own target is won, whoever asked when.
    """
    directory = as_path(request["directory"])
    for token, text in request["sessions"].items():
        _complete_session(os.path.join(directory, b"sessions"), token, text.encode("utf-8", "surrogateescape"))
    sync_directory(os.path.join(directory, b"sessions"))
    won = []
    touched = set()
    for below, target in request["names"]:
        name = as_path(below)
        if os.path.isabs(name) or b".." in name.split(b"/") or not os.path.basename(name):
            raise OSError(errno.EINVAL, "is no name of a batch", name)
        path = os.path.join(directory, b"names", name)
        won.append(_win(path, as_path(target), request["links"]))
        touched.add(os.path.dirname(path))
    for place in sorted(touched):
        sync_directory(place)
    return {"won": won}


def _complete_session(directory: bytes, token: str, text: bytes) -> None:
    name = as_path(token) + b".crh"
    if b"/" in name or name.startswith(b"."):
        raise OSError(errno.EINVAL, "is no session's name", name)
    path = os.path.join(directory, name)
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    try:
        size = os.fstat(descriptor).st_size
        found = b""
        while len(found) < min(size, len(text)):
            block = os.pread(descriptor, min(size, len(text)) - len(found), len(found))
            if not block:
                break
            found += block
        if text[: len(found)] != found:
            raise OSError(errno.EEXIST, "holds another text than this side's", path)
        # At its place, not at the end: a second process that writes the same (the one of a connection that broke) does
        # no harm then.
        os.lseek(descriptor, len(found), os.SEEK_SET)
        write_all(descriptor, text[len(found) :])
        os.fsync(descriptor)
    except OSError as error:
        raise named(error, path) from None
    finally:
        os.close(descriptor)


def _win(path: bytes, target: bytes, kind: str) -> bool:
    deadline = time.monotonic() + _READABLE_WITHIN_S
    pause = 0.01
    while True:
        try:
            if kind == "symlink":
                os.symlink(target, path)
            else:
                _link_complete(path, target)
            return True
        except OSError as error:
            # RACE: an error is not believed (protocol.md, "Exclusive names"): what the name says decides.
            failure = error
        holder = _holder(path)
        if holder:
            return holder == target
        # One that exists must become readable here, or was taken back: then it is tried for again ("Caches").
        if failure.errno != errno.EEXIST or time.monotonic() >= deadline:
            raise named(OSError(failure.errno, failure.strerror), path)
        time.sleep(pause)
        pause = min(pause * 2, 2.0)


def _holder(path: bytes) -> bytes:
    try:
        return _target(path)
    except OSError:
        return b""


def _link_complete(path: bytes, target: bytes) -> None:
    part = os.path.join(os.path.dirname(path), b"." + os.path.basename(path) + b"." + random_word() + b".part")
    descriptor = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o644)
    try:
        try:
            write_all(descriptor, target)
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
        try:
            os.link(part, path)
        except OSError as error:
            if error.errno not in (errno.EPERM, errno.EXDEV, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK):
                raise
            # No hard links here.
            descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o644)
            try:
                write_all(descriptor, target)
            finally:
                os.close(descriptor)
            sync_path(path)
    finally:
        remove_quietly(part)
