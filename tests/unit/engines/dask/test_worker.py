"""A worker without time gives its task back and leaves, so that another gets it. Real dask, pilots that only answer."""

from __future__ import annotations

import asyncio
import threading
from pathlib import Path
from typing import Any, cast

import pytest

from crh_batch.engines.dask.place import Options, Place, this_contact
from crh_batch.engines.dask.task import run_tomodir
from crh_batch.engines.dask.worker import DaskFeed
from crh_batch.ledger.session import Job
from crh_batch.pilot.fed import Answer, Came, FedPilot
from unit.ledger.making import make_batch

RESOURCE = "crh-1-threads-256-MB"


class AnsweringPilot:
    """Says the same to each order, and which ones came."""

    is_busy = False

    def __init__(self, came: Came) -> None:
        self.came = came
        self.orders: list[int] = []

    def run_item(self, item_id: int) -> Answer:
        self.orders.append(item_id)
        return Answer(self.came, 1)

    def curves(self) -> list[Any]:
        return []


class Worker:
    """A feed at work in a thread, as in a pilot."""

    def __init__(self, place: Place, name: str, came: Came, directory: Path) -> None:
        self.pilot = AnsweringPilot(came)
        self.alone: bool | None = None
        self.feed = DaskFeed(place, name, 1, {RESOURCE: 1}, str(directory / name))
        self._thread = threading.Thread(target=self._serve)
        self._thread.start()

    def _serve(self) -> None:
        self.alone = self.feed.serve(cast(FedPilot, self.pilot))

    async def end(self) -> None:
        await asyncio.to_thread(self._thread.join, 30)
        assert not self._thread.is_alive()


@pytest.mark.filterwarnings("default")
def test_a_worker_without_time_gives_its_task_to_another_and_leaves(tmp_path: Path) -> None:
    import dask
    from distributed import Client, Scheduler
    from distributed.security import Security

    async def play() -> None:
        security = Security.temporary()  # type: ignore[no-untyped-call]
        place = Place.make(make_batch(tmp_path, 1).paths, Options())
        place.write_secrets((security.tls_ca_file, security.tls_worker_cert, security.tls_worker_key))
        async with Scheduler(
            host="127.0.0.1", port=0, protocol="tls://", security=security, dashboard_address="127.0.0.1:0"
        ) as scheduler:
            place.write_contact(this_contact(scheduler.address, "127.0.0.1", 0, Job(), 0.0))
            tired = Worker(place, "tired", Came.UNFIT, tmp_path)
            async with Client(scheduler.address, asynchronous=True, security=security) as client:  # type: ignore[no-untyped-call]
                await client.wait_for_workers(1)
                orders = [client.submit(run_tomodir, number, resources={RESOURCE: 1}, pure=False) for number in (7, 8)]
                await tired.end()
                assert tired.pilot.orders == [7], "one is enough to know; it came once"
                assert tired.alone is False
                fresh = Worker(place, "fresh", Came.DONE, tmp_path)
                said = await asyncio.wait_for(asyncio.gather(*orders), 30)
                assert [one["state"] for one in said] == ["done", "done"]
                assert sorted(fresh.pilot.orders) == [7, 8]
            await scheduler.close()
            await fresh.end()
            assert fresh.alone is True, "without a scheduler a pilot goes on by itself"

    with dask.config.set({"distributed.scheduler.allowed-failures": 0}):
        asyncio.run(play())


def test_a_worker_that_finds_no_scheduler_works_alone(tmp_path: Path) -> None:
    place = Place.make(make_batch(tmp_path, 1).paths, Options())
    feed = DaskFeed(place, "early", 1, {RESOURCE: 1}, str(tmp_path / "early"))
    assert feed.serve(cast(FedPilot, AnsweringPilot(Came.DONE))) is True
