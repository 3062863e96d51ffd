"""Arrays on a cluster that doesn't see this filesystem: what they need is sent first."""

from __future__ import annotations

from collections.abc import Sequence

from crh_batch.engines.array import ArrayEngine, Other
from crh_batch.engines.base import Started
from crh_batch.hosts.base import FarHost
from crh_batch.hosts.transfers import transferring
from crh_batch.ledger.batch import Batch
from crh_batch.mirror.gone import check_whole
from crh_batch.mirror.host import StagedHost
from crh_batch.mirror.stage import Stage
from crh_batch.mirror.up import bring_up
from crh_batch.plan.arrays import ArrayRequest
from crh_batch.profile import Profile
from crh_batch.schedulers.known import SCHEDULERS


class StagedEngine(ArrayEngine):
    """Starts arrays for a stage of a batch."""

    def __init__(self, stage: Stage, far: FarHost, profile: Profile) -> None:
        super().__init__(SCHEDULERS[stage.scheduler], StagedHost(stage, far), profile, stage=stage.number)
        self._place = stage
        self._far = far

    def start(self, batch: Batch, requests: Sequence[ArrayRequest]) -> list[Started]:
        """Send what isn't there yet, then submit.

        Raises:
            SchedulerError, HostError: as those of other arrays; what was sent needn't be sent again.
        """
        # A fault in the template must show before anything is sent.
        self.scripts(batch.batch_id, requests)
        with transferring(f"sending inputs to {self._place.on}") as transfer:
            bring_up(self._place, self._far, on_bytes=transfer.add, on_total=transfer.expect, say=transfer.tell)
        check_whole(self._place, self._far)
        return super().start(batch, requests)

    def start_other(self, batch: Batch, request: ArrayRequest, other: Other) -> Started:
        """Refuse: nothing but pilots travels.

        Raises:
            NotImplementedError: always; the command line doesn't offer it.
        """
        raise NotImplementedError
