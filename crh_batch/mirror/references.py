"""What a tomodir reads, and where that finds its place on another filesystem."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping
from typing import Any


def unfit_for_staging(root: str, path: str, inputs: Iterable[str]) -> str:
    """Return why a tomodir can't run on another filesystem; empty if it can.

    Args:
        root: the survey's directory.
        path: the tomodir, relative to it.
        inputs: what it reads, relative to the tomodir or absolute.
    """
    for name in inputs:
        if name.startswith("/"):
            return (
                f"{name}: an absolute path, which is another file on the cluster or none; name it relative to the "
                "tomodir, and it goes along"
            )
        if name.startswith("../"):
            meant = os.path.realpath(os.path.join(root, path, name))
            place = place_of(path, name)
            if meant != os.path.realpath(os.path.join(root, place)):
                return f"{name}: leads through a symbolic link to {meant}; name that file without the link"
            if climb_of(place) > len(directories_of(root)):
                return f"{name}: leads above the root directory; mend the reference"
    return ""


def place_of(path: str, name: str) -> str:
    """Return where an input lies, relative to the survey's directory."""
    return os.path.normpath(os.path.join(path, name))


def inputs_of(stages: Iterable[Mapping[str, Any]]) -> Iterator[str]:
    """Yield what an item's stages read of the survey's files, relative to the tomodir.

    What others of the batch make isn't among it: that is taken from their results.
    """
    for stage in stages:
        made = stage.get("sources") or ()
        for name in stage["inputs"]:
            if name not in made and not name.startswith("/"):
                yield str(name)


def directories_of(root: str) -> list[str]:
    """Return the names of the directories that lead to a survey, from the root directory on."""
    return [part for part in os.path.abspath(root).split(os.sep) if part]


def climb_of(path: str) -> int:
    """Return how far a path leads above the survey's directory."""
    parts = path.split("/")
    return next((place for place, part in enumerate(parts) if part != ".."), len(parts))
