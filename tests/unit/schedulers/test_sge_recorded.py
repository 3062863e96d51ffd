"""What a real SGE said (tests/recorded/sge), and what it must be read as: values written by hand."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from crh_batch.errors import MaybeSubmitted, ProfileError, SchedulerError, Unreachable
from crh_batch.hosts.base import Completed
from crh_batch.profile import Profile
from crh_batch.schedulers.base import JobRow, JobState
from crh_batch.schedulers.sge import Sge, parse_submitted
from crh_batch.schedulers.sge_queue import parse_qacct, parse_qstat, stuck_tasks

RECORDED = Path(__file__).parents[2] / "recorded" / "sge"
PENDING, RUNNING, ENDED, UNKNOWN = JobState
TOKEN = "20261122k3f9"
SGE = Sge()


def recorded(case: str) -> Completed:
    directory = RECORDED / case
    argv = json.loads((directory / "argv.json").read_text())
    status = int((directory / "exit_status").read_text())
    return Completed(tuple(argv), status, (directory / "stdout").read_text(), (directory / "stderr").read_text())


def tasks(rows: list[JobRow]) -> dict[str, JobState]:
    return {f"{row.token} {row.task}".strip(): row.state for row in rows}


@pytest.mark.parametrize(
    ("case", "job_id"),
    [("qsub-array", "10"), ("qsub-not-an-array", "11"), ("qsub-directory-missing", "14"), ("qsub-time-limit", "18")],
)
def test_qsub_when_it_accepted_then_the_job_id(case: str, job_id: str) -> None:
    assert parse_submitted(recorded(case)) == job_id


@pytest.mark.parametrize(
    ("case", "words"),
    [
        ("qsub-queue-unknown", 'unknown queue "nowhere"'),
        ("qsub-resource-unknown", 'unknown resource "bigmem"'),
        ("qsub-environment-unknown", 'parallel environment "several" does not exist'),
        ("qsub-project-unknown", 'project "geo" does not exist'),
        ("qsub-too-many-tasks", "more than 1000 tasks"),
        ("qsub-time-malformed", '"h_rt" is not a time value'),
        ("qsub-priority-malformed", 'invalid priority "-2000"'),
        ("qsub-name-begins-with-a-digit", "cannot start with a digit"),
        ("qsub-array-from-0", "0 is an invalid task id"),
        ("qsub-option-unknown", 'invalid option argument "-no-such-option"'),
        ("qsub-more-slots-than-a-node-has", "no suitable queues"),
        ("qsub-script-missing", "No such file or directory"),
    ],
)
def test_qsub_when_it_refused_then_its_reason_and_nothing_open(case: str, words: str) -> None:
    with pytest.raises(SchedulerError) as caught:
        parse_submitted(recorded(case))
    assert type(caught.value) is SchedulerError
    assert words in caught.value.message
    assert "Exiting" not in caught.value.message


@pytest.mark.parametrize("case", ["qsub-master-silent", "qsub-master-down"])
def test_qsub_when_the_master_did_not_answer_then_it_may_have_submitted(case: str) -> None:
    with pytest.raises(MaybeSubmitted):
        parse_submitted(recorded(case))


def test_qstat_when_an_array_is_in_all_states_then_each_task_has_its_own() -> None:
    rows = parse_qstat(recorded("qstat-mixed"), {TOKEN, "single", "held"})
    assert tasks(rows) == {
        **{f"{TOKEN} {task}": ENDED for task in (1, 2)},
        **{f"{TOKEN} {task}": RUNNING for task in (3, 4, 5)},
        **{f"{TOKEN} {task}": PENDING for task in (6, 7, 8, 9)},
        "single": PENDING,
        "held 1": PENDING,
        "held 2": PENDING,
    }


def test_qstat_when_pending_tasks_are_grouped_then_it_is_read_the_same() -> None:
    tokens = {TOKEN, "single", "held"}
    expanded = parse_qstat(recorded("qstat-mixed"), tokens)
    grouped = parse_qstat(recorded("qstat-mixed-not-expanded"), tokens)
    assert tasks(grouped) == tasks(expanded)


def test_qstat_when_jobs_are_foreign_then_they_are_passed_over() -> None:
    assert parse_qstat(recorded("qstat-mixed"), {"foreign", "", "single"})[0].name == "crh-single"
    assert parse_qstat(recorded("qstat-nothing"), {TOKEN}) == []
    assert parse_qstat(recorded("qstat-user-unknown"), {TOKEN}) == []


@pytest.mark.parametrize(
    ("case", "token", "expected"),
    [
        ("qstat-suspended", TOKEN, "s"),
        ("qstat-error", "late", "Eqw"),
        ("qstat-put-back", "again", "Rq"),
        ("qstat-running-again", "again", "Rr"),
        ("qstat-being-deleted", "told", "dr"),
        ("qstat-node-silent", "dead", "r"),
        ("qstat-deleted-on-silent-node", "dead", "dr"),
        ("qstat-ended", "overtime", "z"),
    ],
)
def test_qstat_words_of_single_states(case: str, token: str, expected: str) -> None:
    states = {"s": RUNNING, "Eqw": PENDING, "Rq": PENDING, "Rr": RUNNING, "dr": RUNNING, "r": RUNNING, "z": ENDED}
    rows = parse_qstat(recorded(case), {token})
    assert expected in {row.raw_state for row in rows}
    assert {row.state for row in rows if row.raw_state == expected} == {states[expected]}


@pytest.mark.parametrize("case", ["qstat-master-silent", "qstat-master-down"])
def test_qstat_when_nobody_answered_then_nothing_is_known(case: str) -> None:
    with pytest.raises(Unreachable) as caught:
        parse_qstat(recorded(case), {TOKEN})
    assert caught.value.message.startswith("qstat failed: ")


def test_tasks_in_error_when_a_directory_was_missing_then_those_alone_are_tried_again() -> None:
    rows = parse_qstat(recorded("qstat-error"), {"late", "other"})
    assert SGE.stuck_argv(rows) == ["qstat", "-j", "14,15", "-xml"]
    assert stuck_tasks(recorded("qstat-j-error")) == ["14.1", "14.2"]
    assert SGE.stuck_argv(parse_qstat(recorded("qstat-mixed"), {TOKEN})) == []
    assert stuck_tasks(recorded("qstat-j-array")) == []
    assert stuck_tasks(recorded("qstat-j-unknown")) == []


def test_qacct_when_tasks_have_ended_then_a_row_each() -> None:
    rows = parse_qacct(recorded("qacct-array"), {TOKEN})
    assert rows is not None
    assert {(row.job_id, row.task, row.raw_state) for row in rows} == {
        ("10", "1", "failed 0, exit status 0"),
        ("10", "2", "failed 0, exit status 3"),
    }
    assert tasks(rows) == {f"{TOKEN} 1": ENDED, f"{TOKEN} 2": ENDED}


def test_qacct_when_a_limit_was_passed_then_memory_is_told_from_time() -> None:
    rows = parse_qacct(recorded("qacct-ends"), {"hungry", "overtime", "again"})
    assert rows is not None
    assert {row.token: row.out_of_memory for row in rows} == {
        "hungry": True,
        "overtime": False,
        "again": False,
    }
    assert {row.token: row.reason for row in rows if row.token in ("hungry", "again")} == {
        "hungry": "qmaster enforced h_rt, h_cpu, or h_vmem limit",
        "again": "assumedly after job",
    }


def test_qacct_when_it_knows_no_such_job_then_no_rows_and_when_it_is_off_then_none() -> None:
    assert parse_qacct(recorded("qacct-later"), {TOKEN}) == []
    assert parse_qacct(recorded("qacct-name-unknown"), {TOKEN}) == []
    assert parse_qacct(recorded("qacct-no-file-yet"), {TOKEN}) is None
    assert parse_qacct(recorded("qacct-accounting-off"), {TOKEN}) is None
    # It reads a file and asks nobody.
    rows = parse_qacct(recorded("qacct-master-down"), {TOKEN})
    assert rows is not None and len(rows) > 2


@pytest.mark.parametrize(
    "case", ["qdel-array", "qdel-twice", "qdel-ended", "qdel-unknown", "qdel-task-running", "qdel-task-pending"]
)
def test_qdel_when_jobs_end_or_are_over_then_they_are_cancelled(case: str) -> None:
    assert SGE.was_cancelled(recorded(case))


def test_qdel_when_nobody_answered_then_they_are_not() -> None:
    assert not SGE.was_cancelled(recorded("qdel-master-down"))


def limits_answers() -> list[Completed]:
    return [recorded(case) for case in ("qconf-sconf", "qconf-sq-all", "qhost-q-xml")]


def test_limits_when_asked_then_tasks_slots_memory_and_the_environment_of_one_node() -> None:
    answers = limits_answers()
    assert [list(done.argv) for done in answers] == SGE.limits_argvs(Profile())
    more = SGE.more_limits_argvs(answers, Profile())
    assert more == [["qconf", "-sp", "smp"], ["qconf", "-sp", "make"]]
    limits = SGE.parse_limits([*answers, recorded("qconf-sp-smp"), recorded("qconf-sp-make")], Profile())
    assert (limits.max_array_size, limits.cores) == (1000, 4)
    assert limits.memory_mb > 1000
    assert limits.parallel_environment == "smp"
    assert {one.name: one.max_minutes for one in limits.partitions} == {"work": None, "short": 2}


def test_limits_when_no_environment_keeps_slots_together_then_none() -> None:
    limits = SGE.parse_limits([*limits_answers(), recorded("qconf-sp-make"), recorded("qconf-sp-unknown")], Profile())
    assert limits.parallel_environment == ""


def test_limits_when_the_profile_names_queue_and_environment_then_these() -> None:
    profile = Profile(partition="short", parallel_environment="mine")
    assert SGE.more_limits_argvs(limits_answers(), profile) == []
    limits = SGE.parse_limits(limits_answers(), profile)
    assert [one.name for one in limits.partitions] == ["short"]
    assert limits.parallel_environment == "mine"


def test_limits_when_the_queue_is_unknown_or_the_master_is_down_then_it_is_said() -> None:
    with pytest.raises(ProfileError, match="SGE knows no queue of this name"):
        SGE.parse_limits(limits_answers(), Profile(partition="wrok"))
    with pytest.raises(Unreachable, match="qconf failed"):
        SGE.parse_limits([recorded("qconf-sconf-master-down"), *limits_answers()[1:]], Profile())
