"""What lives: alive, dead or unknown, and dead only on proof."""

from __future__ import annotations

import dataclasses
import json
import os
from pathlib import Path

import pytest

from crh_batch.engines.living import FORGOTTEN_AFTER_S, Living, look, remember_missing
from crh_batch.ledger import durable
from crh_batch.ledger.batch import Batch
from crh_batch.ledger.identity import Verdict, Who, boot_id, this_process
from crh_batch.ledger.session import Job, SessionHeader
from crh_batch.ledger.submissions import Submission, record_intent, record_refused, record_submitted
from crh_batch.schedulers.base import JobRow, JobState
from unit.engines.told import SACCT_OFF, SQUEUE_SILENT, ToldHost, said
from unit.ledger.making import ELSEWHERE, dead_process, failing, make_batch

ALIVE, DEAD, UNKNOWN = Verdict
PENDING, RUNNING, ENDED, STRANGE = JobState
NOTHING: frozenset[str] = frozenset()


def header(task: str = "3", *, who: Who = ELSEWHERE, submission: str = "subm", job_id: str = "77") -> SessionHeader:
    return SessionHeader("slurm-77_3-r0-x", "pilot", who, Job("slurm", job_id, task, 0), 0.0, submission, 4)


def row(state: JobState, task: str = "3", *, job_id: str = "77", name: str = "crh-subm") -> JobRow:
    return JobRow(job_id, task, state, state.value, name)


@pytest.mark.parametrize(
    ("rows", "forgotten", "expected"),
    [
        ([row(RUNNING)], NOTHING, ALIVE),
        ([row(ENDED)], NOTHING, DEAD),
        # Requeued: its next life will say so itself.
        ([row(PENDING)], NOTHING, UNKNOWN),
        ([row(STRANGE)], NOTHING, UNKNOWN),
        # Absent is not dead: squeue forgets, and may not know yet.
        ([], NOTHING, UNKNOWN),
        ([row(ENDED, "4")], NOTHING, UNKNOWN),
        # Unless no answer has known the whole submission for a minute.
        ([], frozenset({"subm"}), DEAD),
        ([], frozenset({"other"}), UNKNOWN),
        # The same number under another name is another job: a controller that crashed may give it out again (seen).
        ([row(ENDED, name="crh-other")], NOTHING, UNKNOWN),
        ([row(ENDED, job_id="78")], NOTHING, UNKNOWN),
        # squeue did not answer at all.
        (None, NOTHING, UNKNOWN),
    ],
)
def test_verdict_when_a_session_is_of_another_machine_then_its_job_tells(
    rows: list[JobRow] | None, forgotten: frozenset[str], expected: Verdict
) -> None:
    assert Living(rows, forgotten).verdict(header()) is expected


@pytest.mark.parametrize(
    ("rows", "expected"),
    [
        ([row(RUNNING, "4")], DEAD),
        ([row(ENDED, "4")], DEAD),
        ([row(RUNNING, "3"), row(RUNNING, "4")], ALIVE),
        ([row(RUNNING, "4", job_id="78")], UNKNOWN),
        ([row(RUNNING, "4", name="crh-other")], UNKNOWN),
        ([], UNKNOWN),
    ],
)
def test_verdict_when_sge_lists_a_job_without_a_task_then_the_task_has_ended(
    rows: list[JobRow], expected: Verdict
) -> None:
    """The same answer of Slurm says nothing: the test above."""
    session = dataclasses.replace(header(), job=Job("sge", "77", "3", 0))
    assert Living(rows, NOTHING).verdict(session) is expected


@pytest.mark.parametrize(
    ("who", "expected"), [(this_process(), ALIVE), (dead_process(), DEAD)], ids=["living", "of an earlier boot"]
)
def test_verdict_when_the_process_can_be_seen_here_then_it_tells_whatever_the_scheduler_says(
    who: Who, expected: Verdict
) -> None:
    assert Living([row(RUNNING)], NOTHING).verdict(header(who=who)) is expected
    assert Living([row(ENDED)], NOTHING).verdict(header(who=who)) is expected
    assert Living(None, NOTHING).verdict(header(who=who)) is expected


def test_verdict_when_a_session_has_no_job_then_only_its_process_can_tell() -> None:
    outside = dataclasses.replace(header(), job=Job(), submission="")
    assert Living([row(ENDED)], frozenset({""})).verdict(outside) is UNKNOWN


def submission(
    engine: str = "slurm", *, job_id: str = "77", process: Who | None = None, refused: str = ""
) -> Submission:
    return Submission("subm", engine, 1, 5, 0.0, job_id, process, refused)


