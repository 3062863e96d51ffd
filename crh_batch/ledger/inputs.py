"""Whether a tomodir's inputs still are what a run was made from."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Container, Iterable
from typing import Any

_CHUNK = 1 << 20


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
            if (status.st_size, status.st_mtime_ns) != (size, mtime_ns) and sha256_of(path) != sha256:
                changed.append(str(name))
        except FileNotFoundError:
            changed.append(f"{name} (gone)")
    return changed


def sha256_of(path: str) -> str:
    """Return a file's sum as hexadecimal digits."""
    digest = hashlib.sha256()
    with open(path, "rb") as stream:
        for chunk in iter(lambda: stream.read(_CHUNK), b""):
            digest.update(chunk)
    return digest.hexdigest()
