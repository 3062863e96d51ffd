"""The driver: hands a batch's ready tomodirs to dask, and has as many workers as they are worth.

The ledger is asked again and again what is ready; dask is told. Whatever dask forgets, repeats or gives up is only an
order that is given again: nothing is lost or doubled by it.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import Enum
from typing import Any

from crh_batch.engines.dask.crew import Member, spec_of
from crh_batch.engines.dask.fleet import Fleet
from crh_batch.engines.dask.left import Left, look_at
from crh_batch.engines.dask.naming import group_of, item_id_of, key_of
from crh_batch.engines.dask.place import Contact, Options, Place, this_contact
from crh_batch.engines.dask.sizes import Size
from crh_batch.engines.dask.task import run_tomodir
from crh_batch.engines.living import Living, look
from crh_batch.engines.pilots import settle_intents
from crh_batch.engines.resume import recover, work_of
from crh_batch.errors import Busy, CrhBatchError, DaskError, MaybeSubmitted, Unreachable
from crh_batch.hosts.base import Host
from crh_batch.ledger.batch import Batch
from crh_batch.ledger.custody import custody_of
from crh_batch.ledger.identity import Verdict
from crh_batch.ledger.lost import open_claims
from crh_batch.ledger.names import StateName
from crh_batch.ledger.session import Job
from crh_batch.ledger.submissions import Submission
from crh_batch.plan.arrays import ClassWork

_PAUSE_S = 0.25
_MAX_PAUSE_S = 10.0
_LISTING_SHARE = 20.0
# Tasks that dask knows at a time; more would only make its listings long.
_MOST_TASKS = 5000
# How often one attempt is handed out before it is said that something is wrong.
_MOST_ORDERS = 25
# How often the scheduler is asked who lives: seldom, but soon after a worker has gone.
_LOOK_EVERY_S = 60.0
_AFTER_A_LOSS_S = (1.0, 4.0, 10.0, 20.0)
# Workers that end one after another without anything begun: more of them would do the same.
_MOST_IN_VAIN = 4

CONFIG: dict[str, Any] = {
    # A death is no tomodir's fault; the ledger counts attempts, and its policy ends them.
    "distributed.scheduler.allowed-failures": 1_000_000,
    "distributed.scheduler.work-stealing": True,
    "distributed.comm.require-encryption": True,
    "distributed.deploy.lost-worker-timeout": "1s",
    "distributed.admin.large-graph-warning-threshold": "1GB",
}


class Ending(Enum):
    """How driving ended: all is over; workers were left to go on alone; all were told to stop."""

    OVER = "over"
    LEFT = "left"
    STOPPED = "stopped"


@dataclass
class News:
    """What a driver tells whoever started it.

    Args:
        on_contact: called once, when the dashboard can be opened.
        on_counts: called with the states after each look, and how many workers are at work and wanted.
        on_started: called for workers that were started.
    """

    on_contact: Callable[[Contact], None] = lambda contact: None
    on_counts: Callable[[Counter[StateName], int, int], None] = lambda counts, present, wanted: None
    on_started: Callable[[Size, list[Submission]], None] = lambda size, submissions: None


@dataclass
class _Orders:
    """What dask was told: a future for each tomodir, and how often each attempt was handed out."""

    futures: dict[int, Any] = field(default_factory=dict)
    given: Counter[tuple[int, int]] = field(default_factory=Counter)


class Driver:
    """Drives one batch to its end."""

    def __init__(
        self, batch: Batch, fleet: Fleet, host: Host, place: Place, options: Options, most: int, news: News
    ) -> None:
        self._batch = batch
        self._fleet = fleet
        self._host = host
        self._place = place
        self._options = options
        self._most = options.maximum or most
        self._news = news
        self._sizes: list[Size] = []
        self._size_of: dict[tuple[int, int], Size] = {}
        self._crew: dict[str, Member] = {}
        self._orders = _Orders()
        self._looks: list[float] = [time.monotonic() + _LOOK_EVERY_S]
        self._in_vain = 0
        self._begun = -1
        self._retry_at = 0.0
        self._wish: Ending | None = None
        self._wished = asyncio.Event()
        self._cluster: Any = None
        self._client: Any = None

    def end(self, how: Ending) -> None:
        """Stop driving, leave workers to themselves or end them; to be called in the loop. The harder wish wins."""
        if self._wish is not Ending.STOPPED:
            self._wish = how
        self._wished.set()

    async def run(self) -> Ending:
        """Drive until all is over, or ``end`` was called.

        Raises:
            DaskError: workers don't come, or come and do nothing.
            SchedulerError, HostError: workers can't be had.
        """
        import dask
        from distributed import Client, Scheduler, SpecCluster
        from distributed.security import Security

        logging.getLogger("distributed").setLevel(logging.ERROR)
        security = Security.temporary()
        self._place.write_secrets((security.tls_ca_file, security.tls_worker_cert, security.tls_worker_key))
        with dask.config.set({**CONFIG, "distributed.scheduler.default-task-durations": self._durations()}):
            options: dict[str, Any] = {
                "dashboard_address": self._options.dashboard_address,
                "dashboard": True,
                "security": security,
                "protocol": "tls://",
                "port": 0,
            }
            if self._options.interface:
                options["interface"] = self._options.interface
            elif self._options.local:
                options["host"] = "127.0.0.1"
            scheduler = {"cls": Scheduler, "options": options}
            cluster = SpecCluster({}, scheduler, asynchronous=True, security=security, name="crh-batch", silence_logs=0)
            async with cluster, Client(cluster, asynchronous=True, security=security, set_as_default=False) as client:
                self._cluster, self._client = cluster, client
                self._news.on_contact(self._introduce())
                try:
                    return await self._drive()
                except BaseException:
                    # Whatever it was, what runs may go on: the ledger is whole.
                    await self._leave()
                    raise

    def _introduce(self) -> Contact:
        from crh_batch.engines.dask.page import add_pages

        scheduler = self._cluster.scheduler
        add_pages(scheduler, self._batch)
        host = self._options.dashboard_address.rsplit(":", 1)[0]
        port = int(scheduler.services["dashboard"].port) if "dashboard" in scheduler.services else 0
        contact = this_contact(scheduler.address, host, port, Job(), time.time())
        self._place.write_contact(contact)
        return contact

    def _durations(self) -> dict[str, str]:
        """Return how long tasks of each group may take, as the batch estimates it; dask knows better later."""
        sums: dict[str, list[float]] = {}
        for item in self._batch.items:
            sums.setdefault(group_of(item), []).append(item.estimate_s)
        return {name: f"{max(0.001, sum(all_s) / len(all_s)):.3f}s" for name, all_s in sums.items()}

    # ---------------------------------------------------------------- life

    async def _drive(self) -> Ending:
        while self._wish is None:
            began = time.monotonic()
            left = await asyncio.to_thread(look_at, self._batch)
            took = time.monotonic() - began
            self._news.on_counts(left.counts, self._present(), len(self._crew))
            if left.is_over:
                await self._send_home(list(self._crew.values()))
                return Ending.OVER
            await self._turn(left)
            pause_s = min(max(_PAUSE_S, took * _LISTING_SHARE), _MAX_PAUSE_S)
            with contextlib.suppress(asyncio.TimeoutError):
                await asyncio.wait_for(self._wished.wait(), pause_s)
        if self._wish is Ending.STOPPED:
            await asyncio.to_thread(self._fleet.cancel, [one.submission for one in self._crew.values()])
        else:
            await self._leave()
        return self._wish

    async def _leave(self) -> None:
        """Close the scheduler so that workers go on by themselves, and those that are still to come do so too."""
        for one in self._crew.values():
            one.may_stay = True
        # First the client, which would try to find its scheduler again.
        await self._client.close()
        await self._cluster.scheduler.close()

    async def _turn(self, left: Left) -> None:
        self._note_arrivals()
        self._place_items(left)
        await self._take_back(left)
        self._hand_out(left)
        await self._scale(left)
        if time.monotonic() >= self._looks[0]:
            del self._looks[0]
            if not self._looks:
                self._looks = [time.monotonic() + _LOOK_EVERY_S]
            await self._look(left)

    # ---------------------------------------------------------------- tasks

    def _place_items(self, left: Left) -> None:
        """Find a size for what is ready, and make new ones for what fits into none."""
        homeless: dict[tuple[int, bool], list[int]] = {}
        for item_id, failures in left.soon.items():
            if (item_id, failures) in self._size_of:
                continue
            item = self._batch.items[item_id]
            need = self._batch.need_bytes(item, failures)
            fitting = [size for size in self._sizes if size.takes(item, need)]
            if fitting:
                self._size_of[item_id, failures] = min(fitting, key=lambda size: size.request.memory_bytes)
            else:
                homeless.setdefault((item.threads, failures > 0), []).append(item_id)
        if not homeless:
            return
        groups = [homeless[key] for key in sorted(homeless, key=lambda key: (-key[0], key[1]))]
        requests = self._fleet.plan([self._work(ids, left.soon) for ids in groups])
        new = [Size(request) for request in requests]
        self._sizes += [size for size in new if not any(one.serves(size.request) for one in self._sizes)]
        for ids in groups:
            for item_id in ids:
                item, failures = self._batch.items[item_id], left.soon[item_id]
                need = self._batch.need_bytes(item, failures)
                # Where nothing is large enough, the largest may try: the estimate is one.
                widths = [size for size in self._sizes if size.takes(item, 0)]
                fitting = [size for size in widths if size.takes(item, need)]
                by_memory = sorted(fitting or widths, key=lambda size: size.request.memory_bytes)
                self._size_of[item_id, failures] = by_memory[0] if fitting else by_memory[-1]

    def _work(self, ids: list[int], failures: dict[int, int]) -> ClassWork:
        item_class = next(one for one in self._batch.settings.classes if one.first <= ids[0] < one.stop)
        return work_of(self._batch, item_class, {item_id: failures[item_id] for item_id in sorted(ids)})

    async def _take_back(self, left: Left) -> None:
        """Forget orders that are through, and take back those that wait at a worker which is about to leave."""
        for item_id, future in list(self._orders.futures.items()):
            if future.done():
                del self._orders.futures[item_id]
                future.release()
        waiting: list[Any] = []
        for state in self._cluster.scheduler.workers.values():
            if state.resources and not any(state.resources.values()):
                for task in state.processing:
                    with contextlib.suppress(ValueError, IndexError):
                        item_id = item_id_of(str(task.key))
                        if item_id in left.ready and item_id in self._orders.futures:
                            waiting.append(self._orders.futures.pop(item_id))
        if waiting:
            await self._client.cancel(waiting)

    def _hand_out(self, left: Left) -> None:
        for item_id, state in left.ready.items():
            if len(self._orders.futures) >= _MOST_TASKS:
                break
            if item_id in self._orders.futures:
                continue
            item = self._batch.items[item_id]
            order = self._orders.given[item_id, state.attempt]
            if order >= _MOST_ORDERS:
                raise DaskError(
                    f"{item.path}: was given to workers {order} times, and none began with it",
                    "Look at the workers' logs in the batch's logs/; crh-batch submit --engine array does without "
                    "dask.",
                )
            self._orders.given[item_id, state.attempt] += 1
            size = self._size_of[item_id, state.memory_failures]
            # The batch's order, which is by the user's priority and then longest first.
            self._orders.futures[item_id] = self._client.submit(
                run_tomodir,
                item_id,
                key=key_of(item, state.attempt, order),
                priority=-item_id,
                resources=size.demand(item),
                pure=False,
                retries=0,
            )

    # ---------------------------------------------------------------- workers

    def _present(self) -> int:
        return sum(1 for one in self._crew.values() if one.name in self._names())

    def _names(self) -> dict[str, Any]:
        return {str(one.name): one for one in self._cluster.scheduler.workers.values()}

    def _note_arrivals(self) -> None:
        names = self._names()
        for one in list(self._crew.values()):
            if one.name in names:
                one.has_come = True
            elif one.has_come:
                self._drop(one)
                now = time.monotonic()
                self._looks = [now + after for after in _AFTER_A_LOSS_S]

    def _drop(self, one: Member) -> None:
        del self._crew[one.name]
        self._cluster.worker_spec.pop(one.name, None)

    async def _scale(self, left: Left) -> None:
        work: list[list[ClassWork]] = []
        waiting: list[int] = []
        for size in self._sizes:
            ids = [key[0] for key in left.soon.items() if self._size_of.get(key) is size]
            waiting.append(sum(1 for item_id in ids if item_id in left.ready))
            work.append(self._works(ids, left))
        shares = self._fleet.shares(self._sizes, work)
        changed = False
        missing: list[tuple[Size, int]] = []
        for size, share, ready in zip(self._sizes, shares, waiting):
            wanted = min(self._most, max(self._options.minimum, share))
            crew = [one for one in self._crew.values() if one.size is size]
            if len(crew) > wanted:
                changed |= await self._let_go(crew, len(crew) - wanted)
            elif len(crew) < wanted and (ready or len(crew) < self._options.minimum):
                missing.append((size, wanted - len(crew)))
        if missing and time.monotonic() >= self._retry_at:
            changed |= await self._start(missing, left)
        if changed:
            await self._cluster

    def _works(self, ids: list[int], left: Left) -> list[ClassWork]:
        """Return what some tomodirs need, widest first; workers of whole nodes take several widths."""
        inside = [
            [item_id for item_id in ids if one.first <= item_id < one.stop] for one in self._batch.settings.classes
        ]
        return [self._work(part, left.soon) for part in inside if part]

    async def _let_go(self, crew: list[Member], many: int) -> bool:
        """Let idle workers go, first those that are still to come; return whether there were any."""
        names = self._names()
        idle = [one for one in crew if one.name not in names or not names[one.name].processing]
        idle.sort(key=lambda one: one.has_come)
        await self._send_home(idle[:many])
        for one in idle[:many]:
            self._drop(one)
        return bool(idle[:many])

    async def _send_home(self, crew: list[Member]) -> None:
        """Tell workers that have come to close; they have nothing to do."""
        names = self._names()
        for one in crew:
            if one.name in names:
                one.has_come = True
                self._cluster.scheduler.close_worker(names[one.name].address)

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
            self._retry_at = time.monotonic() + 5.0
            self._looks.insert(0, time.monotonic() + 5.0)
            return False
        for size, submissions in started:
            self._news.on_started(size, submissions)
            for submission in submissions:
                member = Member(submission, size)
                self._crew[member.name] = member
                self._cluster.worker_spec[member.name] = spec_of(member, self._fleet)
        return True

    def _start_all(self, missing: list[tuple[Size, int]]) -> list[tuple[Size, list[Submission]]]:
        with custody_of(self._batch):
            return [(size, self._fleet.start(self._batch, size, many)) for size, many in missing]

    # ---------------------------------------------------------------- deaths

    async def _look(self, left: Left) -> None:
        """Ask who lives: claims of the dead are ready again, and workers that will never come are forgotten."""
        with contextlib.suppress(Busy, Unreachable):
            living = await asyncio.to_thread(self._recover)
            names = self._names()
            for one in list(self._crew.values()):
                if one.name not in names and living.submission(one.submission) is Verdict.DEAD:
                    one.has_come = True
                    self._drop(one)
                    self._in_vain = 0 if left.begun != self._begun else self._in_vain + 1
                    self._begun = left.begun
            if any(not one.has_come for one in self._crew.values()):
                self._looks[0] = min(self._looks[0], time.monotonic() + _AFTER_A_LOSS_S[-1])

    def _recover(self) -> Living:
        self._fleet.reap()
        living = look(self._batch, self._host)
        headers = [claim.header for claim in open_claims(self._batch)]
        if any(header is None or living.verdict(header) is Verdict.DEAD for header in headers):
            with custody_of(self._batch) as custody:
                living = settle_intents(self._batch, self._host)
                recover(self._batch, living, custody)
        return living


async def drive(driver: Driver) -> Ending:
    """Run a driver; an error of dask's own becomes one that a user can read."""
    try:
        return await driver.run()
    except CrhBatchError:
        raise
    except ImportError as error:
        raise DaskError(f"{error}", "pip install 'crh-batch[dask]'") from error
