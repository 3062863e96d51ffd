"""The muster: has as many workers of each size as what is left is worth, and notes who has come and who has died."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Callable
from typing import Any

from crh_batch.engines.dask.crew import Member, spec_of
from crh_batch.engines.dask.fleet import Fleet
from crh_batch.engines.dask.left import Left
from crh_batch.engines.dask.orders import Sizing
from crh_batch.engines.dask.sizes import Size
from crh_batch.engines.living import Living, look
from crh_batch.engines.pilots import settle_intents
from crh_batch.engines.resume import recover
from crh_batch.errors import Busy, DaskError, MaybeSubmitted, Unreachable
from crh_batch.hosts.base import Host
from crh_batch.ledger.batch import Batch
from crh_batch.ledger.custody import custody_of
from crh_batch.ledger.identity import Verdict
from crh_batch.ledger.lost import open_claims
from crh_batch.ledger.submissions import Submission

# How often the scheduler is asked who lives: seldom, but soon after a worker has gone.
_LOOK_EVERY_S = 60.0
_AFTER_A_LOSS_S = (1.0, 4.0, 10.0, 20.0)
# After this long it is asked again for workers that don't come.
_PATIENCE_S = 20.0
# When somebody else is at work on the batch, or the scheduler doesn't answer.
_TRY_AGAIN_S = 5.0
# Workers that end one after another without anything begun: more of them would do the same.
_MOST_IN_VAIN = 4

OnStarted = Callable[[Size, list[Submission]], None]


class Muster:
    """The workers of one driver.

    Args:
        minimum: of each size, as long as the batch has work.
        maximum: of each size.
    """

    def __init__(
        self,
        batch: Batch,
        fleet: Fleet,
        host: Host,
        sizing: Sizing,
        cluster: Any,
        minimum: int,
        maximum: int,
        on_started: OnStarted,
    ) -> None:
        self._batch = batch
        self._fleet = fleet
        self._host = host
        self._sizing = sizing
        self._cluster = cluster
        self._minimum = minimum
        self._maximum = maximum
        self._on_started = on_started
        self._crew: dict[str, Member] = {}
        self._looks: list[float] = [time.monotonic() + _PATIENCE_S]
        self._start_at = 0.0
        self._in_vain = 0
        self._begun = -1
        self._retiring: set[asyncio.Future[Any]] = set()

    @property
    def wanted(self) -> int:
        """How many workers there are, with those that are still to come."""
        return len(self._crew)

    @property
    def present(self) -> int:
        """How many workers have come."""
        names = self._names()
        return sum(1 for name in self._crew if name in names)

    def _names(self) -> dict[str, Any]:
        return {str(one.name): one for one in self._cluster.scheduler.workers.values()}

    async def turn(self, left: Left) -> None:
        """Do what there is to do now.

        Raises:
            DaskError: workers end without beginning anything.
            SchedulerError, HostError: workers can't be had.
        """
        self._note_arrivals()
        await self._scale(left)
        now = time.monotonic()
        if now >= self._looks[0]:
            self._looks = [at for at in self._looks if at > now] or [now + _LOOK_EVERY_S]
            with contextlib.suppress(Busy, Unreachable):
                self._note_deaths(await asyncio.to_thread(self._recover), left)

    def may_stay(self) -> None:
        """Let all go on by themselves when the scheduler closes, also those that are still to come."""
        for one in self._crew.values():
            one.may_stay = True

    async def cancel(self) -> None:
        """End all, and what they run."""
        await asyncio.to_thread(self._fleet.cancel, [one.submission for one in self._crew.values()])

    def send_home(self) -> None:
        """Tell all that have come to close; there is nothing to do any more."""
        names = self._names()
        for one in self._crew.values():
            if one.name in names:
                one.has_come = True
                self._cluster.scheduler.close_worker(names[one.name].address)

    # ---------------------------------------------------------------- how many

    async def _scale(self, left: Left) -> None:
        sizes = self._sizing.sizes
        shares = self._fleet.shares(sizes, [self._sizing.work_of(size, left) for size in sizes])
        ready = {self._sizing.size_of(item_id, state.memory_failures) for item_id, state in left.ready.items()}
        changed = False
        missing: list[tuple[Size, int]] = []
        for size, share in zip(sizes, shares):
            wanted = min(self._maximum, max(self._minimum, share))
            crew = [one for one in self._crew.values() if one.size is size]
            if len(crew) > wanted:
                changed |= self._let_go(crew, len(crew) - wanted)
            elif len(crew) < wanted and (size in ready or len(crew) < self._minimum):
                missing.append((size, wanted - len(crew)))
        missing = self._that_fit(missing)
        if missing and time.monotonic() >= self._start_at:
            changed |= await self._start(missing, left)
        if changed:
            await self._cluster

    def _that_fit(self, missing: list[tuple[Size, int]]) -> list[tuple[Size, int]]:
        """Return how many can be started beside those that still run; on a scheduler all."""
        if not self._fleet.cores:
            return missing
        free = self._fleet.cores - sum(one.size.request.cores for one in self._crew.values())
        fitting: list[tuple[Size, int]] = []
        for size, many in missing:
            many = min(many, max(0, free) // size.request.cores)
            free -= many * size.request.cores
            fitting += [(size, many)] * bool(many)
        return fitting

    def _let_go(self, crew: list[Member], many: int) -> bool:
        """Let idle workers go, first those that are still to come; return whether there were any."""
        names = self._names()
        idle = [one for one in crew if one.name not in names or not names[one.name].processing]
        chosen = sorted(idle, key=lambda one: one.has_come)[:many]
        leaving = [names[one.name].address for one in chosen if one.name in names]
        if leaving:
            # Others take over the answers that dask keeps there, while this goes on.
            retiring = asyncio.ensure_future(
                self._cluster.scheduler.retire_workers(workers=leaving, close_workers=True)
            )
            self._retiring.add(retiring)
            retiring.add_done_callback(self._retiring.discard)
        for one in chosen:
            one.has_come |= one.name in names
            self._drop(one)
        return bool(chosen)

    def _drop(self, one: Member) -> None:
        del self._crew[one.name]
        self._cluster.worker_spec.pop(one.name, None)

    async def _start(self, missing: list[tuple[Size, int]], left: Left) -> bool:
        if left.begun == self._begun and self._in_vain >= _MOST_IN_VAIN:
            raise DaskError(
                f"batch {self._batch.batch_id}: {self._in_vain} workers ended without beginning anything",
                "Their logs, in the batch's logs/, say why; crh-batch submit --engine array does without dask.",
            )
        try:
            started = await asyncio.to_thread(self._start_all, missing)
        except (Busy, Unreachable, MaybeSubmitted):
            # Somebody else is at it, or the next look will tell.
            self._start_at = time.monotonic() + _TRY_AGAIN_S
            self._looks.insert(0, self._start_at)
            return False
        for size, submissions in started:
            self._on_started(size, submissions)
            for submission in submissions:
                member = Member(submission, size)
                self._crew[member.name] = member
                self._cluster.worker_spec[member.name] = spec_of(member, self._fleet)
        return True

    def _start_all(self, missing: list[tuple[Size, int]]) -> list[tuple[Size, list[Submission]]]:
        with custody_of(self._batch):
            return [(size, self._fleet.start(self._batch, size, many)) for size, many in missing]

    # ---------------------------------------------------------------- who lives

    def _note_arrivals(self) -> None:
        """Note who has come, and forget who came and has gone: its job may go on, but takes no orders."""
        names = self._names()
        for one in list(self._crew.values()):
            if one.name in names:
                one.has_come = True
            elif one.has_come:
                self._drop(one)
                self._looks = [time.monotonic() + after for after in _AFTER_A_LOSS_S]

    def _note_deaths(self, living: Living, left: Left) -> None:
        """Forget workers that have died before they came."""
        names = self._names()
        for one in list(self._crew.values()):
            if one.name not in names and living.submission(one.submission) is Verdict.DEAD:
                # Nothing is left of it that could be cancelled.
                one.has_come = True
                self._drop(one)
                self._in_vain = self._in_vain + 1 if left.begun == self._begun else 1
                self._begun = left.begun
        if any(not one.has_come for one in self._crew.values()):
            self._looks[0] = min(self._looks[0], time.monotonic() + _PATIENCE_S)

    def _recover(self) -> Living:
        """Ask who lives; claims of the dead are ready again."""
        self._fleet.reap()
        living = look(self._batch, self._host)
        headers = [claim.header for claim in open_claims(self._batch)]
        if any(header is None or living.verdict(header) is Verdict.DEAD for header in headers):
            with custody_of(self._batch) as custody:
                living = settle_intents(self._batch, self._host)
                recover(self._batch, living, custody)
        return living
