"""Finding tomodirs in a tree, however deep, and whatever else lies there."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator

from crh_batch.tomodir.files import explain

CONFIGS = ("crmod.cfg", "crtomo.cfg")
"""The files in exe/ that make a directory a tomodir."""

# A tomodir's own directories: no tomodir lies in them, and mod/ and inv/ may hold thousands of files.
_OWN = frozenset({"exe", "config", "rho", "grid", "mod", "inv"})

STAGE_MARKER = ".crh-batch-stage"
"""A directory with a file of this name holds copies that another machine sent here: they are run from there."""

Problem = Callable[[str, str], None]


def find_tomodirs(root: str, on_problem: Problem | None = None) -> Iterator[str]:
    """Find every directory below ``root``, or ``root`` itself, that holds exe/crmod.cfg or exe/crtomo.cfg.

    Nested ones are found too. Symbolic links to directories are not followed, so there are no loops and nothing is
    found twice; names that begin with a dot are left out, and with them the ledger's own directories. What another
    machine sent here to be run is left out, too.

    Args:
        root: where to look.
        on_problem: is told the relative path and what is wrong of each directory that can't be listed; the search
            goes on without it.

    Yields:
        Paths relative to ``root``, "." for itself; parents before children, siblings by name.
    """
    waiting = ["."]
    while waiting:
        relative = waiting.pop()
        directory = root if relative == "." else os.path.join(root, relative)
        try:
            names, has_exe = _list_directories(directory)
        except (OSError, ValueError) as cause:
            if on_problem is not None:
                on_problem(relative, explain(cause))
            continue
        if has_exe and is_tomodir(directory):
            yield relative
            names = [name for name in names if name not in _OWN]
        names.sort(reverse=True)  # the last one in is looked at first
        waiting.extend(names if relative == "." else [f"{relative}/{name}" for name in names])


def is_tomodir(directory: str) -> bool:
    """Whether a directory holds exe/crmod.cfg or exe/crtomo.cfg, be they files or something else that is told of."""
    return any(os.path.lexists(os.path.join(directory, "exe", name)) for name in CONFIGS)


def _list_directories(directory: str) -> tuple[list[str], bool]:
    """Return the names of the directories to look into, and whether there is an exe, perhaps a link."""
    names = []
    has_exe = False
    with os.scandir(directory) as entries:
        for entry in entries:
            name = entry.name
            if name == STAGE_MARKER:
                return [], False
            if name == "exe":
                has_exe = True
            # No stat here: the directory entry itself says what it is, on all filesystems that clusters use.
            if entry.is_dir(follow_symlinks=False) and not name.startswith("."):
                names.append(name)
    return names, has_exe
