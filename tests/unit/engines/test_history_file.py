"""The user's history file: small, rebuildable, and harmless when it is broken."""

from __future__ import annotations

import os
import stat
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from crh_batch.engines import history_file
from crh_batch.engines.history_file import history_path, read_history, rebuild, remember
from crh_batch.ledger.batch import Batch
from unit.ledger.making import INVERSION, begin, make_batch, make_item

SIZES = {"nodes": 1000, "parameters": 900, "electrodes": 20, "bandwidth": 30, "data": 100}


def batch_of(root: Path, count: int, *, alike: bool = False) -> Batch:
    """A batch whose tomodirs are done, each of its own size."""
    root.mkdir()
    stages = [{**INVERSION, "size": {**SIZES, "data": 100 if alike else 100 + number}} for number in range(count)]
    batch = make_batch(root, [make_item(number, stages=[stage]) for number, stage in enumerate(stages)])
    session = begin(batch)
    for number in range(count):
        done = {"stage": "inversion", "wall_s": 2.5, "peak_bytes": 50_000_000, "peak_is_bound": False}
        session.append("done", id=number, attempt=1, stages=[done])
    session.append("done", id=10_000, attempt=1, stages=[{"stage": "inversion", "wall_s": 1.0}])
    session.append("done", id=0, attempt=1, stages=[{"stage": "modelling", "wall_s": 1.0}, {}])
    return batch


def test_remember_when_a_batch_is_over_then_its_runs_once_and_no_path(tmp_path: Path) -> None:
    batch = batch_of(tmp_path / "secret-place", 5)
    assert remember(batch) == 5
    assert remember(batch) == 0
    assert read_history().runs == 5
    text = history_path().read_text()
    assert "secret-place" not in text and "td0" not in text
    assert stat.S_IMODE(history_path().stat().st_mode) == 0o600


def test_remember_when_many_are_alike_then_some_of_them(tmp_path: Path) -> None:
    assert remember(batch_of(tmp_path / "a", 50, alike=True)) == history_file.MOST_ALIKE


def test_remember_when_the_file_cannot_be_written_then_nothing_is_lost_but_the_history(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "file"))
    assert remember(batch_of(tmp_path / "a", 5)) == 0
    assert read_history().runs == 0


def test_read_when_lines_are_torn_or_foreign_then_they_are_passed_over(tmp_path: Path) -> None:
    remember(batch_of(tmp_path / "a", 5))
    with open(history_path(), "ab") as stream:
        stream.write(b'{"batch":"x","stage":"inversion"}\n[]\n\xff\n{"batch":"y","sta')
    assert remember(batch_of(tmp_path / "b", 3)) == 3, "a torn last line spoils nothing but itself"
    assert read_history().runs == 8


def test_remember_when_several_clients_do_it_at_once_then_all_is_there(tmp_path: Path) -> None:
    batches = [batch_of(tmp_path / str(number), 20) for number in range(8)]
    batches = [Batch(one.paths.directory) for one in batches]
    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(remember, batches)) == [20] * 8
    assert read_history().runs == 160


def test_remember_when_it_grows_then_the_oldest_are_forgotten(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(history_file, "_TRIM_AT", 20)
    monkeypatch.setattr(history_file, "MOST_RUNS", 12)
    for number in range(3):
        remember(batch_of(tmp_path / str(number), 10))
    assert read_history().runs <= 20
    assert os.listdir(history_path().parent) == ["history.jsonl"]


def test_rebuild_when_asked_then_from_the_batches_alone(tmp_path: Path) -> None:
    remember(batch_of(tmp_path / "a", 5))
    kept = batch_of(tmp_path / "b", 3)
    assert rebuild([kept]) == 3
    assert read_history().runs == 3
    assert remember(kept) == 0
