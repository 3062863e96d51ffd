"""Real tomodirs on real schedulers from a laptop, where the cluster sees its files and where it doesn't.

The ways are called mounted and staged, as in docs/how-to/ssh.md.
"""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from clusters.cluster import Cluster
from clusters.remote_cluster import Laptop, LoginNode
from conftest import tree_sums, wait_until
from crh_batch.demo import write_demo, write_small_models, write_time_lapse
from crh_batch.ledger.batch import Batch, batches_of
from crh_batch.ledger.names import StateName
from crh_batch.ledger.submissions import read_submissions
from crh_batch.report.states import count
from gate import Gate

WAYS = ("mounted", "staged")
# The batch itself, and files that say when, how long and as which process a tomodir ran.
NOT_RESULTS = (
    ".crh-batch",
    "crh.json",
    "crh.modelling.out",
    "crh.inversion.out",
    "run.ctr",
    "crmod.pid",
    "crtomo.pid",
)

MakeLogin = Callable[..., LoginNode]
MakeLaptop = Callable[..., Laptop]


def write_survey(directory: Path) -> Path:
    """Make a survey of 2D and 2.5D, one tomodir of it with another one's result as its prior model."""
    write_demo(directory / "demo", 2)
    write_time_lapse(directory / "time lapse", 2)
    return directory


@pytest.fixture(scope="session")
def expected(tmp_path_factory: pytest.TempPathFactory, programs: Path) -> dict[str, str]:
    """What is there after such a survey has run on one machine."""
    survey = write_survey(tmp_path_factory.mktemp("expected") / "survey")
    subprocess.run([sys.executable, "-m", "crh_batch", "run", "-j2"], cwd=survey, check=True, capture_output=True)
    return tree_sums(survey, skip=NOT_RESULTS)


def set_way(laptop: Laptop, way: str, *lines: str) -> None:
    """Write the profile of the cluster for one of the ways."""
    roots = [f"roots = [{json.dumps(laptop.roots)}]\n"] if way == "mounted" else []
    laptop.set_profile("cluster", "".join(['host = "levante"\n', *roots, *lines]))


def newest(survey: Path) -> Batch:
    """Return the last batch of a survey."""
    return Batch(batches_of(str(survey))[-1])


def status(laptop: Laptop, survey: Path) -> dict[str, int]:
    """Return how many tomodirs are in which state, as the laptop sees it."""
    answer: dict[str, Any] = json.loads(laptop.crh("status", "--json", cwd=survey, code=None).out)
    return {state: number for state, number in answer["counts"].items() if number}


@pytest.mark.parametrize("way", WAYS)
def test_results_are_those_of_one_machine_byte_for_byte(
    login: LoginNode, make_login: MakeLogin, make_laptop: MakeLaptop, expected: dict[str, str], way: str
) -> None:
    """The cluster's login node is behind a jump host, as at many sites."""
    laptop = make_laptop(login, make_login(None, "jump"))
    laptop.set_way(login, more="  ProxyJump jump\n")
    set_way(laptop, way)
    survey = write_survey(laptop.real / "survey")
    laptop.crh("--on", "cluster", "submit", cwd=survey)
    batch = newest(survey)
    scripts = "".join(path.read_text() for path in Path(batch.paths.jobs).glob("*.sh"))
    assert scripts and str(laptop.here) not in scripts
    assert {one.host for one in read_submissions(batch.paths)} == {"levante"}
    assert way == "mounted" or not any(laptop.real.name in str(path) for path in login.stages.rglob("*"))
    assert {"mounted": "jobs on levante", "staged": "on cluster: 4 tomodirs"}[way] in laptop.crh(
        "status", cwd=survey
    ).out
    laptop.crh("wait", cwd=survey)
    laptop.crh("collect", cwd=survey)
    assert tree_sums(survey, skip=NOT_RESULTS) == expected
    laptop.crh("verify", cwd=survey)


@pytest.mark.parametrize("way", WAYS)
def test_batch_is_steered_from_the_laptop(
    slurm_mostly: Cluster, make_login: MakeLogin, make_laptop: MakeLaptop, gate: Gate, way: str
) -> None:
    login = make_login(slurm_mostly, "levante")
    laptop = make_laptop(login)
    set_way(laptop, way, gate.profile)
    survey = laptop.real / "survey"
    *_, last = write_small_models(survey, 3, data=60, electrodes=16)
    laptop.crh("--on", "cluster", "submit", "-t", "1", cwd=survey)
    wait_until("one runs", lambda: status(laptop, survey).get("running"))
    laptop.crh("hold", cwd=survey)
    assert status(laptop, survey) == {"running": 1, "held": 2}
    laptop.crh("release", cwd=survey)
    laptop.crh("cancel", last, cwd=survey)
    assert status(laptop, survey) == {"running": 1, "ready": 1, "failed": 1}
    laptop.crh("cancel", cwd=survey)
    assert status(laptop, survey) == {"failed": 3}
    for one in read_submissions(newest(survey).paths):
        slurm_mostly.wait_for_end(one.job_id)
    gate.open()
    laptop.crh("retry", cwd=survey)
    laptop.crh("submit", cwd=survey)
    laptop.crh("wait", cwd=survey)
    laptop.crh("collect", cwd=survey)
    assert status(laptop, survey) == {"collected": 3}
    laptop.crh("prune", "--yes", cwd=survey)
    assert not batches_of(str(survey))
    assert not login.stages.exists() or not list(login.stages.iterdir())


@pytest.mark.slurm
def test_programs_are_taken_there_or_sent_once(
    slurm_login: LoginNode, make_laptop: MakeLaptop, programs: Path, tmp_path: Path
) -> None:
    laptop = make_laptop(slurm_login)
    crmod = tmp_path / "CRMod"
    crmod.write_bytes((programs / "CRMod_stable").read_bytes() + b"of the cluster")
    crmod.chmod(0o755)
    surveys = [laptop.real / name for name in ("first", "second", "third")]
    said = []
    for survey in surveys:
        write_small_models(survey, 1, data=60, electrodes=16)
        if survey.name == "third":
            slurm_login.set_programs(crmod)
        said.append(laptop.crh("--on", "levante", "submit", cwd=survey).err)
    assert "this machine's was sent there" in said[0]
    assert "was sent there" not in said[1] + said[2]
    kept = [path for path in (slurm_login.stages / "programs").rglob("*") if path.is_file()]
    assert [path.read_bytes() for path in kept] == [(programs / "CRMod_stable").read_bytes()]
    for survey in surveys:
        laptop.crh("wait", cwd=survey)
        laptop.crh("collect", cwd=survey)
        assert count(newest(survey)).counts[StateName.COLLECTED] == 1
    ran = [json.loads(next(survey.glob("*/*/exe/crh.json")).read_text()) for survey in surveys]
    sums = [one["stages"]["modelling"]["sha256"] for one in ran]
    here, there = (hashlib.sha256(path.read_bytes()).hexdigest() for path in (programs / "CRMod_stable", crmod))
    assert sums == [here, here, there]
