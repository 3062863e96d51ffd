"""The driver: hands a batch's ready tomodirs to dask, and has as many workers as they are worth.

The ledger is asked again and again what is ready; dask is told. Whatever dask forgets, repeats or gives up is only an
order that is given again: nothing is lost or doubled by it.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from typing import Any

import dask
from distributed import Client, Scheduler, SpecCluster
from distributed.security import Security

from crh_batch.engines.dask.fleet import Fleet
from crh_batch.engines.dask.left import Left, look_at
from crh_batch.engines.dask.library_logs import silence_libraries
from crh_batch.engines.dask.muster import Muster
from crh_batch.engines.dask.naming import PLUGIN, group_of
from crh_batch.engines.dask.orders import Orders, Sizing
from crh_batch.engines.dask.page import add_page, add_to_menu
from crh_batch.engines.dask.place import Contact, Options, Place, this_contact
from crh_batch.engines.dask.sizes import Size
from crh_batch.engines.dask.story import Story
from crh_batch.hosts.base import Host
from crh_batch.ledger.batch import Batch
from crh_batch.ledger.names import StateName
from crh_batch.ledger.session import Job
from crh_batch.ledger.submissions import Submission

# Between two turns: short for few tomodirs; for many, listing takes a twentieth of the time.
_PAUSE_S = 0.25
_MAX_PAUSE_S = 10.0
_TURN_SHARE = 20.0

CONFIG: dict[str, Any] = {
    # A worker's death is no tomodir's fault; the ledger counts attempts, and its policy ends them.
    "distributed.scheduler.allowed-failures": 1_000_000,
    "distributed.comm.require-encryption": True,
    "distributed.deploy.lost-worker-timeout": "1s",
}


class Ending(Enum):
    """How driving ended: all is over; workers were left to go on alone; all were told to stop."""

    OVER = "over"
    LEFT = "left"
    STOPPED = "stopped"


@dataclass(frozen=True)
class News:
    """What a driver tells whoever started it.

    Args:
        on_contact: called once, when the dashboard can be opened.
        on_counts: called with the states after each look, and how many workers have come, of how many.
        on_started: called for workers that were started.
    """

    on_contact: Callable[[Contact], None] = lambda contact: None
    on_counts: Callable[[Counter[StateName], int, int], None] = lambda counts, present, wanted: None
    on_started: Callable[[Size, list[Submission]], None] = lambda size, submissions: None


class Driver:
    """Drives one batch to its end.

    Args:
        place: where workers find the scheduler; new.
        most: jobs of each size, where the options don't say.
        job: the scheduler's job that this process runs in, if it does.
    """

    def __init__(
        self,
        batch: Batch,
        fleet: Fleet,
        host: Host,
        place: Place,
        options: Options,
        *,
        most: int,
        news: News,
        job: Job | None = None,
    ) -> None:
        self._batch = batch
        self._fleet = fleet
        self._host = host
        self._place = place
        self._options = options
        self._most = options.maximum or most
        self._news = news
        self._job = job or Job()
        self._story = Story(batch.batch_id)
        self._wish: Ending | None = None
        self._wished = asyncio.Event()

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
        silence_libraries()
        security = Security.temporary()
        self._place.write_secrets((security.tls_ca_file, security.tls_worker_cert, security.tls_worker_key))
        add_page(self._story)
        with dask.config.set({**CONFIG, "distributed.scheduler.default-task-durations": self._durations()}):
            spec = {"cls": Scheduler, "options": self._scheduler_options(security)}
            cluster = SpecCluster({}, spec, asynchronous=True, security=security, name="crh-batch", silence_logs=0)
            async with cluster, Client(cluster, asynchronous=True, security=security, set_as_default=False) as client:
                sizing = Sizing(self._batch, self._fleet)
                orders = Orders(self._batch, sizing, client, cluster.scheduler)
                minimum, on_started = self._options.minimum, self._news.on_started
                muster = Muster(self._batch, self._fleet, self._host, sizing, cluster, minimum, self._most, on_started)
                self._introduce(cluster.scheduler)
                how = Ending.LEFT
                try:
                    how = await self._drive(cluster.scheduler, sizing, orders, muster)
                finally:
                    # Whatever has happened, what runs may go on: the ledger is whole.
                    await _end(how, muster, client, cluster)
                return how

    def _scheduler_options(self, security: Any) -> dict[str, Any]:
        options: dict[str, Any] = {
            "dashboard": True,
            "dashboard_address": self._options.dashboard_address,
            "security": security,
            "protocol": "tls://",
            "port": 0,
        }
        if self._options.local:
            options["host"] = "127.0.0.1"
        elif self._options.interface:
            options["interface"] = self._options.interface
        return options

    def _durations(self) -> dict[str, str]:
        """Return how long tasks of each group may take, as the batch estimates it; dask knows better later."""
        seconds: dict[str, list[float]] = {}
        for item in self._batch.items:
            seconds.setdefault(group_of(item), []).append(item.estimate_s)
        return {name: f"{max(0.001, sum(each) / len(each)):.3f}s" for name, each in seconds.items()}

    def _introduce(self, scheduler: Any) -> None:
        add_to_menu(scheduler)
        host = self._options.dashboard_address.rsplit(":", 1)[0]
        dashboard = scheduler.services.get("dashboard")
        port = int(dashboard.port) if dashboard is not None else 0
        contact = this_contact(scheduler.address, host, port, self._job, time.time())
        self._place.write_contact(contact)
        self._news.on_contact(contact)

    async def _drive(self, scheduler: Any, sizing: Sizing, orders: Orders, muster: Muster) -> Ending:
        while self._wish is None:
            began = time.monotonic()
            left = await asyncio.to_thread(look_at, self._batch)
            # Of the listing alone: a scheduler that is slow to take a job in must not make this slow to see a death.
            took = time.monotonic() - began
            self._tell(left, scheduler, muster)
            if left.is_over:
                return Ending.OVER
            sizing.take_in(left)
            await orders.take_back(left)
            orders.hand_out(left)
            await muster.turn(left)
            with contextlib.suppress(asyncio.TimeoutError):
                await asyncio.wait_for(self._wished.wait(), min(max(_PAUSE_S, took * _TURN_SHARE), _MAX_PAUSE_S))
        return self._wish

    def _tell(self, left: Left, scheduler: Any, muster: Muster) -> None:
        self._news.on_counts(left.counts, muster.present, muster.wanted)
        running = [row for one in scheduler.workers.values() for row in one.metrics.get(PLUGIN) or ()]
        counts = {name.value: number for name, number in left.counts.items()}
        self._story.note(time.time(), counts, muster.present, muster.wanted, running)


async def _end(how: Ending, muster: Muster, client: Any, cluster: Any) -> None:
    if how is Ending.OVER:
        muster.send_home()
        return
    if how is Ending.STOPPED:
        await muster.cancel()
    muster.may_stay()
    # First the client, which would try to find its scheduler again. A closed scheduler leaves workers to themselves.
    await client.close()
    await cluster.scheduler.close()
    # Else the cluster would look for it for half a minute.
    cluster.shutdown_scheduler = False
