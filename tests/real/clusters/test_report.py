"""The report on what ran on real schedulers: with accounting what that says, without it what the ledger knows."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from clusters.cluster import Cluster
from conftest import Crh, wait_until
from crh_batch.demo import TomodirSpec, write_demo, write_tomodir
from crh_batch.ledger.batch import Batch, batches_of
from crh_batch.ledger.submissions import Submission, read_submissions
from gate import Gate


@pytest.fixture
def survey(tmp_path: Path, programs: Path) -> Path:
    directory = tmp_path / "survey"
    directory.mkdir()
    return directory


@pytest.fixture
def gate(survey: Path, tmp_path: Path, programs: Path) -> Iterator[Gate]:
    """A gate that is closed, for the programs of the survey."""
    gate = Gate(tmp_path / "gate", programs)
    (survey / "crh-batch.toml").write_text(gate.profile)
    yield gate
    gate.open()


def report(crh: Crh, survey: Path) -> dict[str, Any]:
    said = json.loads(crh("report", "--json", cwd=survey, local=False, code=None).stdout)
    (batch,) = said["batches"]
    assert isinstance(batch, dict)
    return batch


def submissions(survey: Path) -> list[Submission]:
    return read_submissions(Batch(batches_of(str(survey))[-1]).paths)


def core_seconds(cluster: Cluster, job_id: str) -> float:
    """Cores times seconds of a job's tasks, all lives of them, as the accounting's own columns say."""
    if cluster.scheduler == "slurm":
        argv = ["sacct", "-n", "-P", "-X", "-D", f"--jobs={job_id}", "--format=CPUTimeRAW"]
        return float(sum(int(line) for line in cluster.run(argv).stdout.split()))
    done = cluster.run(["qacct", "-j", job_id], check=False)
    slots = [int(found) for found in re.findall(r"^slots +(\d+)", done.stdout, re.MULTILINE)]
    walls = [float(found) for found in re.findall(r"^ru_wallclock +(\d+)", done.stdout, re.MULTILINE)]
    return sum(one * other for one, other in zip(slots, walls))


def has_accounting(cluster: Cluster) -> bool:
    return bool(getattr(cluster, "accounting", getattr(getattr(cluster, "settings", None), "accounting", False)))


def test_report_holds_use_against_what_was_asked_for(any_cluster: Cluster, survey: Path, crh: Crh) -> None:
    write_demo(survey / "demo", 4, with_broken=True)
    crh("submit", "--wait", cwd=survey, local=False, code=1)
    jobs = [one.job_id for one in submissions(survey)]
    for job in jobs:
        any_cluster.wait_for_end(job)
    accounting = has_accounting(any_cluster)
    if accounting:
        for job in jobs:
            any_cluster.wait_until(partial(core_seconds, any_cluster, job), 30, "the accounting knows all jobs")

    said = report(crh, survey)
    assert said["accounting"] is accounting
    assert {one["threads"]: one["finished"] for one in said["classes"]} == {1: 2, 4: 2}
    assert [(one["failure"], one["tomodirs"]) for one in said["messages"]] == [("input", 1)]
    assert said["longest_wait_s"] is not None and 0 <= said["longest_wait_s"] < 60
    for one in said["classes"]:
        assert one["cpu_s"] > 0
        assert one["requested_memory_bytes"] >= one["estimated_bytes"]
        if accounting:
            assert one["job_peak_bytes"] is None or one["job_peak_bytes"] > 1e6
    if accounting:
        expected = sum(core_seconds(any_cluster, job) for job in jobs)
        assert said["requested_cpu_s"] == pytest.approx(expected, abs=4 * len(jobs))
    assert sum(one["requested_cpu_s"] for one in said["classes"]) == pytest.approx(said["requested_cpu_s"], abs=0.01)
    text = crh("report", cwd=survey, local=False, code=1).stdout
    assert ("by the scheduler's accounting" in text) is accounting
    assert "longest time in the queue" in text


def test_report_when_a_job_was_put_back_then_both_of_its_lives_count(
    cluster: Cluster, survey: Path, crh: Crh, gate: Gate
) -> None:
    write_tomodir(survey / "td", TomodirSpec(dims="2D", inversion=False))
    if cluster.requeue_directive:
        with (survey / "crh-batch.toml").open("a") as stream:
            stream.write(f'extra_directives = ["{cluster.requeue_directive}"]\n')
    crh("submit", cwd=survey, local=False)
    (submission,) = submissions(survey)

    def counts() -> Any:
        return json.loads(crh("status", "--json", cwd=survey, local=False, code=None).stdout)["counts"]

    wait_until("it runs", lambda: counts()["running"], timeout_s=40)
    cluster.requeue(submission.job_id, 0)
    wait_until("both lives have begun", lambda: report(crh, survey)["pilots"] == 2, timeout_s=90)
    gate.open()
    crh("wait", "--timeout", "60", cwd=survey, local=False)
    cluster.wait_for_end(submission.job_id)
    cluster.wait_until(
        lambda: (
            report(crh, survey)["requested_cpu_s"] == pytest.approx(core_seconds(cluster, submission.job_id), abs=3)
        ),
        30,
        "the accounting knows both lives",
    )
    said = report(crh, survey)
    (one,) = said["classes"]
    assert (one["finished"], one["attempts"]) == (1, 2)
    assert sum(one["failed_attempts"].values()) == 1
