"""Paths, and writes that stay, on the other side of a connection; sent as text, as remote_side.py says.

Paths come as text and are bytes here, whatever locale the login shell has.
"""

# ruff: noqa: UP006, UP035, UP045 - Python 3.6 has no dict[str, Any].
from __future__ import annotations

import base64
import errno
import hashlib
import os
from typing import Dict, List, Optional, Tuple

_READ_BYTES = 1 << 20


def as_path(text: str) -> bytes:
    """Return a path as the client means it: UTF-8, and bytes that are none as they are."""
    return text.encode("utf-8", "surrogateescape")


def as_text(path: bytes) -> str:
    """Return a path as the client reads it."""
    return path.decode("utf-8", "surrogateescape")


def digest_of(path: bytes, length: Optional[int] = None) -> Tuple[int, str]:
    """Return a file's size, and the sha256 of its first ``length`` bytes; -1 and nothing if there is none."""
    found = hashlib.sha256()
    try:
        stream = open(path, "rb")
    except FileNotFoundError:
        return -1, ""
    with stream:
        size = os.fstat(stream.fileno()).st_size
        left = size if length is None else length
        while left > 0:
            block = stream.read(min(left, _READ_BYTES))
            if not block:
                break
            found.update(block)
            left -= len(block)
    return size, found.hexdigest()


def write_durable(path: bytes, data: bytes, mode: int) -> None:
    """Write a whole file that appears at once, and stays."""
    directory, name = os.path.split(path)
    part = os.path.join(directory, b"." + name[:100] + b"." + random_word() + b".part")
    try:
        descriptor = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, mode)
        try:
            write_all(descriptor, data)
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
        os.replace(part, path)
    except OSError as error:
        remove_quietly(part)
        raise OSError(error.errno, error.strerror, path) from None
    sync_directory(directory)


def random_word() -> bytes:
    """Return eight random letters and digits."""
    return base64.b32encode(os.urandom(5)).lower()


def write_all(descriptor: int, data: bytes) -> None:
    """Write every byte, whatever number of calls that takes."""
    view = memoryview(data)
    while view:
        view = view[os.write(descriptor, view) :]


def named(error: OSError, path: bytes) -> OSError:
    """Return an error of a call that took a descriptor, with the file's name."""
    return OSError(error.errno, error.strerror, error.filename if error.filename is not None else path)


def remove_quietly(path: bytes) -> None:
    """Remove a file if that can be done."""
    try:
        os.unlink(path)
    except OSError:
        pass


def sync_path(path: bytes) -> None:
    """Make a file's content durable."""
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    except OSError as error:
        raise named(error, path) from None
    finally:
        os.close(descriptor)


def sync_directory(path: bytes) -> None:
    """Make the names in a directory durable, where its filesystem has a call for that."""
    try:
        sync_path(path or b".")
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.ENOTSUP, errno.EBADF, errno.EROFS, errno.EACCES):
            raise


def sync_many(paths: List[bytes]) -> None:
    """Make many files and directories durable: on disks of that machine in one step, else each by itself."""
    import ctypes

    single = []
    done = set()
    for path in paths:
        device = os.lstat(path).st_dev
        if device in done:
            continue
        function = getattr(ctypes.CDLL(None, use_errno=True), "syncfs", None)
        if function is None or _filesystem(device) not in ("ext2", "ext3", "ext4", "xfs", "btrfs", "tmpfs", "overlay"):
            # syncfs(2) may stop short of a network filesystem's server.
            single.append(path)
            continue
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            if function(descriptor) != 0:
                raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()), path)
        finally:
            os.close(descriptor)
        done.add(device)
    from concurrent.futures import ThreadPoolExecutor

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(sync_directory_or_file, single))


def sync_directory_or_file(path: bytes) -> None:
    """Make either durable."""
    if os.path.isdir(path):
        sync_directory(path)
    else:
        sync_path(path)


def _filesystem(device: int) -> str:
    """Return a filesystem's type, from /proc/self/mountinfo (proc(5)); empty if unknown."""
    if device not in _filesystems:
        wanted = f"{os.major(device)}:{os.minor(device)}"
        _filesystems[device] = ""
        try:
            with open("/proc/self/mountinfo", encoding="utf-8", errors="replace") as stream:
                for line in stream:
                    before, _, after = line.partition(" - ")
                    if before.split()[2] == wanted:
                        _filesystems[device] = after.split()[0]
        except OSError:
            pass
    return _filesystems[device]


_filesystems: Dict[int, str] = {}
