"""Batches that a group shares: what is made in a shared directory is shared too, whatever the umask.

A directory is shared if it hands its group on (setgid) and lets the group write. A batch is made private (0700) or
shared (2770), and everything in it follows its directory, so no writer has to know which of the two it is. A umask of
077 on some node would otherwise hide a pilot's results from its own batch.
"""

from __future__ import annotations

import contextlib
import os
import stat
from collections.abc import Iterable

_SHARED = stat.S_ISGID | stat.S_IWGRP
# A directory's kind doesn't change while it lives, and files are made in few directories.
_kinds: dict[str, bool] = {}


def is_shared(directory: str) -> bool:
    """Return whether what is made in a directory is its group's too; False if it can't be seen."""
    directory = directory or "."
    if directory not in _kinds:
        try:
            _kinds[directory] = os.stat(directory).st_mode & _SHARED == _SHARED
        except OSError:
            return False
    return _kinds[directory]


def share(descriptor: int, directory: str) -> None:
    """Let the group read and write a file that was just made in ``directory``, if that is shared."""
    if not is_shared(directory):
        return
    status = os.fstat(descriptor)
    # An existing file may be a colleague's, who has shared it already.
    if status.st_uid == os.geteuid():
        os.fchmod(descriptor, stat.S_IMODE(status.st_mode) | 0o660 | (0o010 if status.st_mode & 0o100 else 0))


def share_output(directory: str) -> None:
    """Share what this process prints to, if that is a file of its own and ``directory`` is shared.

    Schedulers make the file with the umask of the job.
    """
    for descriptor in (1, 2) if is_shared(directory) else ():
        with contextlib.suppress(OSError):
            if stat.S_ISREG(os.fstat(descriptor).st_mode):
                share(descriptor, directory)


def make_directory(path: str) -> None:
    """Make a directory, shared if the one above is; otherwise its group may never write, whatever the umask.

    Raises:
        OSError: it can't be made, or exists.
    """
    os.mkdir(path, 0o755)
    if is_shared(os.path.dirname(path)):
        os.chmod(path, 0o2770)


def make_directories(path: str) -> None:
    """Make a directory and those above it that are missing, as ``make_directory`` does; an existing one is left.

    Raises:
        OSError: one can't be made.
    """
    parent = os.path.dirname(path)
    if parent and not os.path.isdir(parent):
        make_directories(parent)
    try:
        make_directory(path)
    except FileExistsError:
        if not os.path.isdir(path):
            raise


def share_with(group_id: int, paths: Iterable[str]) -> None:
    """Give files and directories outside of a batch to a group, as far as that is allowed: results in tomodirs."""
    for path in paths:
        with contextlib.suppress(OSError):
            os.chown(path, -1, group_id)
            mode = stat.S_IMODE(os.stat(path).st_mode)
            os.chmod(path, mode | (0o2770 if os.path.isdir(path) else 0o660))
