"""Whether a tomodir's inputs still are what a run was made from."""

from __future__ import annotations

import errno
import hashlib
import os
import stat
from collections.abc import Container, Iterable
from typing import Any

from crh_batch.ledger.reading import open_regular

_CHUNK = 1 << 20
# What stands in the file's place is to blame, not the filesystem.
_OF_THE_FILE = frozenset({errno.EACCES, errno.EPERM, errno.ELOOP, errno.EINVAL, errno.ENXIO, errno.ENAMETOOLONG})


def changed_inputs(tomodir: str, inputs: Iterable[Any], outside: Container[str] = ()) -> list[str]:
    """Return which of a run's inputs are others now; what lies outside the tomodir is not looked at as a rule.

    Args:
        inputs: name, size in bytes, modification time in ns, and sha256 of each, as they were when it ran.
        outside: names of those outside that are looked at all the same: results of others, which are in place.
    """
    changed = []
    for name, size, mtime_ns, sha256 in inputs:
        if str(name).startswith(("../", "/")) and name not in outside:
            continue
        path = os.path.join(tomodir, name)
        try:
            status = os.stat(path)
            if not stat.S_ISREG(status.st_mode):
                changed.append(f"{name} (is not a regular file any more)")
            elif (status.st_size, status.st_mtime_ns) != (size, mtime_ns) and sha256_of(path) != sha256:
                changed.append(str(name))
        except (FileNotFoundError, NotADirectoryError):
            changed.append(f"{name} (gone)")
        except OSError as error:
            if error.errno not in _OF_THE_FILE:
                raise
            changed.append(f"{name} (can't be read: {error.strerror})")
    return changed


def sha256_of(path: str) -> str:
    """Return a regular file's sum as hexadecimal digits.

    Raises:
        OSError: it is not there, not readable or not a regular file (EINVAL).
    """
    digest = hashlib.sha256()
    with open_regular(path) as stream:
        for chunk in iter(lambda: stream.read(_CHUNK), b""):
            digest.update(chunk)
    return digest.hexdigest()
