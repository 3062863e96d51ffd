"""Reading files that others may be writing, replacing or playing tricks with: regular files only, never a hang."""

from __future__ import annotations

import errno
import os
import stat
from typing import NamedTuple

from crh_batch.errors import TomodirError

TEXT_LIMIT_BYTES = 1 << 20
"""Above this a file is no .cfg, no error.dat and no crh.json."""

DATA_LIMIT_BYTES = 1 << 30
"""Above this a file is no mesh and no list of measurements that this machine should take into its memory."""

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
        left = limit_bytes + 1
        # The size is not asked for: a file that is being written grows between fstat and read.
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


def is_regular_file(path: str) -> bool:
    """Whether a path leads, perhaps by a symbolic link, to a regular file that can be seen."""
    try:
        return stat.S_ISREG(os.stat(path).st_mode)
    except (OSError, ValueError):
        return False


def explain(cause: OSError | ValueError) -> str:
    """Say in words what a failed system call means, without the path and the number that str() adds."""
    if isinstance(cause, OSError):
        return cause.strerror or type(cause).__name__
    return str(cause)


def _open_regular(path: str) -> int:
    descriptor = os.open(path, _FLAGS)
    try:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise OSError(errno.EINVAL, "is not a regular file", path)
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor
