"""What dask is told: each order is bound to a size of workers, and what dask gave up is ordered again."""

from __future__ import annotations

import asyncio
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from crh_batch.engines.dask.left import look_at
from crh_batch.engines.dask.naming import item_id_of
from crh_batch.engines.dask.orders import Orders, Sizing
from crh_batch.errors import DaskError
from crh_batch.ledger.batch import Batch
from crh_batch.ledger.settings import ItemClass
from crh_batch.plan.arrays import ArrayRequest, ClassWork
from unit.ledger.making import make_batch, make_item

MEMORY = 512 << 20


class AnyFleet:
    """Gives each width what it asks for."""

    def plan(self, work: list[ClassWork]) -> list[ArrayRequest]:
        return [ArrayRequest(one.threads, one.threads, 1, MEMORY, 1, 1.0) for one in work]


class Future:
    """As dask's: ``done`` says only that dask is through with it, be it that it gave up."""

    def __init__(self) -> None:
        self.status = "pending"

    def done(self) -> bool:
        return self.status != "pending"


class ToldClient:
    """Remembers what dask was told."""

    def __init__(self) -> None:
        self.told: list[tuple[str, dict[str, Any], Future]] = []

    def submit(self, function: object, item_id: int, *, key: str, resources: Any = None, **others: Any) -> Future:
        assert item_id == item_id_of(key)
        future = Future()
        self.told.append((key, resources, future))
        return future


def make_orders(batch: Batch) -> tuple[Orders, ToldClient]:
    sizing: Any = Sizing(batch, AnyFleet())  # type: ignore[arg-type]
    sizing.take_in(look_at(batch))
    client = ToldClient()
    return Orders(batch, sizing, client, SimpleNamespace(workers={})), client


def turn(orders: Orders, batch: Batch) -> None:
    left = look_at(batch)
    asyncio.run(orders.take_back(left))
    orders.hand_out(left)


def test_an_order_goes_to_its_size_alone(tmp_path: Path) -> None:
    items = [make_item(0, threads=2), make_item(1, threads=1)]
    batch = make_batch(tmp_path, items, classes=[ItemClass(2, 0, 1), ItemClass(1, 1, 2)])
    orders, client = make_orders(batch)
    turn(orders, batch)
    assert [resources for _, resources, _ in client.told] == [{"crh-2-threads-512-MB": 2}, {"crh-1-threads-512-MB": 1}]


def test_what_is_ordered_is_not_ordered_again(tmp_path: Path) -> None:
    batch = make_batch(tmp_path, 2)
    orders, client = make_orders(batch)
    for _ in range(3):
        turn(orders, batch)
    assert len(client.told) == 2


def test_what_dask_gave_up_as_a_killer_of_workers_is_ordered_again(tmp_path: Path) -> None:
    batch = make_batch(tmp_path, 1)
    orders, client = make_orders(batch)
    turn(orders, batch)
    client.told[0][2].status = "error"
    turn(orders, batch)
    first, second = (key for key, _, _ in client.told)
    assert item_id_of(first) == item_id_of(second) and first != second, "a key is never used twice"


def test_what_is_sent_back_again_and_again_is_an_error_that_names_it(tmp_path: Path) -> None:
    batch = make_batch(tmp_path, 1)
    orders, client = make_orders(batch)
    with pytest.raises(DaskError, match="td0: was given to workers"):
        for _ in range(100):
            turn(orders, batch)
            client.told[-1][2].status = "error"
    assert len(client.told) < 100
