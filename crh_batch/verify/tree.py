"""The .crh files of a tree, and the batches near it."""

from __future__ import annotations

import os
from collections.abc import Iterator

from crh_batch.ledger.batch import is_batch_id
from crh_batch.ledger.paths import REGISTRATION_SUFFIX, STATE_DIRECTORY
from crh_batch.ledger.registration import Registration, read_registration
from crh_batch.ledger.steering import in_threads

# A tomodir's own directories: nobody registers anything in them, and they may hold thousands of files.
_OWN = frozenset({"exe", "config", "rho", "grid", "mod", "inv"})


class Tree:
    """What a walk through a directory found; links are not followed.

    Args:
        top: where the walk began, absolute.
    """

    def __init__(self, top: str) -> None:
        self.top = os.path.abspath(top)
        self.states: list[str] = []
        self.directories: set[str] = set()
        tomodirs = []
        for directory, names, files in _walk(self.top):
            self.directories.update(os.path.join(directory, name) for name in names)
            if STATE_DIRECTORY in names:
                self.states.append(os.path.join(directory, STATE_DIRECTORY))
            tomodirs += [
                os.path.join(directory, name[: -len(REGISTRATION_SUFFIX)])
                for name in files
                if name.endswith(REGISTRATION_SUFFIX) and name != REGISTRATION_SUFFIX
            ]
        # .crh files by the absolute path of the tomodir.
        found = zip(tomodirs, in_threads(read_registration, tomodirs))
        self.registrations: dict[str, Registration] = {path: one for path, one in found if one is not None}

    def holds(self, path: str) -> bool:
        """Return whether a path lies in the tree, so that the walk would have come by."""
        return path.startswith(self.top.rstrip("/") + "/") and f"/{STATE_DIRECTORY}/" not in path

    def registration(self, tomodir: str) -> Registration | None:
        """Return a tomodir's .crh file, now if it lies outside of the tree or was not there at the walk."""
        found = self.registrations.get(os.path.normpath(tomodir))
        return found if found is not None else read_registration(tomodir)

    def find_batch(self, batch_id: str) -> str:
        """Return where a batch lies at, above or below the top; empty if it is in none of these places."""
        directory = self.top
        places = list(self.states)
        while True:
            places.append(os.path.join(directory, STATE_DIRECTORY))
            parent = os.path.dirname(directory)
            if parent == directory:
                break
            directory = parent
        for place in places:
            path = os.path.join(place, batch_id)
            if os.path.isdir(path) and not os.path.islink(path):
                return path
        return ""


def _walk(top: str) -> Iterator[tuple[str, list[str], list[str]]]:
    for directory, names, files in os.walk(top):
        shown = list(names)
        tomodir = "exe" in names
        names[:] = [name for name in names if not name.startswith(".") and not (tomodir and name in _OWN)]
        yield directory, shown, files


def batch_directories(state: str) -> list[str]:
    """Return the directories below a ``.crh-batch`` that have a batch's name, whether they count or not."""
    try:
        names = sorted(name for name in os.listdir(state) if is_batch_id(name))
    except OSError:
        return []
    return [os.path.join(state, name) for name in names]
