"""Reading files that others may be writing, replacing or playing tricks with: regular files only, never a hang."""

from __future__ import annotations

import errno
import os
import stat
from typing import BinaryIO, NamedTuple

from crh_batch.errors import TomodirError

TEXT_LIMIT_BYTES = 1 << 20
"""Above this a file is no .cfg, no error.dat and no crh.json."""

DATA_LIMIT_BYTES = 256 << 20
"""Above this a file is no mesh and no list of measurements: a million nodes, or measurements, take 100 MB."""

# NONBLOCK: opening a FIFO without a writer would wait for ever. On a regular file it changes nothing.
_FLAGS = os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOCTTY


class Ends(NamedTuple):
    """The first and the last bytes of a file; they overlap when it is short."""

    head: bytes
    tail: bytes


def read_bytes(path: str, limit_bytes: int) -> bytes:
    """Return what a regular file holds.

    Raises:
        OSError: not there, not readable, not a regular file (EINVAL) or longer than ``limit_bytes`` (EFBIG).
    """
    descriptor = _open_regular(path)
    try:
        parts = []
        # What is too large is not read at all. Else the size says nothing: a file that is being written grows.
        left = limit_bytes + 1 if os.fstat(descriptor).st_size <= limit_bytes else 0
        while left > 0:
            part = os.read(descriptor, min(left, 1 << 20))
            if not part:
                break
            parts.append(part)
            left -= len(part)
    finally:
        os.close(descriptor)
    if left <= 0:
        raise OSError(errno.EFBIG, f"is longer than {limit_bytes} bytes", path)
    return b"".join(parts)


def open_regular(path: str) -> BinaryIO:
    """Open a regular file for reading, as ``open(path, "rb")`` does, but never wait for a FIFO or read a device.

    Raises:
        OSError: not there, not readable, or not a regular file (EINVAL).
        ValueError: the path holds a NUL.
    """
    return os.fdopen(_open_regular(path), "rb")


def read_ends(path: str, head_bytes: int, tail_bytes: int) -> Ends:
    """Return the beginning and the end of a regular file; the errors are those of ``read_bytes``."""
    descriptor = _open_regular(path)
    try:
        size = os.fstat(descriptor).st_size
        head = os.pread(descriptor, head_bytes, 0) if head_bytes else b""
        if size <= len(head):
            return Ends(head, head[-tail_bytes:])
        return Ends(head, os.pread(descriptor, tail_bytes, max(0, size - tail_bytes)))
    finally:
        os.close(descriptor)


def load(path: str, error: type[TomodirError], next_step: str, limit_bytes: int = DATA_LIMIT_BYTES) -> bytes:
    """Return what a regular file holds, or raise ``error`` with the path, what is wrong and the next step."""
    try:
        return read_bytes(path, limit_bytes)
    except (OSError, ValueError) as cause:
        raise error(f"{path}: {explain(cause)}", next_step, path) from cause


def explain(cause: OSError | ValueError) -> str:
    """Say in words what a failed system call means, without the path and the number that str() adds."""
    if isinstance(cause, OSError):
        return cause.strerror or type(cause).__name__
    return str(cause)


def _open_regular(path: str) -> int:
    descriptor = os.open(path, _FLAGS)
    try:
        mode = os.fstat(descriptor).st_mode
        if not stat.S_ISREG(mode):
            raise OSError(errno.EINVAL, f"is not a regular file{_kind(mode)}", path)
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor


def _kind(mode: int) -> str:
    """Return what something is instead, in words, as the end of a sentence."""
    kinds = {stat.S_IFIFO: "a named pipe (FIFO)", stat.S_IFDIR: "a directory", stat.S_IFCHR: "a device"}
    kind = kinds.get(stat.S_IFMT(mode))
    return f" but {kind}" if kind else ""
