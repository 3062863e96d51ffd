"""Array pilots, a pilot by hand and dask workers on one batch, and the dask scheduler as a job of its own."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from clusters.cluster import Cluster
from conftest import Crh, wait_until
from crh_batch.demo import write_small_models
from crh_batch.ledger.batch import Batch, batches_of
from crh_batch.ledger.lost import open_claims
from crh_batch.ledger.session import SessionHeader
from crh_batch.schedulers.known import SCHEDULERS
from gate import Gate

TOMODIRS = 8
Start = Callable[..., None]


@pytest.fixture
def survey(tmp_path: Path, gate: Gate) -> Path:
    """Small models behind the gate."""
    directory = tmp_path / "a survey"
    write_small_models(directory, TOMODIRS, data=60, electrodes=16)
    (directory / "crh-batch.toml").write_text(gate.profile)
    return directory


@pytest.fixture
def start(survey: Path, gate: Gate, tmp_path: Path) -> Iterator[Start]:
    """Start commands beside the test; at last the gate opens and they are waited for."""
    begun: list[subprocess.Popen[bytes]] = []

    def start_one(*arguments: str) -> None:
        argv = [sys.executable, "-m", "crh_batch", *arguments]
        with open(tmp_path / f"{arguments[0]}.log", "wb") as log:
            begun.append(subprocess.Popen(argv, cwd=survey, stderr=log, stdin=subprocess.DEVNULL))

    yield start_one
    gate.open()
    for process in begun:
        assert process.wait(timeout=120) == 0, [path.read_text() for path in tmp_path.glob("*.log")]


def newest(survey: Path) -> Batch:
    return Batch(batches_of(str(survey))[-1])


def at_work(survey: Path) -> list[SessionHeader]:
    """Return those that have a claim, one each."""
    headers = [claim.header for claim in open_claims(newest(survey)) if claim.header is not None]
    return list({header.token: header for header in headers}.values())


def wait_for(survey: Path, number: int, what: str) -> None:
    wait_until(f"{what} is at work", lambda: len(at_work(survey)) == number, timeout_s=120)


def what_they_run(survey: Path) -> list[str]:
    """Return what each of those runs that have a claim: by hand, array, dask."""
    found = []
    for one in at_work(survey):
        script = "".join(path.read_text() for path in Path(newest(survey).paths.jobs).glob(f"{one.submission}*"))
        kind = "dask" if "engines.dask.worker" in script else "array"
        found.append(kind if one.job.job_id else "by hand")
    return sorted(found)


def check_each_once(survey: Path, crh: Crh) -> None:
    crh("wait", "--timeout", "100", cwd=survey, local=False)
    crh("collect", cwd=survey, local=False)
    claims = [path.name.split(".")[0] for path in Path(newest(survey).paths.names).glob("*/*.claim.*")]
    assert len(claims) == len(set(claims)) == TOMODIRS, "each was claimed once, whoever chose it"


def test_a_head_job_drives_while_a_pilot_by_hand_helps(
    cluster: Cluster, survey: Path, gate: Gate, crh: Crh, start: Start
) -> None:
    said = crh("submit", "--engine", "dask", "--head-job", "--max", "1", cwd=survey, local=False).stderr
    assert f"the dask scheduler, {SCHEDULERS[cluster.scheduler].title} array" in said
    wait_until(
        "the scheduler says where it is",
        lambda: not crh("dashboard", cwd=survey, local=False, code=None).returncode,
        timeout_s=120,
    )
    told = crh("dashboard", "--json", cwd=survey, local=False)
    assert json.loads(told.stdout)["job"]["scheduler"] == cluster.scheduler
    link = crh("dashboard", cwd=survey, local=False)
    assert link.stdout.startswith("http://127.0.0.1:") and "ssh -N -L" in link.stderr
    wait_for(survey, 1, "a dask worker")
    start("pilot", "-j", "1")
    wait_for(survey, 2, "a pilot by hand")
    assert what_they_run(survey) == ["by hand", "dask"]
    gate.open()
    check_each_once(survey, crh)
    for path in Path(newest(survey).paths.jobs).iterdir():
        text = path.read_text()
        assert "PRIVATE KEY" not in text and ".pem" not in text and str(survey) not in text


@pytest.mark.slurm
def test_an_arrays_pilot_and_a_dask_worker_share_a_batch(
    slurm_env: Cluster, survey: Path, gate: Gate, crh: Crh, start: Start
) -> None:
    crh("submit", "--engine", "array", "--max-pilots", "1", cwd=survey, local=False)
    wait_for(survey, 1, "the array's pilot")
    start("submit", "--engine", "dask", "--min", "1", "--max", "1")
    wait_for(survey, 2, "a dask worker")
    assert what_they_run(survey) == ["array", "dask"]
    gate.open()
    check_each_once(survey, crh)
