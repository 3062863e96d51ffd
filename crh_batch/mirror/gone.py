"""Stages that are gone: scratch filesystems are cleaned, and users tidy up."""

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
