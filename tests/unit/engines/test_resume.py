"""Going on with a batch: what is alive is left alone, what is dead is ready again, pilots come where none are."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import pytest

from crh_batch.engines.base import Started
from crh_batch.engines.resume import resume
from crh_batch.engines.target import is_over
from crh_batch.engines.wait import lives
from crh_batch.errors import Busy, Unreachable
from crh_batch.ledger.batch import Batch
from crh_batch.ledger.custody import custody_of
from crh_batch.ledger.identity import this_process
from crh_batch.ledger.memory import NOTHING_KNOWN
from crh_batch.ledger.names import StateName
from crh_batch.ledger.session import Job, Session
from crh_batch.ledger.settings import ItemClass
from crh_batch.ledger.submissions import (
    read_submissions,
    record_intent,
    record_refused,
    record_started,
    record_submitted,
)
from crh_batch.plan.arrays import ArrayRequest, ClassWork
from unit.engines.told import SQUEUE_SILENT, ToldHost, said
from unit.ledger.making import ELSEWHERE, begin, claim, dead_process, finish, make_batch, make_item, make_names

NO_HOST = ToldHost()


class RecordingEngine:
    """Plans a pilot a tomodir, and starts nothing."""

    name = "slurm"
    most_threads = 4
    memory_rule = NOTHING_KNOWN

    def __init__(self) -> None:
        self.asked: list[ArrayRequest] = []

    def plan(self, work: Sequence[ClassWork]) -> list[ArrayRequest]:
        return [self._request(one, len(one.estimates_s)) for one in work]

    def _request(self, one: ClassWork, count: int) -> ArrayRequest:
        return ArrayRequest(one.threads, one.threads, count, max(one.needs_bytes), count, sum(one.estimates_s))

    def scripts(self, batch_id: str, requests: Sequence[ArrayRequest]) -> list[str]:
        return []

    def start(self, batch: Batch, requests: Sequence[ArrayRequest]) -> list[Started]:
        self.asked += requests
        return [
            Started(record_submitted(batch.paths, record_intent(batch.paths, "slurm", one.threads, 1), "9"), "here")
            for one in requests
        ]

    def sizes(self) -> list[tuple[int, int]]:
        """Threads and tomodirs of each request."""
        return [(one.threads, one.tomodirs) for one in self.asked]


@pytest.fixture
def engine() -> RecordingEngine:
    return RecordingEngine()


@pytest.fixture
def batch(tmp_path: Path) -> Batch:
    """Two wide tomodirs and three narrow ones."""
    items = [make_item(number, threads=5 if number < 2 else 1) for number in range(5)]
    return make_batch(tmp_path, items, classes=[ItemClass(5, 0, 2), ItemClass(1, 2, 5)])


def submitted(batch: Batch, threads: int, job_id: str) -> str:
    return record_submitted(batch.paths, record_intent(batch.paths, "slurm", threads, 3), job_id).token


def squeue(**states: str) -> ToldHost:
    """A host whose queue has one task for each token."""
    return ToldHost(squeue=said("".join(f"77_0|{state}|crh-{token}|None\n" for token, state in states.items())))


def pilot(batch: Batch, submission: str = "") -> Session:
    """A pilot in task 0 of job 77, on another machine."""
    return begin(batch, "slurm-77_0-r0", who=ELSEWHERE, job=Job("slurm", "77", "0", 0), submission=submission)


def test_resume_when_nobody_is_at_work_then_pilots_are_started_for_each_class(
    batch: Batch, engine: RecordingEngine
) -> None:
    make_names(batch, "0.done", "3.claim.001", "3.fail.001.crash")
    resumed = resume(batch, engine, NO_HOST, collect=False)
    assert engine.sizes() == [(5, 1), (1, 3)]
    assert [one.where for one in resumed.started] == ["here", "here"]
    assert (resumed.lost, resumed.unknown, resumed.alive) == (0, 0, False)
    assert resumed.counts == {StateName.DONE: 1, StateName.READY: 4}


def test_resume_when_a_class_has_pilots_that_wait_or_run_then_none_are_started_for_it(
    batch: Batch, engine: RecordingEngine
) -> None:
    waiting = submitted(batch, 1, "77")
    resumed = resume(batch, engine, squeue(**{waiting: "PENDING"}), collect=False)
    assert engine.sizes() == [(5, 2)]
    assert resumed.alive


def test_resume_when_the_pilots_of_a_class_are_over_then_new_ones_are_started(
    batch: Batch, engine: RecordingEngine
) -> None:
    over = submitted(batch, 1, "77")
    resume(batch, engine, squeue(**{over: "TIMEOUT"}), collect=False)
    assert engine.sizes() == [(5, 2), (1, 3)]


def test_resume_when_nothing_is_known_of_the_pilots_then_none_are_started(
    batch: Batch, engine: RecordingEngine
) -> None:
    """They may be in the queue; twice as many would do no harm, but nobody asked for them."""
    submitted(batch, 1, "77")
    submitted(batch, 5, "78")
    resumed = resume(batch, engine, ToldHost(squeue=SQUEUE_SILENT), collect=False)
    assert engine.sizes() == []
    assert not resumed.alive


def test_resume_when_a_local_pilot_lives_then_it_takes_all_classes(batch: Batch, engine: RecordingEngine) -> None:
    record_started(batch.paths, record_intent(batch.paths, "local", 0, 1), this_process())
    assert resume(batch, engine, NO_HOST, collect=False).alive
    assert engine.sizes() == []


def test_resume_when_submissions_were_refused_then_they_stand_in_nobodys_way(
    batch: Batch, engine: RecordingEngine
) -> None:
    record_refused(batch.paths, record_intent(batch.paths, "slurm", 1, 3), "no such partition")
    resume(batch, engine, NO_HOST, collect=False)
    assert engine.sizes() == [(5, 2), (1, 3)]


def test_resume_when_an_intent_is_open_and_the_scheduler_silent_then_nothing_is_sent(
    batch: Batch, engine: RecordingEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("crh_batch.engines.pilots.LATE_S", 0.0)
    record_intent(batch.paths, "slurm", 1, 3)
    with pytest.raises(Unreachable):
        resume(batch, engine, ToldHost(squeue=SQUEUE_SILENT), collect=False)
    assert engine.sizes() == []
    with custody_of(batch) as custody:
        assert not custody.follows_a_death, "custody was given back"


def test_resume_when_an_array_task_died_then_its_claims_are_ready_again(batch: Batch, engine: RecordingEngine) -> None:
    token = submitted(batch, 1, "77")
    claim(batch, pilot(batch, token), 2)
    resumed = resume(batch, engine, squeue(**{token: "NODE_FAIL"}), collect=False)
    assert resumed.lost == 1
    assert resumed.counts == {StateName.READY: 5}
    assert engine.sizes() == [(5, 2), (1, 3)]


def test_resume_when_nothing_is_known_of_a_claims_session_then_it_stays_unless_forced(
    batch: Batch, engine: RecordingEngine
) -> None:
    claim(batch, pilot(batch), 2)
    resumed = resume(batch, engine, NO_HOST, collect=False, start=False)
    assert (resumed.lost, resumed.unknown) == (0, 1)
    resumed = resume(batch, engine, NO_HOST, collect=False, start=False, force=True)
    assert (resumed.lost, resumed.unknown) == (1, 0)
    assert engine.sizes() == []


def test_resume_when_results_wait_and_nobody_lives_then_they_are_collected(
    tmp_path: Path, engine: RecordingEngine
) -> None:
    batch = make_batch(tmp_path, 1)
    (tmp_path / "td0").mkdir()
    finish(batch, 0, {"inv/inv.ctr": b"***finished***\n", "exe/crh.json": b"{}"}, last="inv/inv.ctr")
    resumed = resume(batch, engine, NO_HOST)
    assert resumed.collected.collected == 1
    assert resumed.counts == {StateName.COLLECTED: 1}
    assert (tmp_path / "td0/inv/inv.ctr").exists()


def test_resume_when_results_wait_and_pilots_live_then_they_are_left_to_collect(
    tmp_path: Path, engine: RecordingEngine
) -> None:
    batch = make_batch(tmp_path, 2)
    (tmp_path / "td0").mkdir()
    finish(batch, 0, {"exe/crh.json": b"{}"})
    record_started(batch.paths, record_intent(batch.paths, "local", 0, 1), this_process())
    assert resume(batch, engine, NO_HOST).collected.collected == 0


def test_resume_when_another_client_is_at_work_then_busy(batch: Batch, engine: RecordingEngine) -> None:
    with custody_of(batch), pytest.raises(Busy):
        resume(batch, engine, NO_HOST)
    assert read_submissions(batch.paths) == []


def test_lives_when_a_pilot_was_started_by_hand_then_its_session_tells(batch: Batch) -> None:
    assert lives(batch, NO_HOST) is False
    session = begin(batch)
    claim(batch, session, 0)
    assert lives(batch, NO_HOST) is True


def test_lives_when_the_last_pilot_is_dead_then_nobody(batch: Batch) -> None:
    claim(batch, begin(batch, who=dead_process()), 0)
    record_started(batch.paths, record_intent(batch.paths, "local", 0, 1), dead_process())
    assert lives(batch, NO_HOST) is False


def test_lives_when_a_claims_session_cannot_be_read_then_somebody_may(batch: Batch) -> None:
    make_names(batch, "0.claim.001", token="vanished")
    assert lives(batch, NO_HOST) is True


@pytest.mark.parametrize(
    ("counts", "over"),
    [
        ({}, True),
        ({StateName.DONE: 3, StateName.FAILED: 1, StateName.COLLECTED: 2, StateName.HELD: 1}, True),
        ({StateName.READY: 1}, False),
        ({StateName.RUNNING: 1, StateName.DONE: 5}, False),
    ],
)
def test_is_over_when_counted_then_only_what_can_still_run_keeps_it_going(
    counts: dict[StateName, int], over: bool
) -> None:
    assert is_over(Counter(counts)) is over


def test_start_pilots_when_one_ran_out_of_memory_then_a_larger_array_for_it_alone(
    batch: Batch, engine: RecordingEngine
) -> None:
    """The rest needs no larger jobs for its sake."""
    make_names(batch, "3.claim.001", "3.fail.001.memory", "3.claim.002", "3.fail.002.memory")
    resume(batch, engine, ToldHost())
    assert engine.sizes() == [(5, 2), (1, 2), (1, 1)]
    mb = 1 << 20
    small = int(1.25 * 50_000_000) + 32 * mb
    assert [one.memory_bytes for one in engine.asked] == [small, small, 4 * 256 * mb - 64 * mb]
