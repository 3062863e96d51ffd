"""Clusters that a command names: their settings, what each gets, and which engine goes on with which batch."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from crh_batch.engines import clusters, machines, parts
from crh_batch.engines.array import ArrayEngine
from crh_batch.engines.clusters import Cluster, ClustersEngine, cluster_profile, open_cluster, profile_now
from crh_batch.engines.local import LocalEngine
from crh_batch.engines.parts import parts_of
from crh_batch.engines.staged import StagedEngine
from crh_batch.errors import HostError, UsageError
from crh_batch.hosts.mounted import MountedHost
from crh_batch.ledger.batch import Batch
from crh_batch.ledger.items import write_items
from crh_batch.ledger.memory import MemoryRule
from crh_batch.ledger.submissions import record_intent
from crh_batch.mirror.stage import Stage, write_stage
from crh_batch.plan.arrays import ArrayRequest, ClassWork
from crh_batch.profile import Profile
from crh_batch.schedulers.known import SCHEDULERS
from unit.engines.test_machines import ToldFar
from unit.engines.told import said
from unit.ledger.making import make_batch


@pytest.fixture(autouse=True)
def config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The user's directory of profiles."""
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    directory = tmp_path / "config/crh-batch/profiles"
    directory.mkdir(parents=True)
    return directory


@pytest.fixture
def batch(tmp_path: Path) -> Batch:
    return make_batch(tmp_path / "survey", 4)


@pytest.fixture(autouse=True)
def far(monkeypatch: pytest.MonkeyPatch) -> ToldFar:
    """The only machine that can be reached."""
    host = ToldFar("levante", sbatch=said(), printenv=said("", "", 1))
    for module in (clusters, machines, parts):
        monkeypatch.setattr(module, "reach", {"levante": host}.__getitem__)
    return host


class Sized(ArrayEngine):
    """An engine that knows its cluster without asking."""

    most_threads = 8
    memory_rule = MemoryRule(0, 8000)

    def plan(self, work: Sequence[ClassWork]) -> list[ArrayRequest]:
        return [
            ArrayRequest(one.threads, one.threads, 1, 1, len(one.estimates_s), sum(one.estimates_s)) for one in work
        ]


def test_profile_when_one_has_the_clusters_name_then_it_holds(config: Path, tmp_path: Path) -> None:
    (config / "levante.toml").write_text('host = "login.dkrz"\npartition = "compute"\n')
    profile = cluster_profile("levante", str(tmp_path), max_pilots=3)
    assert (profile.on, profile.host, profile.partition, profile.max_pilots) == ("levante", "login.dkrz", "compute", 3)


def test_profile_when_none_has_the_clusters_name_then_it_is_a_host(tmp_path: Path) -> None:
    profile = cluster_profile("anna@login:2222", str(tmp_path))
    assert (profile.on, profile.host) == ("anna@login:2222", "anna@login:2222")


def test_profile_now_when_it_can_not_be_read_then_the_one_of_the_submission_holds(config: Path, tmp_path: Path) -> None:
    (config / "levante.toml").write_text("partition = 7\n")
    then = Profile(on="levante", partition="old").to_json()
    assert profile_now("levante", str(tmp_path), {**then, "of a newer version": 1}).partition == "old"
    (config / "levante.toml").write_text('partition = "new"\n')
    assert profile_now("levante", str(tmp_path), then).partition == "new"


def test_open_when_there_is_no_scheduler_then_one_line_says_what_to_do(far: ToldFar) -> None:
    del far.answers["sbatch"]
    with pytest.raises(HostError, match="levante: no scheduler there: not on PATH of a login shell: sbatch") as caught:
        open_cluster(Profile(on="levante", host="levante", scheduler="slurm"))
    assert "Slurm module in ~/.bash_profile there" in caught.value.next_step


def test_plan_when_there_are_shares_then_each_cluster_plans_for_its_own(far: ToldFar) -> None:
    made = ClustersEngine([_cluster("a", far), _cluster("b", far), _cluster("none", far)], [2, 1, 0])
    made._engines = [Sized(one.scheduler, _host(one), one.profile) for one in made.clusters]
    requests = made.plan([ClassWork(1, [5.0, 4.0, 3.0, 2.0, 1.0, 0.5], [6, 5, 4, 3, 2, 1])])
    assert [one.tomodirs for one in requests] == [4, 2]
    assert sum(one.estimate_s for one in requests) == 15.5


def _cluster(name: str, far: ToldFar) -> Cluster:
    return Cluster(name, far, SCHEDULERS["slurm"], Profile(on=name))  # type: ignore[arg-type]


def _host(one: Cluster) -> MountedHost:
    return MountedHost(one.far, [("/", "/")])


def stage(batch: Batch, number: int, ids: set[int]) -> Stage:
    made = Stage(batch.paths, number, f"c{number}", "levante", "slurm", f"/s/{number}", f"/s/{number}")
    write_stage(made)
    assert write_items(made.here, [batch.items[item_id] for item_id in sorted(ids)])
    return made


def test_parts_when_a_batch_has_stages_then_each_has_its_own_engine_whatever_is_asked(batch: Batch) -> None:
    stage(batch, 1, {0, 2})
    stage(batch, 2, {1, 3})
    found = parts_of(batch, LocalEngine(1))
    assert [(one.stage, one.ids) for one in found] == [(1, frozenset({0, 2})), (2, frozenset({1, 3}))]
    assert all(isinstance(one.engine, StagedEngine) for one in found)


def test_parts_when_the_command_has_settings_for_a_cluster_then_they_hold(batch: Batch, far: ToldFar) -> None:
    stage(batch, 1, {0, 1, 2, 3})
    asked = ClustersEngine([replace(_cluster("c1", far), profile=Profile(on="c1", max_pilots=7))])
    (part,) = parts_of(batch, asked)
    assert isinstance(part.engine, StagedEngine)
    assert part.engine.profile.max_pilots == 7


def test_parts_when_a_batch_has_no_stages_then_a_cluster_that_does_not_see_it_is_refused(
    batch: Batch, far: ToldFar
) -> None:
    with pytest.raises(UsageError, match="was submitted to run where its files are, not on c1"):
        parts_of(batch, ClustersEngine([_cluster("c1", far)]))


def test_parts_when_a_batch_was_submitted_over_ssh_then_it_goes_on_there(batch: Batch) -> None:
    record_intent(batch.paths, "slurm", 1, 1, host="levante")
    (part,) = parts_of(batch, LocalEngine(1))
    assert isinstance(part.engine, ArrayEngine)
    assert part.engine.host.name == "levante"


def test_parts_when_a_batch_runs_here_then_the_commands_engine_serves_it(batch: Batch) -> None:
    local = LocalEngine(1)
    assert [one.engine for one in parts_of(batch, local)] == [local]
    record_intent(batch.paths, "slurm", 1, 1)
    assert [one.engine for one in parts_of(batch, local)] == [local]
    assert not os.path.exists(batch.paths.stages)
