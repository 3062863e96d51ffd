"""What one process finds out about a filesystem: whether it carries the names and files that the protocol needs.

Each check is a function of a directory and returns plain values; an ``error`` that isn't empty says what went wrong.
What it means is said elsewhere (report/filesystem_words.py).
"""

from __future__ import annotations

import errno
import os
import stat
import subprocess
import time
from typing import Any, Callable

from crh_batch.errors import FilesystemUnfit
from crh_batch.ledger import durable
from crh_batch.ledger.durable import calls

_SYNCS = 10
# More links to one file than any part of crh-batch makes; some filesystems refuse the 41st.
_LINKS = 64
_TIMES = 20
_PROGRAM_S = 20.0
# Names as users give them. The last two differ in nothing but case.
_NAMES = (
    b"a line\nand another",
    b"-leading dash",
    b"'quotes\" and $(words)",
    "Prüfung, é in two ways: e\u0301".encode(),
    b"not UTF-8: \xff\xfe",
    b"n" * 255,
    b"case",
    b"CASE",
)


def look_alone(directory: str) -> dict[str, Any]:
    """Make all checks in an empty directory of one's own; what they make stays in it."""
    return {
        "filesystem": durable.filesystem_type(os.stat(directory).st_dev),
        "kind": _kind(directory),
        "exclusive_error": _error_of(lambda: _check_exclusive_file(directory)),
        "link": _links(directory),
        "replace_error": _error_of(lambda: _check_replace(directory)),
        "sync": _syncs(directory),
        "names": _names(directory),
        "modes_error": _error_of(lambda: _check_modes(directory)),
        "execute_error": _error_of(lambda: _check_execute(directory)),
        "room": _room(directory),
        "clock": _clock(directory),
    }


def _error_of(check: Callable[[], object]) -> str:
    try:
        check()
    except OSError as error:
        return str(error.strerror or error)
    return ""


def _write(path: str, data: bytes = b"", mode: int = 0o644) -> None:
    descriptor = calls.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, mode)
    try:
        durable.write_all(descriptor, data)
    finally:
        os.close(descriptor)


def _kind(directory: str) -> dict[str, str]:
    """Find the kind of exclusive names that a batch would use here, by the probe that it uses."""
    try:
        return {"links": durable.find_link_kind(directory), "error": ""}
    except FilesystemUnfit as error:
        return {"links": "", "error": error.message}


def _check_exclusive_file(directory: str) -> None:
    """Raise if a file can be made exclusively twice: registrations are such, whatever names are."""
    path = os.path.join(directory, "exclusive")
    _write(path, b"first")
    try:
        _write(path, b"second")
    except FileExistsError:
        pass
    else:
        raise OSError(errno.EIO, "a file was created exclusively twice")
    with open(path, "rb") as stream:
        if stream.read() != b"first":
            raise OSError(errno.EIO, "an exclusive creation that failed changed the file")


def _links(directory: str) -> dict[str, Any]:
    """Find out how many hard links one file may have, up to a few more than crh-batch makes."""
    path = os.path.join(directory, "linked")
    _write(path)
    made = 1
    try:
        for number in range(_LINKS):
            calls.link(path, f"{path}.{number}")
            made += 1
    except OSError as error:
        return {"most": made, "error": str(error.strerror or error)}
    return {"most": 0, "error": ""}


def _check_replace(directory: str) -> None:
    path = os.path.join(directory, "replaced")
    _write(path, b"old")
    _write(path + ".new", b"new")
    calls.replace(path + ".new", path)
    with open(path, "rb") as stream:
        if stream.read() != b"new":
            raise OSError(errno.EIO, "after rename(2) the old content was read")
    if os.path.lexists(path + ".new"):
        raise OSError(errno.EIO, "after rename(2) the old name was still there")


def _syncs(directory: str) -> dict[str, Any]:
    """Time an fsync(2) of a file that has just been written, and of a directory."""
    path = os.path.join(directory, "synced")
    result: dict[str, Any] = {"file_s": None, "directory_s": None, "error": ""}
    try:
        descriptor = calls.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o644)
        try:
            began = time.monotonic()
            for _ in range(_SYNCS):
                durable.write_all(descriptor, b"x" * 512)
                calls.fsync(descriptor)
            result["file_s"] = round((time.monotonic() - began) / _SYNCS, 5)
        finally:
            os.close(descriptor)
        began = time.monotonic()
        for number in range(_SYNCS):
            os.mkdir(os.path.join(directory, f"synced.{number}"))
            durable.sync_directory(directory)
        result["directory_s"] = round((time.monotonic() - began) / _SYNCS, 5)
    except OSError as error:
        result["error"] = str(error.strerror or error)
    return result


def _names(directory: str) -> dict[str, Any]:
    """Find the names that can't be made, or that a listing gives back in another form."""
    place = os.fsencode(os.path.join(directory, "names"))
    os.mkdir(place)
    refused, made = [], []
    for name in _NAMES:
        try:
            os.mkdir(os.path.join(place, name))
            made.append(name)
        except OSError:
            refused.append(name)
    listed = set(os.listdir(place))
    changed = [name for name in made if name not in listed]
    return {"refused": [_plain(name) for name in refused], "changed": [_plain(name) for name in changed]}


def _plain(name: bytes) -> str:
    return ascii(name if len(name) < 40 else name[:10] + b"...")[1:]


def _check_modes(directory: str) -> None:
    """Raise if modes or owners aren't kept: a batch that others could have written to is refused."""
    path = os.path.join(directory, "private")
    os.mkdir(path, 0o700)
    status = os.lstat(path)
    if stat.S_IMODE(status.st_mode) & 0o077:
        raise OSError(errno.EPERM, f"a directory that was made with mode 0700 has {stat.S_IMODE(status.st_mode):04o}")
    if status.st_uid != os.geteuid():
        raise OSError(errno.EPERM, f"a directory made here belongs to user {status.st_uid}, not to {os.geteuid()}")


def _check_execute(directory: str) -> None:
    """Raise if nothing can be started: programs lie in the batch's directory."""
    path = os.path.join(directory, "program")
    _write(path, b"#!/bin/sh\nexit 0\n", 0o755)
    os.chmod(path, 0o755)
    try:
        done = subprocess.run([path], stdin=subprocess.DEVNULL, capture_output=True, timeout=_PROGRAM_S, check=False)
    except subprocess.TimeoutExpired:
        raise OSError(errno.ETIMEDOUT, f"a script there did not end within {_PROGRAM_S:.0f} s") from None
    if done.returncode:
        raise OSError(errno.EIO, f"a script there ended with {done.returncode}")


def _room(directory: str) -> dict[str, int]:
    """Return what is free to this user; -1 for inodes where the filesystem doesn't count them."""
    found = os.statvfs(directory)
    return {"bytes": found.f_bavail * found.f_frsize, "inodes": found.f_favail if found.f_files else -1}


def _clock(directory: str) -> dict[str, Any]:
    """Return how much the filesystem's clock is ahead of this machine's, and whether it knows but whole seconds."""
    times = []
    for number in range(_TIMES):
        path = os.path.join(directory, f"time.{number}")
        before = time.time()
        _write(path, b"x")
        after = time.time()
        times.append((os.stat(path).st_mtime_ns, before, after))
    ahead = sorted(written / 1e9 - (before + after) / 2 for written, before, after in times)
    return {
        "ahead_s": round(ahead[len(ahead) // 2], 3),
        "whole_seconds": all(written % 10**9 == 0 for written, _, _ in times),
    }
