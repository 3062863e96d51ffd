"""The one directory in which a cluster lives, and what becomes of it when its test process was killed."""

from __future__ import annotations

import os
import shutil
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

# Sockets below it must fit into the 108 bytes of sun_path, so it does not follow a long TMPDIR.
PARENT = Path("/tmp")
_OWNER = "owner"
_GRACE_S = 30.0


def make_directory(prefix: str, path: Path | None = None) -> Path:
    """Make a directory that belongs to this process.

    Args:
        prefix: how its name begins, for ``remove_dead_directories``.
        path: where it must be, and must not be yet; below ``PARENT`` if not given.
    """
    if path is None:
        path = Path(tempfile.mkdtemp(prefix=prefix, dir=PARENT))
    else:
        path.mkdir(mode=0o700)
    (path / _OWNER).write_text(_life_of(os.getpid()))
    return path


def remove_dead_directories(prefix: str, before: Callable[[Path], None] = lambda path: None) -> None:
    """Remove the directories whose process is gone and could not do it itself.

    Args:
        before: takes back what a directory's cluster has left elsewhere; called with the directory.
    """
    for owner in PARENT.glob(f"{prefix}*/{_OWNER}"):
        try:
            life = owner.read_text()
            age_s = time.time() - owner.stat().st_mtime
        except OSError:
            continue  # RACE: another test process removes it
        pid = life.partition(" ")[0]
        # One that is being made has an empty file, and the daemons of one that has just died may still be ending.
        if (not pid or _life_of(int(pid)) != life) and age_s > _GRACE_S:
            before(owner.parent)
            shutil.rmtree(owner.parent, ignore_errors=True)


def _life_of(pid: int) -> str:
    """Return what tells this process from a later one with its pid, or "" when there is none."""
    try:
        started = Path(f"/proc/{pid}/stat").read_text(errors="replace").rpartition(")")[2].split()[19]
    except OSError:
        return ""
    return f"{pid} {started}"
