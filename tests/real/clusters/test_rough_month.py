"""Sixty tomodirs through everything that a month on a cluster brings, with the results of an undisturbed run.

On the way: a node dies with its jobs, a job is put back into the queue, tasks are cancelled, jobs have two minutes of
which pilots use the first twenty seconds, and one tomodir takes more memory than its job was given. Until all that has
happened the programs wait behind a gate, so that there is somebody whom it can happen to.
"""

from __future__ import annotations

import json
import shutil
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from clusters.at_hand import put_at_hand
from clusters.cluster import Cluster
from clusters.machine import can_limit_memory
from clusters.packages import need_slurm
from clusters.slurm_cluster import SlurmCluster
from conftest import Crh, tree_sums, wait_until
from crh_batch.demo import TomodirSpec, write_tomodir
from crh_batch.demo.spec import Block
from crh_batch.ledger.batch import Batch, batches_of
from crh_batch.ledger.lost import open_claims
from crh_batch.ledger.names import parse_name
from crh_batch.ledger.session import list_sessions, read_events
from gate import Gate

TOMODIRS = 60
# One of them needs more memory than PROFILE's jobs have.
HUNGRY = TomodirSpec(dims="2.5D", electrodes=64, cells_per_spacing=4, layers=14, inversion=False)
# How often a user may have to say submit again.
ROUNDS = 4
# They hold times of day and of processors.
NOT_THE_SAME_TWICE = ("run.ctr", "crh.json", "crh.inversion.out", "crh.modelling.out")
# 2 minutes are Slurm's shortest time limit; a pilot that has 100 s notice stops claiming after 20 s.
CLAIMING_S = 20
PROFILE = """
partition = "work"
time_minutes = 2
warn_s = 100
max_pilots = 4
"""


def write_survey(survey: Path) -> None:
    """Make models, 2D inversions and 2.5D inversions of 0.02 to 2 s."""
    for number in range(TOMODIRS):
        block = Block(5.0 + number % 7, 1.0, 3.0, 2.0, 20.0 + number, -20.0)
        spec = TomodirSpec(dims="2D", inversion=False, block=block)
        if number == 0:
            spec = HUNGRY
        elif number % 5 == 0:
            spec = TomodirSpec(dims="2.5D", electrodes=14, layers=6, block=block)
        elif number % 5 < 3:
            spec = TomodirSpec(dims="2D", electrodes=16, layers=8, block=block)
        write_tomodir(survey / f"line{number // 10}" / f"td{number:02d}", spec)


def results(survey: Path) -> dict[str, str]:
    sums = tree_sums(survey, skip=(".crh-batch",))
    return {name: one for name, one in sums.items() if Path(name).name not in (*NOT_THE_SAME_TWICE, "crh-batch.toml")}


def newest(survey: Path) -> Batch:
    return Batch(batches_of(str(survey))[-1])


def job_at_work(cluster: Cluster, survey: Path) -> str:
    """Wait until a pilot has a claim and a node, and return its job."""

    def at_work() -> str:
        jobs = [claim.header.job.job_id for claim in open_claims(newest(survey)) if claim.header]
        return next((job_id for job_id in jobs if job_id and cluster.node_of(job_id)), "")

    return str(wait_until("a pilot works", at_work, timeout_s=60))


def wait_for_the_signal(survey: Path) -> None:
    """Wait until a pilot that has a claim is older than its job's warning signal."""

    def was_told() -> bool:
        began = [claim.header.started for claim in open_claims(newest(survey)) if claim.header]
        return any(time.time() > one + CLAIMING_S + 2 for one in began)

    wait_until("a pilot with a claim was told to end", was_told, timeout_s=90)


def is_complete(crh: Crh, survey: Path) -> bool:
    return bool(json.loads(crh("status", "--json", cwd=survey, local=False, code=None).stdout)["complete"])


def test_sixty_tomodirs_survive_a_rough_month(rough: Rough, tmp_path: Path, crh: Crh, programs: Path) -> None:
    cluster, gate = rough.cluster, Gate(tmp_path / "gate", programs)
    calm, survey = tmp_path / "calm", tmp_path / "survey"
    write_survey(calm)
    shutil.copytree(calm, survey)
    (survey / "crh-batch.toml").write_text(PROFILE + rough.profile + gate.profile)
    inputs = tree_sums(survey)

    crh("submit", "--keep-going", cwd=survey, local=False)
    cluster.lose_node(cluster.node_of(job_at_work(cluster, survey)))
    cluster.requeue(job_at_work(cluster, survey), 0)
    cluster.cancel(job_at_work(cluster, survey))
    wait_for_the_signal(survey)
    gate.open()

    for _ in range(ROUNDS):
        crh("submit", "--keep-going", "--wait", "--collect", cwd=survey, local=False, timeout_s=280, code=None)
        if is_complete(crh, survey):
            break
    assert is_complete(crh, survey), crh("status", "--all", cwd=survey, local=False, code=None).stdout

    crh("run", "-j", "2", cwd=calm)
    assert results(survey) == results(calm)
    after = tree_sums(survey, skip=(".crh-batch",))
    assert {name: after[name] for name in inputs} == inputs, "inputs are as they were"
    assert not list(survey.glob("line*/*.crh")), "nothing is left registered"
    found = names(survey)
    assert found["done"] == found["collected"] == TOMODIRS
    assert found["fail lost"], f"the month was not rough: {found}"
    assert found["fail memory"] or not rough.limits_memory, f"the month was not rough: {found}"
    assert "SIG" in " ".join(ends(survey)), f"no pilot was told to end: {ends(survey)}"


def ends(survey: Path) -> list[str]:
    """Return why pilots ended, those that could say so."""
    paths = newest(survey).paths
    return [str(e["why"]) for token in list_sessions(paths) for e in read_events(paths, token) if e["event"] == "end"]


def names(survey: Path) -> Counter[str]:
    """Return how many names of each kind there are."""
    found: Counter[str] = Counter()
    for path in Path(newest(survey).paths.names).glob("*/*"):
        parsed = parse_name(path.name)
        if parsed:
            found[parsed[1] + (f" {parsed[3]}" if parsed[3] else "")] += 1
    return found


@dataclass(frozen=True)
class Rough:
    """A scheduler that ends jobs which take more memory than they asked for, and what the profile must say for that."""

    cluster: Cluster
    profile: str
    limits_memory: bool = True


@pytest.fixture(
    params=[
        pytest.param("slurm", marks=pytest.mark.slurm),
        # What is SGE's own of it is tested one by one; all of it together takes more than a minute.
        pytest.param("sge", marks=[pytest.mark.sge, pytest.mark.long]),
    ]
)
def rough(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[Rough]:
    if request.param == "sge":
        yield Rough(request.getfixturevalue("sge_env"), 'memory_resource = "h_vmem"\nmemory_mb = 80\n')
        return
    need_slurm()
    limits_memory = can_limit_memory()
    with SlurmCluster(accounting=True, memory_limits=limits_memory) as cluster:
        put_at_hand(cluster, monkeypatch)
        yield Rough(cluster, "memory_mb = 80\n", limits_memory)
