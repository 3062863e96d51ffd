"""Collecting tomodirs that took results of others: those first, and never what doesn't match."""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from crh_batch.ledger.batch import Batch
from crh_batch.ledger.collect import CollectReport, collect_batch
from crh_batch.ledger.custody import custody_of
from crh_batch.ledger.identity import this_process
from crh_batch.ledger.items import Item
from crh_batch.ledger.registration import register
from unit.ledger.making import INVERSION, begin, finish, make_batch, make_item, write_files

COUNT = 4
CFG = b"1\n"


def model(number: int) -> bytes:
    return f"model {number}\n".encode()


def staged(name: str, content: bytes) -> list[Any]:
    return [name, len(content), 0, hashlib.sha256(content).hexdigest()]


@pytest.fixture
def batch(tmp_path: Path) -> Batch:
    """A chain of finished tomodirs; the last one has the lowest number, so ids don't tell the order."""
    after = {number: (number + 1,) for number in range(COUNT - 1)}
    items = []
    for number in range(COUNT):
        source = f"../td{number + 1}/inv/m"
        stage: dict[str, Any] = {**INVERSION, "inputs": ["exe/crtomo.cfg"]}
        if number in after:
            stage.update(inputs=["exe/crtomo.cfg", source], sources={source: [number + 1, "inv/m"]})
        items.append(dataclasses.replace(make_item(number, stages=[stage]), after=after.get(number, ())))
    batch = make_batch(tmp_path, items, after=after)
    session = begin(batch)
    for item in items:
        number = item.item_id
        write_files(tmp_path / item.path, {"exe/crtomo.cfg": CFG, "inv/m": b"of an earlier run"})
        assert register(str(tmp_path / item.path), batch.paths, number, this_process(), "inv") is None
        inputs = [staged("exe/crtomo.cfg", CFG)]
        if item.after:
            inputs.append(staged(f"../td{number + 1}/inv/m", model(number + 1)))
        files = {"inv/m": model(number), "inv/inv.ctr": b"***finished***\n"}
        finish(batch, number, files, last="inv/inv.ctr", inputs=inputs, session=session)
    return batch


def collect(batch: Batch, *, force: bool = False, only: Callable[[Item], bool] | None = None) -> CollectReport:
    with custody_of(batch) as custody:
        return collect_batch(batch, custody, force=force, only=only)


def models(root: Path) -> list[bytes]:
    return [(root / f"td{number}" / "inv/m").read_bytes() for number in range(COUNT)]


def test_collect_when_a_chain_is_done_then_all_of_it_is_put_in_place(batch: Batch, tmp_path: Path) -> None:
    report = collect(batch)
    assert (report.collected, report.refused) == (COUNT, [])
    assert models(tmp_path) == [model(number) for number in range(COUNT)]


def test_collect_when_the_source_was_changed_after_it_was_collected_then_what_took_it_is_refused(
    batch: Batch, tmp_path: Path
) -> None:
    assert collect(batch, only=lambda item: item.item_id == 3).collected == 1
    (tmp_path / "td3/inv/m").write_bytes(b"changed by hand")
    report = collect(batch)
    assert report.collected == 0
    said = {path: str(error) for path, error in report.refused}
    assert "changed since it was run: ../td3/inv/m" in said["td2"]
    assert "took the result of td2, which was not put in place" in said["td1"]
    assert "took the result of td1, which was not put in place" in said["td0"]
    assert collect(batch, force=True).collected == 3


def test_collect_when_the_source_is_refused_then_so_is_what_took_it(batch: Batch, tmp_path: Path) -> None:
    (tmp_path / "td2/exe/crtomo.cfg").write_bytes(b"changed")
    report = collect(batch)
    assert report.collected == 1
    assert [path for path, _ in report.refused] == ["td2", "td1", "td0"]


def test_collect_when_only_the_dependent_is_meant_then_what_lies_at_its_source_does_not_count(
    batch: Batch, tmp_path: Path
) -> None:
    """The file there is of an earlier run until the source is collected."""
    report = collect(batch, only=lambda item: item.item_id == 0)
    assert (report.collected, report.refused) == (1, [])
    assert (tmp_path / "td1/inv/m").read_bytes() == b"of an earlier run"