@pytest.mark.parametrize(
    ("rows", "forgotten", "expected"),
    [
        ([row(PENDING, "0"), row(ENDED, "1")], NOTHING, ALIVE),
        ([row(RUNNING, "0"), row(ENDED, "1")], NOTHING, ALIVE),
        ([row(ENDED, "0"), row(ENDED, "1")], NOTHING, DEAD),
        ([row(ENDED, "0"), row(STRANGE, "1")], NOTHING, UNKNOWN),
        ([], NOTHING, UNKNOWN),
        ([], frozenset({"subm"}), DEAD),
        (None, NOTHING, UNKNOWN),
        ([row(ENDED, name="crh-other")], NOTHING, UNKNOWN),
    ],
)
def test_submission_when_its_tasks_are_known_then_one_that_may_work_is_enough(
    rows: list[JobRow] | None, forgotten: frozenset[str], expected: Verdict
) -> None:
    assert Living(rows, forgotten).submission(submission()) is expected


@pytest.mark.parametrize(
    ("one", "expected"),
    [
        (submission(refused="no such partition"), DEAD),
        (submission("local", process=this_process()), ALIVE),
        (submission("local", process=dead_process()), DEAD),
        (submission("local", process=ELSEWHERE), UNKNOWN),
        (submission("local", process=None), DEAD),
    ],
)
def test_submission_when_no_scheduler_is_needed_to_tell_then_it_is_told(one: Submission, expected: Verdict) -> None:
    assert Living(None, NOTHING).submission(one) is expected


def test_job_id_when_a_token_is_looked_for_then_its_job() -> None:
    living = Living([row(RUNNING, "0"), row(RUNNING, "1")], NOTHING)
    assert living.job_id("subm") == "77"
    assert living.job_id("other") == ""


@pytest.fixture
def batch(tmp_path: Path) -> Batch:
    return make_batch(tmp_path, 1)


def submit(batch: Batch, job_id: str = "77") -> Submission:
    return record_submitted(batch.paths, record_intent(batch.paths, "slurm", 1, 5), job_id)


def line(one: Submission, state: str, task: int = 0) -> str:
    return f"{one.job_id}_{task}|{state}|crh-{one.token}|None\n"


def test_look_when_nothing_was_sent_to_a_scheduler_then_it_is_not_asked(batch: Batch) -> None:
    host = ToldHost(squeue=said())
    record_intent(batch.paths, "local", 0, 1)
    record_refused(batch.paths, record_intent(batch.paths, "slurm", 1, 1), "no")
    assert look(batch, host).answered
    assert host.asked == []


def test_look_when_there_are_several_submissions_then_one_question_for_all(batch: Batch) -> None:
    first, second = submit(batch, "77"), submit(batch, "78")
    host = ToldHost(squeue=said(line(first, "RUNNING") + line(second, "FAILED")))
    living = look(batch, host)
    assert [living.submission(one) for one in (first, second)] == [ALIVE, DEAD]
    ((_, *arguments),) = host.asked
    assert f"--name=crh-{first.token},crh-{second.token}" in arguments


def test_look_when_squeue_fails_then_nothing_is_dead(batch: Batch) -> None:
    one = submit(batch)
    for host in (ToldHost(squeue=SQUEUE_SILENT), ToldHost(squeue=said("", "", None)), ToldHost()):
        living = look(batch, host)
        assert not living.answered
        assert living.submission(one) is UNKNOWN
        assert living.verdict(header(submission=one.token)) is UNKNOWN
    assert not os.path.exists(batch.paths.liveness), "silence is no answer that lacks the job"


def test_look_when_squeue_has_forgotten_a_job_then_the_accounting_is_asked_about_it_alone(batch: Batch) -> None:
    known, forgotten = submit(batch, "77"), submit(batch, "78")
    sacct = f"78_0|TIMEOUT|crh-{forgotten.token}\n78_1|COMPLETED|crh-{forgotten.token}\n"
    host = ToldHost(squeue=said(line(known, "RUNNING")), sacct=said(sacct))
    living = look(batch, host)
    assert living.submission(forgotten) is DEAD
    assert living.verdict(header("0", submission=forgotten.token, job_id="78")) is DEAD
    assert host.commands() == ["squeue", "sacct"]
    (names,) = [word for word in host.asked[1] if word.startswith("--name=")]
    assert names == f"--name=crh-{forgotten.token}"
    (since,) = [word for word in host.asked[1] if word.startswith("--starttime=")]
    assert len(since) == len("--starttime=2026-11-22T10:15:00")


