"""The job around a pilot, read from its environment."""

from __future__ import annotations

import pytest

from crh_batch.ledger.session import Job
from crh_batch.pilot.job import Surroundings, label_of, label_without_restart, parse_time_left, surroundings


def test_surroundings_when_in_an_array_task_then_array_and_task() -> None:
    environment = {
        "SLURM_JOB_ID": "4714",
        "SLURM_ARRAY_JOB_ID": "4711",
        "SLURM_ARRAY_TASK_ID": "3",
        "SLURM_JOB_END_TIME": "1795000000",
    }
    expected = Surroundings(Job("slurm", "4711", "3", 0), "slurm-4711_3-r0", 1795000000.0)
    assert surroundings(environment, 1) == expected


def test_surroundings_when_in_a_requeued_job_without_tasks_then_its_restart_counts() -> None:
    environment = {"SLURM_JOB_ID": "4711", "SLURM_RESTART_COUNT": "2"}
    assert surroundings(environment, 1) == Surroundings(Job("slurm", "4711", "", 2), "slurm-4711-r2", None)


@pytest.mark.parametrize(
    ("environment", "job", "label"),
    [
        ({"JOB_ID": "4711", "SGE_TASK_ID": "3", "RESTARTED": "0"}, Job("sge", "4711", "3", 0), "sge-4711_3-r0"),
        ({"JOB_ID": "4711", "SGE_TASK_ID": "3", "RESTARTED": "1"}, Job("sge", "4711", "3", 1), "sge-4711_3-r1"),
        ({"JOB_ID": "4711", "SGE_TASK_ID": "undefined"}, Job("sge", "4711", "", 0), "sge-4711-r0"),
    ],
)
def test_surroundings_when_in_a_job_of_sge_then_its_task_and_whether_it_was_restarted(
    environment: dict[str, str], job: Job, label: str
) -> None:
    assert surroundings(environment, 1) == Surroundings(job, label, None)


def test_surroundings_when_only_a_job_id_is_there_then_it_is_no_job_of_sge() -> None:
    """Other things are called JOB_ID too."""
    assert surroundings({"JOB_ID": "4711"}, 1).job == Job()


@pytest.mark.parametrize("end", ["", "0", "UNLIMITED", "-5"])
def test_surroundings_when_the_end_is_not_known_then_none(end: str) -> None:
    assert surroundings({"SLURM_JOB_ID": "1", "SLURM_JOB_END_TIME": end}, 1).end_time is None


def test_surroundings_when_outside_of_jobs_then_host_and_process(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("socket.gethostname", lambda: "Node-07.Cluster.Example.org")
    assert surroundings({"SLURM_JOB_ID": ""}, 77) == Surroundings(Job(), "node-07-cluster-exam-77", None)
    monkeypatch.setattr("socket.gethostname", lambda: "_")
    assert surroundings({}, 77).label == "host-77"


def test_label_when_a_job_lives_again_then_only_its_end_differs() -> None:
    first, second = Job("slurm", "12", "1", 0), Job("slurm", "12", "1", 1)
    assert label_of(first) == "slurm-12_1-r0"
    assert label_of(second) == "slurm-12_1-r1"
    assert label_without_restart(first) == label_without_restart(second) == "slurm-12_1-r"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("59", 59.0),
        ("0:04", 4.0),
        ("19:58", 1198.0),
        ("1:00:00", 3600.0),
        ("10:02:03", 36123.0),
        ("2-00:00:01", 172801.0),
        ("1-10:02:03", 122523.0),
        (" 19:58\n", 1198.0),
        ("UNLIMITED", None),
        ("INVALID", None),
        ("NOT_SET", None),
        ("", None),
        ("-5:00", None),
        ("1:2:3:4", None),
    ],
)
def test_parse_time_left_when_squeue_prints_it_then_seconds(text: str, expected: float | None) -> None:
    assert parse_time_left(text) == expected
