"""Inputs that are results of others: from the pack, from the tomodir once collected, never from what lies there."""

from __future__ import annotations

import dataclasses
import hashlib
from pathlib import Path
from typing import Any

import pytest

from crh_batch.errors import DataError, LedgerError, TomodirError
from crh_batch.ledger.batch import Batch
from crh_batch.ledger.items import Item
from crh_batch.pilot.sources import sourced_names, take_results
from crh_batch.pilot.staging import stage_inputs
from unit.ledger.making import INVERSION, finish, make_batch, make_item, make_names, write_files

MODEL = b"2\n1.0 0.0\n2.0 0.0\n"
NAME = "../td0/inv/rho02.modl"


def taking(*sources: tuple[str, int, str]) -> Item:
    stage: dict[str, Any] = {
        **INVERSION,
        "inputs": ["exe/crtomo.cfg", *(name for name, _, _ in sources)],
        "sources": {name: [item_id, member] for name, item_id, member in sources},
    }
    after = tuple(sorted({item_id for _, item_id, _ in sources}))
    return dataclasses.replace(make_item(1, stages=[stage]), after=after)


@pytest.fixture
def item() -> Item:
    return taking((NAME, 0, "inv/rho02.modl"))


@pytest.fixture
def batch(tmp_path: Path, item: Item) -> Batch:
    """td1 takes a result of td0, in which an old file lies."""
    write_files(tmp_path / "td0", {"inv/rho02.modl": b"of an earlier run"})
    write_files(tmp_path / "td1", {"exe/crtomo.cfg": b"1\n"})
    return make_batch(tmp_path, [make_item(0), item], after={1: (0,)})


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """Where the attempt's private copy of td1 lies."""
    directory = tmp_path / "scratch" / "survey" / "td1"
    directory.mkdir(parents=True)
    return directory


def test_take_results_when_done_then_the_pack_s_file_is_beside_the_copy(batch: Batch, item: Item, copy: Path) -> None:
    finish(batch, 0, {"inv/rho01.modl": b"1", "inv/rho02.modl": MODEL})
    (taken,) = take_results(batch, item, str(copy))
    assert (copy / NAME).read_bytes() == MODEL
    assert (taken.name, taken.size, taken.sha256) == (NAME, len(MODEL), hashlib.sha256(MODEL).hexdigest())
    assert (copy / NAME).stat().st_mtime_ns == taken.mtime_ns


def test_stage_inputs_when_one_is_a_result_of_another_then_the_old_file_is_not_copied(
    batch: Batch, item: Item, copy: Path, tmp_path: Path
) -> None:
    staged = stage_inputs(str(tmp_path / "td1"), str(copy), item.stages)
    assert [one.name for one in staged] == ["exe/crtomo.cfg"]
    assert not (copy / NAME).exists()


def test_take_results_when_two_names_are_one_file_then_both_get_it(tmp_path: Path, copy: Path) -> None:
    both = taking((NAME, 0, "inv/rho02.modl"), ("../sub/../td0/inv/rho02.modl", 0, "inv/rho02.modl"))
    batch = make_batch(tmp_path, [make_item(0), both])
    (copy.parent / "sub").mkdir()
    finish(batch, 0, {"inv/rho02.modl": MODEL})
    assert {one.sha256 for one in take_results(batch, both, str(copy))} == {hashlib.sha256(MODEL).hexdigest()}
    assert len(sourced_names(both.stages)) == 2


def test_take_results_when_the_run_did_not_make_the_file_then_it_says_what_there_is(
    batch: Batch, item: Item, copy: Path
) -> None:
    finish(batch, 0, {"inv/rho00.modl": b"0", "inv/rho01.modl": b"1", "inv/rho01.mag": b"1", "exe/crh.json": b"{}"})
    with pytest.raises(DataError) as caught:
        take_results(batch, item, str(copy))
    assert "td1 takes ../td0/inv/rho02.modl" in caught.value.message
    assert "the run of td0 did not make inv/rho02.modl; it made inv/rho00.modl, inv/rho01.modl" in caught.value.message
    assert "rho01.mag" not in caught.value.message


def test_take_results_when_not_done_then_the_ledger_is_at_fault(batch: Batch, item: Item, copy: Path) -> None:
    with pytest.raises(LedgerError, match="has no record of the result"):
        take_results(batch, item, str(copy), wait_s=0)


def collected(batch: Batch, tmp_path: Path, provenance: bytes) -> None:
    session = finish(batch, 0, {"inv/rho02.modl": MODEL})
    make_names(batch, "0.collected")
    write_files(tmp_path / "td0", {"inv/rho02.modl": MODEL, "exe/crh.json": provenance})
    Path(batch.paths.pack(session.token)).unlink()


def test_take_results_when_collected_and_the_pack_is_gone_then_from_the_tomodir(
    batch: Batch, item: Item, copy: Path, tmp_path: Path
) -> None:
    collected(batch, tmp_path, f'{{"batch": "{batch.batch_id}", "id": 0}}'.encode())
    (taken,) = take_results(batch, item, str(copy))
    assert (copy / NAME).read_bytes() == MODEL
    assert taken.name == NAME
    assert taken.mtime_ns == (tmp_path / "td0/inv/rho02.modl").stat().st_mtime_ns


@pytest.mark.parametrize("provenance", [b'{"batch": "20200101-000000-abcd", "id": 0}', b"[]", b"nonsense", b"{}"])
def test_take_results_when_the_tomodir_has_another_result_then_it_is_refused(
    batch: Batch, item: Item, copy: Path, tmp_path: Path, provenance: bytes
) -> None:
    collected(batch, tmp_path, provenance)
    with pytest.raises(TomodirError, match="does not hold the result of batch"):
        take_results(batch, item, str(copy))


def test_take_results_when_the_pack_is_damaged_then_nothing_is_taken(batch: Batch, item: Item, copy: Path) -> None:
    session = finish(batch, 0, {"inv/rho02.modl": MODEL})
    pack = Path(batch.paths.pack(session.token))
    pack.write_bytes(pack.read_bytes()[:-4] + b"oops")
    with pytest.raises(LedgerError, match="sha256 differs"):
        take_results(batch, item, str(copy), wait_s=0)
    assert not (copy / NAME).exists()


def test_take_results_when_the_batch_does_not_have_the_source_then_it_says_so(batch: Batch, copy: Path) -> None:
    with pytest.raises(LedgerError, match="number 7, which is not in the batch"):
        take_results(batch, taking((NAME, 7, "inv/rho02.modl")), str(copy))
