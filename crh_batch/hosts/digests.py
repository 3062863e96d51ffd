"""What a file of this machine is known by on another one."""

from __future__ import annotations

import errno
import hashlib
import os
import stat

_READ_BYTES = 1 << 20


def digest_here(path: str, length: int | None = None) -> tuple[int, str]:
    """Return a file's size, and the sha256 of its first ``length`` bytes (all if None).

    Raises:
        OSError: it can't be read, or is no regular file.
    """
    found = hashlib.sha256()
    with open(path, "rb") as stream:
        facts = os.fstat(stream.fileno())
        if not stat.S_ISREG(facts.st_mode):
            raise OSError(errno.EINVAL, "not a regular file", path)
        left = facts.st_size if length is None else length
        while left > 0 and (block := stream.read(min(left, _READ_BYTES))):
            found.update(block)
            left -= len(block)
    return facts.st_size, found.hexdigest()
