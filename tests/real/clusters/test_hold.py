"""hold and release where pilots are a scheduler's jobs: those that wait, those that run, and new ones."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from clusters.cluster import Cluster
from conftest import Crh, wait_until
from crh_batch.demo import TomodirSpec, write_tomodir
from crh_batch.ledger.batch import Batch, batches_of
from crh_batch.ledger.session import list_sessions, read_header
from crh_batch.ledger.submissions import read_submissions
from gate import Gate


@pytest.fixture
def gate(tmp_path: Path, programs: Path) -> Iterator[Gate]:
    """A gate that is closed, for a survey of four tomodirs in ``survey``; one pilot runs at a time."""
    gate, survey = Gate(tmp_path / "gate", programs), tmp_path / "survey"
    for number in range(4):
        write_tomodir(survey / f"td{number}", TomodirSpec(dims="2D", inversion=False))
    (survey / "crh-batch.toml").write_text(gate.profile)
    yield gate
    gate.open()


def test_held_batch_lets_run_what_runs_and_begins_nothing(
    cluster: Cluster, tmp_path: Path, crh: Crh, gate: Gate
) -> None:
    """A job that starts into a held batch leaves at once; release and submit bring the rest on."""
    survey = tmp_path / "survey"

    def run(*arguments: str, code: int | None = 0) -> str:
        done = crh(*arguments, cwd=survey, local=False, code=code)
        return done.stdout + done.stderr

    def counts() -> dict[str, int]:
        said = json.loads(crh("status", "--json", cwd=survey, local=False, code=None).stdout)
        return {name: number for name, number in said["counts"].items() if number}

    run("submit")
    batch = Batch(batches_of(str(survey))[-1])
    wait_until("one runs", lambda: counts().get("running") == 1, timeout_s=40)
    assert "1 that runs goes on" in run("hold")
    gate.open()
    assert "3 held" in run("wait", "--timeout", "60", code=1)
    assert counts() == {"done": 1, "held": 3}
    (first,) = read_submissions(batch.paths)
    cluster.wait_for_end(first.job_id)

    # One more pilot, as a job that has waited in the queue would be one.
    run("pilot")
    assert counts() == {"done": 1, "held": 3}, "it left at once"
    assert len(pilots(batch)) == 2

    run("submit")
    assert len(read_submissions(batch.paths)) == 1, "nothing is to be done, so nothing is submitted"
    held = run("status", "--list", "held").split()
    assert "crh-batch submit starts some" in run("release", held[0])
    assert counts() == {"collected": 1, "held": 2, "ready": 1}
    run("release")
    run("submit", "--wait", "--collect")
    assert counts() == {"collected": 4}
    assert len(read_submissions(batch.paths)) == 2


def pilots(batch: Batch) -> list[str]:
    headers = [read_header(batch.paths, token) for token in list_sessions(batch.paths)]
    return [header.token for header in headers if header is not None and header.kind == "pilot"]
