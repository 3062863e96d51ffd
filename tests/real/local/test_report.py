"""The report on what ran on this machine."""

from __future__ import annotations

import json
import os
import signal
import time
from pathlib import Path
from typing import Any

import pytest

from conftest import Crh, wait_until
from crh_batch.demo import write_demo
from crh_batch.ledger.batch import Batch, batches_of
from crh_batch.ledger.submissions import read_submissions


def report(crh: Crh, cwd: Path, *arguments: str, code: int) -> dict[str, Any]:
    said = json.loads(crh("report", "--json", *arguments, cwd=cwd, code=code).stdout)
    assert said["complete"] is (code == 0)
    (batch,) = said["batches"]
    assert isinstance(batch, dict)
    return batch


@pytest.fixture
def survey(tmp_path: Path, programs: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    write_demo(tmp_path / "survey", 4, with_broken=True)
    return tmp_path / "survey"


def test_report_tells_what_was_used_and_why_some_failed(survey: Path, crh: Crh) -> None:
    began = time.monotonic()
    crh("run", "-j2", cwd=survey, code=1)
    took_s = time.monotonic() - began

    said = report(crh, survey, code=1)
    by_class = {(one["dims"], one["threads"]): one for one in said["classes"]}
    assert sum(one["tomodirs"] for one in by_class.values()) == 5
    assert sum(one["finished"] for one in by_class.values()) == 4
    broken = by_class["2D", 1]
    assert (broken["failures"], broken["failed_attempts"]) == ({"input": 1}, {"input": 1})
    assert broken["attempts"] == broken["tomodirs"] == 3
    for one in by_class.values():
        assert one["stages"] == ["modelling", "inversion"]
        assert 5e6 < one["peak_bytes"] < 1e9
        assert one["requested_cpu_s"] >= 0.9 * one["cpu_s"] > 0
    assert [(one["failure"], one["tomodirs"]) for one in said["messages"]] == [("input", 1)]
    assert "Magnitude <= 0" in said["messages"][0]["error"]
    (host,) = said["hosts"]
    assert (host["host"], host["finished"], host["failed_attempts"]) == (os.uname().nodename, 4, 1)
    assert host["per_hour"] == pytest.approx(4 / host["hours"], rel=0.01)
    assert 0 < said["cpu_s"] + said["own_cpu_s"] < 2 * took_s
    assert said["requested_cpu_s"] == pytest.approx(2 * 3600 * said["hours"], rel=0.01)
    assert 3600 * said["hours"] < took_s
    assert (said["accounting"], said["longest_wait_s"]) == (False, None)

    text = crh("report", cwd=survey, code=1).stdout
    assert "4 of 5 tomodirs finished" in text
    assert "Magnitude <= 0" in text
    assert f"{os.uname().nodename}" in text
    assert "cores times the pilots' lives" in text


def test_report_on_a_part_then_only_it_counts(survey: Path, crh: Crh) -> None:
    crh("run", "-j2", cwd=survey, code=1)
    whole = report(crh, survey, code=1)
    part = report(crh, survey, "line1/td00_2D", "line1/td01_2.5D", code=0)
    assert sum(one["attempts"] for one in part["classes"]) == 2
    assert sum(one["finished"] for one in part["hosts"]) == 2
    assert part["messages"] == []
    assert 0 < part["cpu_s"] < whole["cpu_s"]
    assert part["requested_cpu_s"] < whole["requested_cpu_s"]


def test_report_when_a_pilot_was_killed_then_its_attempts_are_lost_ones(survey: Path, crh: Crh) -> None:
    crh("submit", "--engine", "local", "-j1", cwd=survey)
    batch = Batch(batches_of(str(survey))[-1])
    wait_until("one runs", lambda: json.loads(crh("status", "--json", cwd=survey).stdout)["counts"]["running"])
    middle = report(crh, survey, code=1)
    assert middle["requested_cpu_s"] > 0, "a pilot that lives counts until now"
    process = read_submissions(batch.paths)[-1].process
    assert process is not None
    os.kill(process.pid, signal.SIGKILL)
    wait_until("it is gone", lambda: not Path(f"/proc/{process.pid}").exists())
    crh("submit", "--engine", "local", "-j2", "--wait", cwd=survey, code=1)
    said = report(crh, survey, code=1)
    failed = {cause: number for one in said["classes"] for cause, number in one["failed_attempts"].items()}
    assert failed["lost"] >= 1
    assert sum(one["attempts"] for one in said["classes"]) == 5 + failed["lost"]
    assert sum(one["pilots"] for one in said["hosts"]) == said["pilots"] == 2
    assert "1 input" in crh("report", cwd=survey, code=1).stdout


def test_status_tells_what_was_finished_in_the_last_hour(survey: Path, crh: Crh) -> None:
    crh("run", "-j2", cwd=survey, code=1)
    said = json.loads(crh("status", "--json", cwd=survey, code=1).stdout)["last_hour"]
    assert said["finished"] == 4
    assert said["by_host"] == {os.uname().nodename: 4}
    assert 0 < said["seconds"] < 120
