"""submissions.jsonl: what was asked of schedulers, before it was asked."""

from __future__ import annotations

import errno
import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from crh_batch.ledger.batch import Batch
from crh_batch.ledger.submissions import (
    Submission,
    read_submissions,
    record_intent,
    record_refused,
    record_started,
    record_submitted,
)
from unit.ledger.making import ELSEWHERE, failing, make_batch

BreakCall = Callable[[str, Callable[..., object]], None]


@pytest.fixture
def batch(tmp_path: Path) -> Batch:
    return make_batch(tmp_path, 1)


def lines_of(batch: Batch) -> list[dict[str, object]]:
    return [json.loads(line) for line in Path(batch.paths.submissions).read_text().splitlines()]


def test_record_intent_when_written_then_it_is_durable_and_open(batch: Batch, break_call: BreakCall) -> None:
    synced: list[str] = []
    break_call("fsync", lambda descriptor: synced.append(os.readlink(f"/proc/self/fd/{descriptor}")))
    submission = record_intent(batch.paths, "slurm", 5, 12)
    assert synced == [batch.paths.submissions, batch.paths.directory]
    (line,) = lines_of(batch)
    assert {key: line[key] for key in ("event", "token", "engine", "threads", "pilots")} == {
        "event": "intent",
        "token": submission.token,
        "engine": "slurm",
        "threads": 5,
        "pilots": 12,
    }
    (found,) = read_submissions(batch.paths)
    assert (found.token, found.engine, found.threads, found.pilots) == (submission.token, "slurm", 5, 12)
    assert found.is_open and submission.is_open


def test_record_intent_when_made_twice_then_two_tokens(batch: Batch) -> None:
    one, other = (record_intent(batch.paths, "slurm", 1, 1) for _ in range(2))
    assert one.token != other.token
    assert [found.token for found in read_submissions(batch.paths)] == [one.token, other.token]


def test_record_submitted_when_the_scheduler_answered_then_the_job_id_stands_there(batch: Batch) -> None:
    submission = record_submitted(batch.paths, record_intent(batch.paths, "slurm", 1, 3), "4711")
    (found,) = read_submissions(batch.paths)
    assert found.job_id == submission.job_id == "4711"
    assert not found.is_open


def test_record_started_when_a_local_pilot_runs_then_its_process_stands_there(batch: Batch) -> None:
    record_started(batch.paths, record_intent(batch.paths, "local", 0, 1), ELSEWHERE)
    (found,) = read_submissions(batch.paths)
    assert found.process == ELSEWHERE
    assert not found.is_open


@pytest.mark.parametrize(("why", "expected"), [("invalid partition", "invalid partition"), ("", "refused")])
def test_record_refused_when_the_scheduler_refused_then_the_reason_stands_there(
    batch: Batch, why: str, expected: str
) -> None:
    assert record_refused(batch.paths, record_intent(batch.paths, "slurm", 1, 3), why).refused == expected
    (found,) = read_submissions(batch.paths)
    assert found.refused == expected
    assert not found.is_open


def test_read_submissions_when_there_is_no_file_then_none(batch: Batch) -> None:
    assert read_submissions(batch.paths) == []


def test_read_submissions_when_the_last_line_is_torn_then_the_others_count_and_the_next_one_too(batch: Batch) -> None:
    """A client died while it wrote; the next one's line must not be glued to what is left."""
    first = record_intent(batch.paths, "slurm", 1, 1)
    path = Path(batch.paths.submissions)
    path.write_bytes(path.read_bytes() + b'{"time": 1.0, "event": "int')
    assert [found.token for found in read_submissions(batch.paths)] == [first.token]
    record_submitted(batch.paths, first, "4711")
    (found,) = read_submissions(batch.paths)
    assert found.job_id == "4711"


def test_read_submissions_when_only_the_line_break_is_missing_then_the_line_counts(batch: Batch) -> None:
    first = record_intent(batch.paths, "slurm", 1, 1)
    path = Path(batch.paths.submissions)
    path.write_bytes(path.read_bytes()[:-1])
    second = record_intent(batch.paths, "slurm", 1, 1)
    assert [found.token for found in read_submissions(batch.paths)] == [first.token, second.token]


@pytest.mark.parametrize(
    "line",
    [
        "garbage",
        "[]",
        "5",
        "null",
        '"intent"',
        '{"event": "intent"}',
        '{"token": "x", "event": "intent", "engine": "slurm", "threads": "many", "pilots": 1, "time": 1}',
        '{"token": "unheard-of", "event": "submitted", "job_id": "1"}',
        '{"token": "x", "event": "paused"}',
        "\x00\x00\x00",
    ],
)
def test_read_submissions_when_a_line_cannot_be_read_then_it_is_passed_over(batch: Batch, line: str) -> None:
    first = record_intent(batch.paths, "slurm", 1, 1)
    with open(batch.paths.submissions, "a") as stream:
        stream.write(line + "\n")
    second = record_intent(batch.paths, "slurm", 1, 1)
    assert [found.token for found in read_submissions(batch.paths)] == [first.token, second.token]


def test_record_intent_when_it_cannot_be_made_durable_then_nothing_may_be_submitted(
    batch: Batch, break_call: BreakCall
) -> None:
    break_call("fsync", failing(errno.EIO))
    with pytest.raises(OSError):
        record_intent(batch.paths, "slurm", 1, 1)


@pytest.mark.parametrize(
    ("submission", "is_open"),
    [
        (Submission("t", "slurm", 1, 1, 0.0), True),
        (Submission("t", "slurm", 1, 1, 0.0, job_id="1"), False),
        (Submission("t", "local", 0, 1, 0.0, process=ELSEWHERE), False),
        (Submission("t", "slurm", 1, 1, 0.0, refused="no"), False),
    ],
)
def test_is_open_when_nobody_knows_whether_it_arrived_then_true(submission: Submission, is_open: bool) -> None:
    assert submission.is_open is is_open