@pytest.mark.parametrize("host", [ToldHost(squeue=said(), sacct=SACCT_OFF), ToldHost(squeue=said())])
def test_look_when_nobody_knows_a_job_then_it_is_dead_after_a_minute_of_answers(
    batch: Batch, host: ToldHost, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = submit(batch)
    now = [1000.0]
    monkeypatch.setattr("crh_batch.engines.living.time.monotonic", lambda: now[0])
    assert look(batch, host).submission(one) is UNKNOWN
    now[0] = 1059.0
    assert look(batch, host).submission(one) is UNKNOWN
    now[0] = 1060.0
    assert look(batch, host).submission(one) is DEAD
    # It is known again: a controller had been restarted.
    host_again = ToldHost(squeue=said(line(one, "RUNNING")))
    assert look(batch, host_again).submission(one) is ALIVE
    now[0] = 1100.0
    assert look(batch, host).submission(one) is UNKNOWN, "the minute begins anew"


def test_remember_missing_when_times_pass_then_only_what_was_missing_all_the_time_is_forgotten(batch: Batch) -> None:
    assert FORGOTTEN_AFTER_S == 60.0
    assert remember_missing(batch, ["a", "b"], now=0.0) == NOTHING
    assert remember_missing(batch, ["a"], now=50.0) == NOTHING
    assert remember_missing(batch, ["a", "b"], now=60.0) == {"a"}
    assert remember_missing(batch, ["a", "b"], now=109.9) == {"a"}
    assert remember_missing(batch, ["a", "b"], now=120.0) == {"a", "b"}
    assert remember_missing(batch, [], now=130.0) == NOTHING


def test_remember_missing_when_the_note_is_of_another_boot_then_it_is_begun_anew(batch: Batch) -> None:
    """Monotonic clocks of two machines, or of two boots of one, have nothing to do with each other."""
    Path(batch.paths.liveness).write_text(json.dumps({"boot_id": "another", "first_missing": {"a": 0.0}}))
    assert remember_missing(batch, ["a"], now=1000.0) == NOTHING
    assert json.loads(Path(batch.paths.liveness).read_text()) == {"boot_id": boot_id(), "first_missing": {"a": 1000.0}}


@pytest.mark.parametrize(
    "note",
    [
        "",
        "garbage",
        "[]",
        "{}",
        '{"first_missing": 5}',
        '{"first_missing": {"a": "soon"}}',
        '{"first_missing": {"a": null}}',
    ],
)
def test_remember_missing_when_the_note_is_damaged_then_it_is_begun_anew(batch: Batch, note: str) -> None:
    """It is a hint; losing it costs a minute."""
    text = note.replace("{", f'{{"boot_id": "{boot_id()}", ', 1) if note.startswith('{"') else note
    Path(batch.paths.liveness).write_text(text)
    assert remember_missing(batch, ["a"], now=1000.0) == NOTHING
    assert remember_missing(batch, ["a"], now=1060.0) == {"a"}


def test_remember_missing_when_nothing_can_be_written_then_it_still_answers(
    batch: Batch, monkeypatch: pytest.MonkeyPatch
) -> None:
    """``status`` is for those who may only read, too."""
    monkeypatch.setattr(durable.calls, "open", failing(13))
    assert remember_missing(batch, ["a"], now=0.0) == NOTHING


@pytest.mark.parametrize(
    ("state", "starved", "expected"), [(ENDED, True, True), (ENDED, False, False), (RUNNING, True, False)]
)
def test_ran_out_of_memory_when_the_scheduler_says_so_of_an_ended_job_then_yes(
    state: JobState, starved: bool, expected: bool
) -> None:
    said_of = dataclasses.replace(row(state), out_of_memory=starved)
    assert Living([said_of], NOTHING).ran_out_of_memory(header()) is expected
    assert not Living([said_of], NOTHING).ran_out_of_memory(header("4"))


@pytest.mark.parametrize(("uid", "forgotten"), [(os.geteuid(), True), (os.geteuid() + 1, False), (None, True)])
def test_look_when_nothing_is_told_of_another_users_job_then_it_is_not_forgotten(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, uid: int | None, forgotten: bool
) -> None:
    """Slurm's PrivateData and qstat -u keep them to themselves."""
    batch = make_batch(tmp_path, 1)
    submission = record_submitted(batch.paths, record_intent(batch.paths, "slurm", 1, 3), "77")
    path = Path(batch.paths.submissions)
    lines = [json.loads(line) for line in path.read_bytes().splitlines()]
    lines[0] = {
        **{key: value for key, value in lines[0].items() if key != "uid"},
        **({} if uid is None else {"uid": uid}),
    }
    path.write_bytes(b"".join(json.dumps(line).encode() + b"\n" for line in lines))
    host = ToldHost(squeue=said(), sacct=SACCT_OFF)
    now = 1000.0
    monkeypatch.setattr("crh_batch.engines.living.time.monotonic", lambda: now)
    look(batch, host)
    now += FORGOTTEN_AFTER_S + 1
    assert look(batch, host).submission(submission) is (DEAD if forgotten else UNKNOWN)
