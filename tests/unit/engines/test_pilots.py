"""Intents without an answer, and how pilots are ended."""

from __future__ import annotations

import dataclasses
import signal
import subprocess
from pathlib import Path

import pytest

from crh_batch.engines.pilots import end_pilots, send_again, settle_intents
from crh_batch.engines.sending import script_path, write_script
from crh_batch.errors import HostError, MaybeSubmitted, SchedulerError, Unreachable
from crh_batch.hosts.base import Completed
from crh_batch.ledger.batch import Batch
from crh_batch.ledger.identity import start_ticks, this_process
from crh_batch.ledger.session import Job
from crh_batch.ledger.submissions import (
    read_submissions,
    record_intent,
    record_refused,
    record_started,
    record_submitted,
    submission_mark,
)
from unit.engines.told import SBATCH_SILENT, SQUEUE_SILENT, ToldHost, said
from unit.ledger.making import begin, make_batch


class Time:
    """A clock that only sleeping moves."""

    def __init__(self) -> None:
        self.now = 0.0

    def monotonic(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds


@pytest.fixture(autouse=True)
def clock(monkeypatch: pytest.MonkeyPatch) -> Time:
    """Nothing here really waits."""
    made = Time()
    monkeypatch.setattr("crh_batch.engines.pilots.time", made)
    return made


@pytest.fixture
def batch(tmp_path: Path) -> Batch:
    return make_batch(tmp_path, 1)


def test_settle_when_the_scheduler_knows_the_token_then_its_job_id_is_written_down(batch: Batch) -> None:
    """sbatch timed out, and had submitted all the same (seen)."""
    intent = record_intent(batch.paths, "slurm", 1, 3)
    host = ToldHost(squeue=said(f"4711_0|RUNNING|crh-{intent.token}|None\n4711_1|PENDING|crh-{intent.token}|None\n"))
    settle_intents(batch, host)
    (found,) = read_submissions(batch.paths)
    assert (found.job_id, found.refused) == ("4711", "")
    assert host.commands() == ["squeue"], "nothing is sent"


def test_settle_when_the_job_has_ended_and_only_the_accounting_knows_it_then_its_job_id(batch: Batch) -> None:
    intent = record_intent(batch.paths, "slurm", 1, 3)
    settle_intents(batch, ToldHost(squeue=said(), sacct=said(f"4711_0|COMPLETED|crh-{intent.token}\n")))
    assert read_submissions(batch.paths)[0].job_id == "4711"


def test_settle_when_its_script_was_not_written_then_nothing_was_sent(batch: Batch) -> None:
    record_intent(batch.paths, "slurm", 1, 3)
    settle_intents(batch, ToldHost(squeue=said()))
    (found,) = read_submissions(batch.paths)
    assert (found.job_id, found.refused) == ("", "the client ended before it was sent")


def test_settle_when_no_answer_knows_the_token_then_the_same_script_is_sent_again(batch: Batch) -> None:
    """It may still be taken in; a second job with the same token does no harm, one with a new token would do work."""
    intent = record_intent(batch.paths, "slurm", 1, 3)
    write_script(batch, intent, "#!/bin/sh\n")
    host = ToldHost(squeue=said(), sbatch=said("4711\n"))
    settle_intents(batch, host)
    assert read_submissions(batch.paths)[0].is_open
    (started,) = send_again(batch, host, {1})
    assert host.asked[-1][-1] == script_path(batch, intent)
    (found,) = read_submissions(batch.paths)
    assert (found.token, found.job_id) == (intent.token, "4711")
    assert "4711" in started.where
    assert send_again(batch, host, {1}) == []


def test_send_again_when_nothing_is_left_for_its_class_then_it_is_given_up(batch: Batch) -> None:
    intent = record_intent(batch.paths, "slurm", 1, 3)
    write_script(batch, intent, "#!/bin/sh\n")
    host = ToldHost(sbatch=said("4711\n"))
    assert send_again(batch, host, {5}) == []
    assert "nothing is left" in read_submissions(batch.paths)[0].refused
    assert host.asked == []


def test_send_again_when_it_is_silent_again_then_the_intent_stays_open(batch: Batch) -> None:
    intent = record_intent(batch.paths, "slurm", 1, 3)
    write_script(batch, intent, "#!/bin/sh\n")
    with pytest.raises(MaybeSubmitted):
        send_again(batch, ToldHost(sbatch=SBATCH_SILENT), {1})
    assert read_submissions(batch.paths)[0].is_open


@pytest.mark.parametrize("holder", ["", "12", "13"])
def test_settle_when_two_jobs_have_one_token_then_one_of_them_is_cancelled(batch: Batch, holder: str) -> None:
    """The scheduler took it in late, after it was sent again: the job whose pilot came first stays."""
    one = record_submitted(batch.paths, record_intent(batch.paths, "slurm", 1, 3), "13")
    if holder:
        session = begin(batch, job=Job("slurm", holder, "0", 0), submission=one.token)
        assert session.win_for_batch(submission_mark(one.token), batch.settings.links)
    queue = said(f"12_0|RUNNING|crh-{one.token}|None\n13_0|PENDING|crh-{one.token}|None\n")
    host = ToldHost(squeue=queue, scancel=said())
    settle_intents(batch, host)
    assert host.asked[-1] == ("scancel", "12" if holder == "13" else "13")


def test_end_pilots_when_two_jobs_have_one_token_then_both_are_cancelled(batch: Batch, clock: Time) -> None:
    one = record_submitted(batch.paths, record_intent(batch.paths, "slurm", 1, 3), "13")
    host = ToldHost(
        squeue=said(f"12_0|RUNNING|crh-{one.token}|None\n13_0|PENDING|crh-{one.token}|None\n"), scancel=said()
    )
    end_pilots(batch, host)
    assert ("scancel", "13", "12") in host.asked


def test_settle_when_the_job_appears_only_after_a_moment_then_it_is_found(batch: Batch, clock: Time) -> None:
    """A controller that was silent takes the job in together with the first question after it (seen)."""
    intent = record_intent(batch.paths, "slurm", 1, 3)

    def squeue(argv: tuple[str, ...]) -> Completed:
        return said(f"4711_0|PENDING|crh-{intent.token}|None\n" if clock.now else "")

    settle_intents(batch, ToldHost(squeue=squeue))
    (found,) = read_submissions(batch.paths)
    assert (found.job_id, found.refused) == ("4711", "")


@pytest.mark.parametrize("squeue", [SQUEUE_SILENT, said("", "", None)])
def test_settle_when_the_scheduler_does_not_answer_then_nothing_may_be_sent(batch: Batch, squeue: object) -> None:
    record_intent(batch.paths, "slurm", 1, 3)
    host = ToldHost()
    host.answers["squeue"] = squeue  # type: ignore[assignment]
    with pytest.raises(Unreachable, match="may or may not have reached the scheduler"):
        settle_intents(batch, host)
    assert read_submissions(batch.paths)[0].is_open


def test_settle_when_all_intents_were_answered_then_silence_does_no_harm(batch: Batch) -> None:
    record_submitted(batch.paths, record_intent(batch.paths, "slurm", 1, 3), "4711")
    before = read_submissions(batch.paths)
    assert not settle_intents(batch, ToldHost(squeue=SQUEUE_SILENT)).answered
    assert read_submissions(batch.paths) == before


def test_settle_when_a_local_pilot_was_not_written_down_then_it_counts_as_not_started(batch: Batch) -> None:
    record_intent(batch.paths, "local", 0, 1)
    host = ToldHost()
    settle_intents(batch, host)
    (found,) = read_submissions(batch.paths)
    assert found.refused
    assert host.asked == []


def test_settle_when_two_are_open_then_each_is_settled_by_its_own_token(batch: Batch) -> None:
    first, second = (record_intent(batch.paths, "slurm", threads, 3) for threads in (5, 1))
    settle_intents(batch, ToldHost(squeue=said(f"4711_0|RUNNING|crh-{second.token}|None\n")))
    found = {one.token: one for one in read_submissions(batch.paths)}
    assert found[first.token].refused
    assert found[second.token].job_id == "4711"


class Queue:
    """squeue and scancel of two jobs: 4711 runs until it is cancelled and a moment longer, 4712 has failed."""

    def __init__(self, alive: str, dead: str, clock: Time, *, ends_after_s: float = 1.0) -> None:
        self._alive, self._dead, self._clock, self._ends_after_s = alive, dead, clock, ends_after_s
        self._cancelled_at: float | None = None

    def squeue(self, argv: tuple[str, ...]) -> Completed:
        cancelled = self._cancelled_at
        over = cancelled is not None and self._clock.now >= cancelled + self._ends_after_s
        state = "CANCELLED" if over else "RUNNING" if cancelled is None else "COMPLETING"
        return said(f"4711_0|{state}|crh-{self._alive}|None\n4712_0|FAILED|crh-{self._dead}|None\n")

    def scancel(self, argv: tuple[str, ...]) -> Completed:
        self._cancelled_at = self._clock.now
        return said()


def two_jobs(batch: Batch) -> tuple[str, str]:
    alive = record_submitted(batch.paths, record_intent(batch.paths, "slurm", 5, 3), "4711")
    dead = record_submitted(batch.paths, record_intent(batch.paths, "slurm", 1, 3), "4712")
    record_refused(batch.paths, record_intent(batch.paths, "slurm", 1, 3), "no")
    return alive.token, dead.token


def test_end_pilots_when_jobs_live_then_they_are_cancelled_and_waited_for_and_dead_ones_are_not(
    batch: Batch, clock: Time
) -> None:
    queue = Queue(*two_jobs(batch), clock)
    host = ToldHost(squeue=queue.squeue, scancel=queue.scancel)
    end_pilots(batch, host)
    assert [argv for argv in host.asked if argv[0] == "scancel"] == [("scancel", "4711")]
    assert clock.now == 1.0


def test_end_pilots_when_a_job_does_not_end_then_it_is_not_waited_for_for_ever(batch: Batch, clock: Time) -> None:
    queue = Queue(*two_jobs(batch), clock, ends_after_s=1e9)
    end_pilots(batch, ToldHost(squeue=queue.squeue, scancel=queue.scancel))
    assert 5.0 < clock.now < 60.0


def test_end_pilots_when_the_scheduler_does_not_answer_then_it_is_cancelled_all_the_same(batch: Batch) -> None:
    record_submitted(batch.paths, record_intent(batch.paths, "slurm", 5, 3), "4711")
    host = ToldHost(squeue=SQUEUE_SILENT, scancel=said())
    end_pilots(batch, host)
    assert ("scancel", "4711") in host.asked


def test_end_pilots_when_scancel_fails_then_it_says_so(batch: Batch) -> None:
    record_submitted(batch.paths, record_intent(batch.paths, "slurm", 5, 3), "4711")
    # tests/recorded/slurm/scancel-controller-down.
    words = "scancel: error: Kill job error on job id 4711: Unable to contact slurm controller (connect failure)\n"
    host = ToldHost(squeue=SQUEUE_SILENT, scancel=said("", words, 8))
    with pytest.raises(SchedulerError, match="Unable to contact slurm controller") as caught:
        end_pilots(batch, host)
    assert (caught.value.argv, caught.value.exit_status) == ((), 8)


def test_end_pilots_when_nothing_lives_then_nothing_is_asked_for(batch: Batch) -> None:
    host = ToldHost()
    end_pilots(batch, host)
    assert host.asked == []


@pytest.mark.timeout(30)
def test_end_pilots_when_a_pilot_of_this_machine_lives_then_it_gets_sigterm(batch: Batch) -> None:
    child = subprocess.Popen(["sleep", "600"])
    try:
        who = dataclasses.replace(this_process(), pid=child.pid, started=start_ticks(child.pid) or 0)
        record_started(batch.paths, record_intent(batch.paths, "local", 0, 1), who)
        end_pilots(batch, ToldHost())
        assert child.wait() == -signal.SIGTERM
    finally:
        child.kill()
        child.wait()


def test_end_pilots_when_the_number_is_another_processs_by_now_then_that_one_is_left_alone(batch: Batch) -> None:
    child = subprocess.Popen(["sleep", "600"])
    try:
        who = dataclasses.replace(this_process(), pid=child.pid, started=(start_ticks(child.pid) or 0) - 1)
        record_started(batch.paths, record_intent(batch.paths, "local", 0, 1), who)
        end_pilots(batch, ToldHost())
        assert child.poll() is None
    finally:
        child.kill()
        child.wait()


def test_end_pilots_when_a_pilot_of_this_machine_is_another_users_then_says_whom_to_ask(
    batch: Batch, monkeypatch: pytest.MonkeyPatch
) -> None:
    anna = dataclasses.replace(this_process(), user="anna")
    record_started(batch.paths, record_intent(batch.paths, "local", 0, 1), anna)

    def kill(pid: int, number: int) -> None:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr("crh_batch.engines.pilots.os.kill", kill)
    with pytest.raises(HostError, match="anna") as caught:
        end_pilots(batch, ToldHost())
    assert "Ask anna" in caught.value.next_step
