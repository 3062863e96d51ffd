"""Removing what a batch has on other machines: before it goes here, so that nothing is left there that nobody knows."""

from __future__ import annotations

import os

from crh_batch.errors import HostError
from crh_batch.hosts.base import FarHost
from crh_batch.hosts.reach import reach
from crh_batch.ledger.batch import Batch
from crh_batch.mirror.stage import Stage, read_stages

_TIMEOUT_S = 3600.0


def remove_stages(batch: Batch) -> None:
    """Remove the stages of a batch, and what an upload that broke off has left; what is gone is none to remove.

    All machines are asked whether they are there before anything is removed on one of them.

    Raises:
        HostError: one can't be reached, or can't remove its stage; nothing here was removed.
    """
    asked = [(stage, reach(stage.host)) for stage in read_stages(batch.paths)]
    archives = [_archives(stage, far) for stage, far in asked]
    for (stage, far), left in zip(asked, archives):
        far.ask("remove", top=stage.top, batch_id=batch.batch_id, timeout_s=_TIMEOUT_S)
        if left:
            _remove_files(far, left)


def _archives(stage: Stage, far: FarHost) -> list[str]:
    """Return the archive of inputs, and the parts of it, that lie beside a stage (see ``up.py``)."""
    directory, name = os.path.split(stage.top)
    found = far.ask("list", path=directory)["entries"] or []
    return [os.path.join(directory, str(one[0])) for one in found if str(one[0]).startswith(f"{name}.tar.gz")]


def _remove_files(far: FarHost, paths: list[str]) -> None:
    done = far.run(["rm", "-f", "--", *paths], timeout_s=_TIMEOUT_S)
    if done.exit_status != 0:
        raise HostError(
            f"{far.name}: {paths[0]}: can't be removed: {done.stderr.strip()}",
            "Mend the cause, and run the command again.",
            far.name,
        )
