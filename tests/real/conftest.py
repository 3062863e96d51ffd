"""Real schedulers for the tests of this folder, started when the first test asks for one."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from clusters.at_hand import put_at_hand
from clusters.cluster import Cluster
from clusters.packages import need_sge, need_slurm
from clusters.sge_cluster import SgeCluster
from clusters.sge_config import SgeSettings
from clusters.slurm_cluster import SlurmCluster
from gate import Gate

# Those that live as long as the session.
_CLUSTERS = ("slurm", "slurm_without_accounting", "sge", "sge_without_accounting")


def _running(cluster: Cluster) -> Iterator[Cluster]:
    with cluster:
        yield cluster
        cluster.check()  # a daemon that died while nobody looked is a failure too


@pytest.fixture(scope="session")
def slurm() -> Iterator[Cluster]:
    """A Slurm with accounting, the same for all tests; after each it is put back to idle."""
    need_slurm()
    yield from _running(SlurmCluster(accounting=True))


@pytest.fixture(scope="session")
def slurm_without_accounting() -> Iterator[Cluster]:
    """A Slurm that sacct knows nothing of, the same for all tests; after each it is put back to idle."""
    need_slurm()
    yield from _running(SlurmCluster(accounting=False))


@pytest.fixture(scope="session")
def sge() -> Iterator[Cluster]:
    """An SGE with accounting, the same for all tests; after each it is put back to idle."""
    need_sge()
    yield from _running(SgeCluster())


@pytest.fixture(scope="session")
def sge_without_accounting() -> Iterator[Cluster]:
    """An SGE that qacct knows nothing of, the same for all tests; after each it is put back to idle."""
    need_sge()
    yield from _running(SgeCluster(SgeSettings(accounting=False)))


@pytest.fixture
def slurm_env(slurm: SlurmCluster, monkeypatch: pytest.MonkeyPatch) -> SlurmCluster:
    """The cluster ``slurm``, as the one that commands of this test find."""
    put_at_hand(slurm, monkeypatch)
    return slurm


@pytest.fixture
def sge_env(sge: SgeCluster, monkeypatch: pytest.MonkeyPatch) -> SgeCluster:
    """The cluster ``sge``, as the one that commands of this test find."""
    put_at_hand(sge, monkeypatch)
    return sge


@pytest.fixture(params=[pytest.param("slurm", marks=pytest.mark.slurm), pytest.param("sge", marks=pytest.mark.sge)])
def cluster(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Cluster:
    """Each scheduler in turn, as the one that commands of this test find."""
    return _chosen(request, monkeypatch)


@pytest.fixture(
    params=[
        pytest.param("slurm", marks=pytest.mark.slurm),
        pytest.param("sge", marks=[pytest.mark.sge, pytest.mark.long]),
    ]
)
def slurm_mostly(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Cluster:
    """The same, for what takes a minute and hardly depends on the scheduler: SGE under ``long`` only."""
    return _chosen(request, monkeypatch)


@pytest.fixture(
    params=[
        pytest.param("slurm", marks=pytest.mark.slurm),
        pytest.param("slurm_without_accounting", marks=pytest.mark.slurm),
        pytest.param("sge", marks=pytest.mark.sge),
        pytest.param("sge_without_accounting", marks=[pytest.mark.sge, pytest.mark.long]),
    ]
)
def any_cluster(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Cluster:
    """Each scheduler in turn, with accounting and without, as the one that commands of this test find."""
    return _chosen(request, monkeypatch)


def _chosen(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Cluster:
    found: Cluster = request.getfixturevalue(request.param)
    put_at_hand(found, monkeypatch)
    return found


@pytest.fixture(autouse=True)
def _tidy_after_test(request: pytest.FixtureRequest) -> Iterator[None]:
    """Leave no job and no dead node to the next test."""
    used = {name for name in _CLUSTERS if name in request.fixturenames}
    callspec = getattr(request.node, "callspec", None)
    used |= {value for value in (callspec.params.values() if callspec else ()) if value in _CLUSTERS}
    clusters: list[Cluster] = [request.getfixturevalue(name) for name in sorted(used)]
    yield
    for cluster in clusters:
        cluster.tidy()


@pytest.fixture
def gate(tmp_path: Path, programs: Path) -> Gate:
    """The programs behind a gate that is still closed."""
    return Gate(tmp_path / "gate", programs)
