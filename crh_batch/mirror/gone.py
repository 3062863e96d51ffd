"""Stages that are gone, or of which files are: scratch filesystems are cleaned, and users tidy up."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator

from crh_batch.errors import ConnectionLost, HostError, StageGone
from crh_batch.hosts.base import FarHost
from crh_batch.mirror.stage import Stage


@contextlib.contextmanager
def noticing(stage: Stage, far: FarHost) -> Iterator[None]:
    """Say of a request that failed whether it did because the stage is gone.

    Raises:
        StageGone: in place of another HostError, when that is so.
    """
    try:
        yield
    except ConnectionLost:
        raise
    except HostError as error:
        if _is_gone(stage, far):
            raise StageGone(
                f"{far.name}: {stage.top}: isn't there any more (are old files removed there?)",
                "What was fetched is here. Give up the rest with crh-batch cancel, then submit again.",
                far.name,
                stage.top,
            ) from error
        raise


def _is_gone(stage: Stage, far: FarHost) -> bool:
    """Return whether the directory for stages is there without the names of this one; not if a filesystem is missing.

    Without the directory of names no pilot can take a tomodir, whatever else is left or was made anew.
    """
    try:
        paths = [stage.there.names, os.path.dirname(stage.top)]
        return list(far.ask("exists", paths=paths)["exists"]) == [False, True]
    except HostError:
        return False


def removed_files(stage: Stage, far: FarHost) -> list[str]:
    """Return which files that every pilot reads aren't there any more; cleaning takes old files, not directories.

    Raises:
        HostError: the machine can't be reached.
    """
    if not stage.has_arrived:
        return []
    paths = [stage.there.settings, stage.there.items, stage.there.pilot]
    there = far.ask("exists", paths=paths)["exists"]
    return [path for path, exists in zip(paths, there) if not exists]


def check_whole(stage: Stage, far: FarHost) -> None:
    """Refuse to start pilots where they could only fail.

    Raises:
        HostError: the machine can't be reached, or files of the stage were removed there.
    """
    removed = removed_files(stage, far)
    if removed:
        raise HostError(
            f"{far.name}: {removed[0]}: isn't there any more, so no pilot can run there (are old files removed there?)",
            "Fetch what is finished with crh-batch collect, give up the rest with crh-batch cancel, then submit again.",
            far.name,
        )
