"""Status, history and outputs of a batch, told by names and sessions that were made by hand."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from crh_batch.ledger.batch import Batch
from crh_batch.ledger.names import Failure, State, StateName
from crh_batch.ledger.pack import PackedFile, PackWriter
from crh_batch.ledger.session import Session
from crh_batch.report.as_json import row_json, status_json
from crh_batch.report.history import history
from crh_batch.report.outputs import read_outputs
from crh_batch.report.states import Row, Status, count, status_of
from unit.ledger.making import INVERSION, MODELLING, begin, finish, make_batch, make_item, make_names

READY, RUNNING, DONE, FAILED, HELD = (StateName(name) for name in ("ready", "running", "done", "failed", "held"))
COLLECTED, MOVED = StateName.COLLECTED, StateName.MOVED


def everything(batch: Batch) -> Status:
    return status_of(batch, lambda item_id, state: True)


def row_of(batch: Batch, item_id: int) -> Row:
    return everything(batch).rows[item_id]


@pytest.fixture
def batch(tmp_path: Path) -> Batch:
    return make_batch(tmp_path, [make_item(number, threads=5, stages=(MODELLING, INVERSION)) for number in range(8)])


def fail(batch: Batch, session: Session, item_id: int, attempt: int, kind: str, **fields: Any) -> None:
    session.append("fail", id=item_id, attempt=attempt, failure=kind, **fields)
    assert session.win(item_id, f"fail.{attempt:03d}.{kind}", "symlink")


def claim(session: Session, item_id: int, attempt: int) -> None:
    assert session.win(item_id, f"claim.{attempt:03d}", "symlink")
    session.append("claim", id=item_id, attempt=attempt)


def pack(batch: Batch, session: Session, files: dict[str, bytes]) -> dict[str, Any]:
    writer = PackWriter(batch.paths.pack(session.token), session.token)
    record = writer.append([PackedFile(name, content=content) for name, content in files.items()], "/")
    writer.close()
    return record.to_json()


def test_count_when_names_say_it_then_states_and_failures(batch: Batch) -> None:
    make_names(batch, "0.done", "1.collected", "2.claim.001", "3.fail.001.input", "4.fail.001.cancelled", "5.held.001")
    make_names(batch, "6.fail.001.crash")
    status = count(batch)
    assert dict(status.counts) == {DONE: 1, COLLECTED: 1, RUNNING: 1, FAILED: 2, HELD: 1, READY: 2}
    assert dict(status.failures) == {Failure.INPUT: 1, Failure.CANCELLED: 1}
    assert (status.total, status.settled, status.complete, status.over) == (8, 4, False, False)
    assert status.rows == []


def test_count_when_all_ended_well_then_complete(tmp_path: Path) -> None:
    batch = make_batch(tmp_path, 2)
    make_names(batch, "0.done", "1.done", "1.collected")
    assert (count(batch).complete, count(batch).over) == (True, True)


def test_count_when_only_held_ones_are_left_then_it_is_over_and_not_complete(tmp_path: Path) -> None:
    batch = make_batch(tmp_path, 2)
    make_names(batch, "0.done", "1.held.001")
    assert (count(batch).complete, count(batch).over) == (False, True)


def test_row_when_a_tomodir_runs_then_its_stage_and_progress_are_the_latest(batch: Batch) -> None:
    session = begin(batch)
    claim(session, 2, 1)
    assert (row_of(batch, 2).stage, row_of(batch, 2).iteration) == ("", None)
    session.append("stage", id=2, attempt=1, stage="inversion")
    session.append("progress", id=2, attempt=1, stage="inversion", iteration=3, rms=4.5)
    session.append("progress", id=1, attempt=1, stage="inversion", iteration=9, rms=9.5)
    session.append("progress", id=2, attempt=1, stage="inversion", iteration=4, rms=1.25)
    row = row_of(batch, 2)
    assert (row.state, row.stage, row.iteration, row.rms) == (State(RUNNING, 1), "inversion", 4, 1.25)
    assert (row.path, row.dims, row.threads) == ("td2", "2.5D", 5)
    assert row.host == session.header.who.host
    assert (row.seconds, row.peak_bytes) == (None, None)


def test_row_when_it_runs_again_in_the_same_session_then_nothing_of_the_first_attempt_is_shown(batch: Batch) -> None:
    session = begin(batch)
    claim(session, 0, 1)
    session.append("stage", id=0, attempt=1, stage="inversion")
    session.append("progress", id=0, attempt=1, iteration=7, rms=7.5)
    stages = [{"stage": "inversion", "wall_s": 5.0, "peak_bytes": 100, "iterations": 7, "rms": 7.5}]
    fail(batch, session, 0, 1, "crash", error="ended by signal 11", stages=stages)
    claim(session, 0, 2)
    row = row_of(batch, 0)
    assert row.state == State(RUNNING, 2)
    assert (row.stage, row.iteration, row.rms, row.error, row.stages) == ("", None, None, "", [])


def test_row_when_a_tomodir_is_done_then_what_it_took(batch: Batch) -> None:
    session = begin(batch)
    claim(session, 0, 1)
    stages = [
        {"stage": "modelling", "wall_s": 1.5, "peak_bytes": 300, "peak_is_bound": True},
        {"stage": "inversion", "wall_s": 10.25, "peak_bytes": 200, "iterations": 6, "rms": 0.99},
    ]
    session.append("done", id=0, attempt=1, stages=stages)
    session.win(0, "done", "symlink")
    row = row_of(batch, 0)
    assert row.state == State(DONE, 1)
    assert (row.seconds, row.peak_bytes, row.peak_is_bound) == (11.75, 300, True)
    assert (row.stage, row.iteration, row.rms, row.error) == ("inversion", 6, 0.99, "")


def test_row_when_it_failed_or_is_ready_again_then_the_last_reason(batch: Batch) -> None:
    session = begin(batch)
    fail(batch, session, 3, 1, "input", error="grid/elem.dat: wrong", stages=[])
    fail(batch, session, 4, 1, "crash", error="ended by signal 11", stages=[])
    failed, again = row_of(batch, 3), row_of(batch, 4)
    assert (failed.state.name, failed.error) == (FAILED, "grid/elem.dat: wrong")
    assert (again.state, again.error) == (State(READY, 2, Failure.CRASH), "ended by signal 11")


def test_row_when_its_pilot_died_then_it_says_which(batch: Batch) -> None:
    client = Session.begin(batch.paths, "client")
    client.append("lost", id=5, attempt=1, session="slurm-77_3-r0-abc")
    client.win(5, "fail.001.lost", "symlink")
    row = row_of(batch, 5)
    assert row.error == "its pilot died (slurm-77_3-r0-abc)"
    assert row.host == "", "the client's own host is not where it ran"


def test_row_when_a_session_is_missing_then_only_the_state(batch: Batch) -> None:
    make_names(batch, "0.claim.001", token="vanished")
    row = row_of(batch, 0)
    assert (row.state, row.host, row.stage) == (State(RUNNING, 1), "", "")


def test_status_of_when_some_are_picked_then_rows_of_these_and_counts_of_all(batch: Batch) -> None:
    make_names(batch, "0.done", "3.done")
    status = status_of(batch, lambda item_id, state: state.name is DONE and item_id > 0)
    assert [row.item_id for row in status.rows] == [3]
    assert status.counts[DONE] == 2


def test_status_json_when_printed_then_these_keys(tmp_path: Path) -> None:
    batch = make_batch(tmp_path, 2)
    session = begin(batch)
    fail(batch, session, 1, 1, "input", error="wrong", stages=[{"stage": "inversion", "wall_s": 2.0, "peak_bytes": 7}])
    data = status_json(everything(batch), with_tomodirs=True)
    assert json.loads(json.dumps(data)) == {
        "schema": 1,
        "batch": batch.batch_id,
        "root": str(tmp_path),
        "counts": {"ready": 1, "running": 0, "done": 0, "failed": 1, "held": 0, "waiting": 0, "collected": 0},
        "failures": {"input": 1},
        "complete": False,
        "held": False,
        "clusters": [],
        "tomodirs": [
            {
                "path": "td0",
                "state": "ready",
                "attempt": 1,
                "failure": None,
                "stage": None,
                "iteration": None,
                "rms": None,
                "host": None,
                "on": None,
                "error": None,
                "seconds": None,
                "peak_bytes": None,
                "peak_is_bound": None,
            },
            {
                "path": "td1",
                "state": "failed",
                "attempt": 1,
                "failure": "input",
                "stage": "inversion",
                "iteration": None,
                "rms": None,
                "host": session.header.who.host,
                "on": None,
                "error": "wrong",
                "seconds": 2.0,
                "peak_bytes": 7,
                "peak_is_bound": False,
            },
        ],
    }
    assert "tomodirs" not in status_json(everything(batch), with_tomodirs=False)


@pytest.mark.parametrize("rms", [float("nan"), float("inf")])
def test_row_json_when_the_rms_is_no_number_then_null(rms: float) -> None:
    """JSON has no NaN, though Python would write one."""
    data = row_json(Row(0, "td0", State(RUNNING, 1), rms=rms))
    assert data["rms"] is None
    json.dumps(data, allow_nan=False)


def test_history_when_several_sessions_had_it_then_their_events_in_order_of_time(
    batch: Batch, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = [100.0]
    monkeypatch.setattr("crh_batch.ledger.session.time.time", lambda: now[0])
    first, second = begin(batch), begin(batch)
    claim(first, 0, 1)
    client = Session.begin(batch.paths, "client")
    now[0] = 200.0
    client.append("lost", id=0, attempt=1, session=first.token)
    client.win(0, "fail.001.lost", "symlink")
    now[0] = 150.0
    first.append("stage", id=0, attempt=1, stage="modelling")
    first.append("stage", id=1, attempt=1, stage="modelling")
    now[0] = 300.0
    claim(second, 0, 2)
    events = history(batch, 0)
    assert [(event["time"], event["event"], event["session"]) for event in events] == [
        (100.0, "claim", first.token),
        (150.0, "stage", first.token),
        (200.0, "lost", first.token),
        (300.0, "claim", second.token),
    ]
    assert {event["host"] for event in events} == {first.header.who.host}


def test_history_when_nothing_happened_then_nothing(batch: Batch) -> None:
    assert history(batch, 7) == []


def test_outputs_when_a_tomodir_failed_then_its_texts_are_read_from_the_pack(batch: Batch) -> None:
    session = begin(batch)
    claim(session, 0, 1)
    record = pack(
        batch,
        session,
        {
            "exe/error.dat": b"wrong\0\0 grid\n",
            "exe/crh.inversion.err": b"STOP -1\n",
            "inv/inv.ctr": b"IT 1\n",
            "inv/rho01.mag": b"1\n",
            "exe/crh.json": b"{}",
        },
    )
    fail(batch, session, 0, 1, "input", record=record)
    assert read_outputs(batch, 0) == [
        ("exe/error.dat", "wrong grid\n"),
        ("exe/crh.inversion.err", "STOP -1\n"),
        ("inv/inv.ctr", "IT 1\n"),
    ]


def test_outputs_when_it_failed_first_and_is_done_then_those_of_the_good_attempt(batch: Batch) -> None:
    session = begin(batch)
    claim(session, 0, 1)
    fail(batch, session, 0, 1, "crash", record=pack(batch, session, {"inv/inv.ctr": b"bad\n"}))
    other = begin(batch)
    claim(other, 0, 2)
    finish(batch, 0, {"inv/inv.ctr": b"good\n"}, session=other)
    assert read_outputs(batch, 0) == [("inv/inv.ctr", "good\n")]


def test_outputs_when_a_second_attempt_runs_then_those_of_the_first(batch: Batch) -> None:
    first, second = begin(batch), begin(batch)
    claim(first, 0, 1)
    fail(batch, first, 0, 1, "crash", record=pack(batch, first, {"inv/inv.ctr": b"first\n"}))
    claim(second, 0, 2)
    assert read_outputs(batch, 0) == [("inv/inv.ctr", "first\n")]


def test_outputs_when_a_text_is_long_or_no_text_then_its_end_and_what_can_be_read(batch: Batch) -> None:
    session = begin(batch)
    claim(session, 0, 1)
    text = b"x" * 100_000 + b"\xff the end\n"
    fail(batch, session, 0, 1, "crash", record=pack(batch, session, {"exe/crh.modelling.out": text}))
    ((_, shown),) = read_outputs(batch, 0)
    assert shown.endswith("\ufffd the end\n")
    assert len(shown) == 20_000


def test_outputs_when_no_attempt_has_ended_then_none(batch: Batch) -> None:
    session = begin(batch)
    claim(session, 0, 1)
    assert read_outputs(batch, 0) == []
    assert read_outputs(batch, 1) == []
    assert not os.path.exists(batch.paths.pack(session.token))
