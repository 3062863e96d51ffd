"""One job for a submission, and the user's deadline."""

from __future__ import annotations

import dataclasses
import time
from pathlib import Path

import pytest

from crh_batch.ledger.batch import Batch
from crh_batch.ledger.session import Job, Session
from crh_batch.ledger.settings import write_settings
from crh_batch.ledger.submissions import record_intent
from crh_batch.pilot import submission
from crh_batch.pilot.submission import deadline_of, job_of_same_submission
from unit.ledger.making import begin, make_batch


@pytest.fixture
def batch(tmp_path: Path) -> Batch:
    return make_batch(tmp_path, 1)


def pilot(batch: Batch, job_id: str, task: str = "0", restart: int = 0, token: str = "token") -> Session:
    return begin(batch, f"slurm-{job_id}_{task}-r{restart}", job=Job("slurm", job_id, task, restart), submission=token)


def test_submission_when_a_second_job_has_it_then_its_pilots_learn_of_the_first(batch: Batch) -> None:
    assert job_of_same_submission(batch, pilot(batch, "11")) == ""
    assert job_of_same_submission(batch, pilot(batch, "12")) == "11"
    assert job_of_same_submission(batch, pilot(batch, "11", "1")) == "", "another array task"
    assert job_of_same_submission(batch, pilot(batch, "11", "0", 1)) == "", "a later life"
    assert job_of_same_submission(batch, pilot(batch, "12", "1")) == "11"
    assert job_of_same_submission(batch, pilot(batch, "12", token="other")) == ""


def test_submission_when_the_pilot_is_no_job_or_was_started_by_hand_then_nobody_is_in_its_way(batch: Batch) -> None:
    for _ in range(2):
        assert job_of_same_submission(batch, begin(batch, "host-1", submission="token")) == ""
        assert job_of_same_submission(batch, pilot(batch, "11", token="")) == ""


def test_submission_when_the_first_ones_session_cannot_be_read_then_the_second_works(
    batch: Batch, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(submission, "_NAME_WAIT_S", 0.0)
    first = pilot(batch, "11")
    assert job_of_same_submission(batch, first) == ""
    Path(batch.paths.session(first.token)).unlink()
    assert job_of_same_submission(batch, pilot(batch, "12")) == ""


def with_deadline(batch: Batch, deadline: float) -> Batch:
    write_settings(batch.paths, dataclasses.replace(batch.settings, deadline=deadline))
    return Batch(batch.paths.directory)


def test_deadline_when_it_lies_ahead_then_it_holds(batch: Batch) -> None:
    assert deadline_of(batch, "") is None
    ahead = time.time() + 1000
    assert deadline_of(with_deadline(batch, ahead), "") == ahead


def test_deadline_when_pilots_were_asked_for_before_it_then_it_holds_though_it_is_over(batch: Batch) -> None:
    token = record_intent(batch.paths, "slurm", 1, 1).token
    time.sleep(0.05)
    over = time.time()
    time.sleep(0.05)
    batch = with_deadline(batch, over)
    assert deadline_of(batch, token) == over
    assert deadline_of(batch, record_intent(batch.paths, "slurm", 1, 1).token) is None, "asked for after it"
    assert deadline_of(batch, "") is None, "started by hand after it"
