"""The workers of one dask scheduler, as a SpecCluster of dask holds them."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import Any

from distributed.deploy.spec import ProcessInterface

from crh_batch.engines.dask.fleet import Fleet
from crh_batch.engines.dask.sizes import Size
from crh_batch.ledger.submissions import Submission


@dataclass(eq=False)
class Member:
    """One worker, from its submission on.

    Args:
        has_come: whether it ever reached the scheduler.
        may_stay: whether it is to go on by itself when the scheduler closes.
    """

    submission: Submission
    size: Size
    has_come: bool = False
    may_stay: bool = False

    @property
    def name(self) -> str:
        """What dask calls it."""
        return self.submission.token


class SubmittedWorker(ProcessInterface):
    """A worker that was submitted before dask hears of it: the ledger comes first.

    Args:
        scheduler: its address, which SpecCluster gives; the worker reads it from the scheduler's place.
    """

    def __init__(self, scheduler: str | None, name: str, member: Member, fleet: Fleet) -> None:
        super().__init__(scheduler=scheduler, name=name)
        self._member = member
        self._fleet = fleet

    async def close(self) -> None:
        """Cancel the job of one that never came. One that came was told by the scheduler, and ends by itself."""
        if not self._member.has_come and not self._member.may_stay:
            await asyncio.to_thread(self._fleet.cancel, [self._member.submission])
        await super().close()


def spec_of(member: Member, fleet: Fleet) -> dict[str, Any]:
    """Return how SpecCluster makes a worker."""
    return {"cls": SubmittedWorker, "options": {"member": member, "fleet": fleet}}
