"""Deaths around the dask engine: of workers, of the client with its scheduler, and of jobs that somebody cancels."""

from __future__ import annotations

import json
import os
import signal
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
from crh_batch.ledger.session import SessionHeader, list_sessions, read_events
from gate import Gate

TOMODIRS = 8
Start = Callable[..., "subprocess.Popen[str]"]


@pytest.fixture
def survey(tmp_path: Path, gate: Gate) -> Path:
    """Small models behind the gate."""
    directory = tmp_path / "survey"
    write_small_models(directory, TOMODIRS, data=60, electrodes=16)
    (directory / "crh-batch.toml").write_text(gate.profile)
    return directory


@pytest.fixture
def start(survey: Path, gate: Gate, tmp_path: Path) -> Iterator[Start]:
    """Start a driver in the foreground, and end it at last."""
    begun: list[subprocess.Popen[str]] = []

    def start_one(*more: str) -> subprocess.Popen[str]:
        argv = [sys.executable, "-m", "crh_batch", "submit", "--engine", "dask", "--min", "2", "--max", "2", *more]
        with open(tmp_path / "driver.log", "a") as log:
            begun.append(subprocess.Popen(argv, cwd=survey, stderr=log, stdin=subprocess.DEVNULL, text=True))
        return begun[-1]

    yield start_one
    gate.open()
    for one in begun:
        one.kill()
        one.wait()


def newest(survey: Path) -> Batch:
    return Batch(batches_of(str(survey))[-1])


def holders(survey: Path) -> list[SessionHeader]:
    if not batches_of(str(survey)):
        return []
    return [claim.header for claim in open_claims(newest(survey)) if claim.header is not None]


def two_at_work(survey: Path) -> list[SessionHeader]:
    def found() -> list[SessionHeader]:
        return holders(survey) if len({one.token for one in holders(survey)}) == 2 else []

    wait_until("two workers have claims", found, timeout_s=120)
    return holders(survey)


def names(survey: Path) -> list[str]:
    return sorted(path.name for path in Path(newest(survey).paths.names).glob("*/*"))


def check_complete(crh: Crh, survey: Path, said: str) -> None:
    answer = json.loads(crh("status", "--json", cwd=survey, local=False, code=None).stdout)
    assert answer["complete"], said
    assert sum(name.endswith(".done") for name in names(survey)) == TOMODIRS


def check_driver_finishes(
    survey: Path, gate: Gate, driver: subprocess.Popen[str], lost: SessionHeader, crh: Crh
) -> None:
    """Check that another worker comes for the one that was lost, and that the same command brings all to its end."""

    def others() -> bool:
        now = {one.token for one in holders(survey)}
        return len(now) == 2 and lost.token not in now

    wait_until("another worker has a claim", others, timeout_s=180)
    gate.open()
    log = survey.parent / "driver.log"
    assert driver.wait(timeout=180) == 0, log.read_text()
    said = log.read_text()
    assert "Traceback" not in said, said
    check_complete(crh, survey, said)
    crh("collect", cwd=survey, local=False)


def test_a_worker_is_killed_and_the_driver_finishes(
    cluster: Cluster, survey: Path, gate: Gate, crh: Crh, start: Start
) -> None:
    driver = start()
    lost, _ = two_at_work(survey)
    os.kill(lost.who.pid, signal.SIGKILL)
    check_driver_finishes(survey, gate, driver, lost, crh)
    assert [name for name in names(survey) if ".fail." in name and name.endswith(".lost")], names(survey)


@pytest.mark.parametrize(
    "cluster",
    [
        pytest.param("slurm", marks=pytest.mark.slurm),
        # SGE lets a job that is deleted have its grace, so this takes long there.
        pytest.param("sge", marks=[pytest.mark.sge, pytest.mark.long]),
    ],
    indirect=True,
)
def test_a_workers_job_is_cancelled_and_the_driver_finishes(
    cluster: Cluster, survey: Path, gate: Gate, crh: Crh, start: Start
) -> None:
    driver = start()
    lost, _ = two_at_work(survey)
    cluster.cancel(lost.job.job_id)
    check_driver_finishes(survey, gate, driver, lost, crh)


def test_the_client_dies_with_its_scheduler_and_the_workers_finish(
    cluster: Cluster, survey: Path, gate: Gate, crh: Crh, start: Start
) -> None:
    driver = start()
    two_at_work(survey)
    driver.kill()
    driver.wait()
    paths = newest(survey).paths

    def alone() -> list[str]:
        return [
            token for token in list_sessions(paths) if any(e["event"] == "alone" for e in read_events(paths, token))
        ]

    wait_until("both go on alone", lambda: len(alone()) == 2, timeout_s=120)
    gate.open()
    crh("wait", "--timeout", "100", cwd=survey, local=False)
    check_complete(crh, survey, "")
    assert not [name for name in names(survey) if ".fail." in name], "what ran was not disturbed"
    crh("submit", "--engine", "dask", cwd=survey, local=False)
    assert json.loads(crh("status", "--json", cwd=survey, local=False).stdout)["counts"]["collected"] == TOMODIRS
