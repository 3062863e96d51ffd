"""A real Slurm for the tests of this folder, started when the first test asks for it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from clusters.packages import need_slurm
from clusters.slurm_cluster import SlurmCluster


def _running(cluster: SlurmCluster) -> Iterator[SlurmCluster]:
    need_slurm()
    with cluster:
        yield cluster
        cluster.check()  # a daemon that died while nobody looked is a failure too


@pytest.fixture(scope="session")
def slurm() -> Iterator[SlurmCluster]:
    """A Slurm with accounting, the same for all tests; after each it is put back to idle."""
    yield from _running(SlurmCluster(accounting=True))


@pytest.fixture(scope="session")
def slurm_without_accounting() -> Iterator[SlurmCluster]:
    """A Slurm that sacct knows nothing of, the same for all tests; after each it is put back to idle."""
    yield from _running(SlurmCluster(accounting=False))


@pytest.fixture
def slurm_env(slurm: SlurmCluster, monkeypatch: pytest.MonkeyPatch) -> SlurmCluster:
    """The cluster ``slurm``, as the one that client commands of this test's own process find."""
    for name, value in slurm.env.items():
        monkeypatch.setenv(name, value)
    return slurm


@pytest.fixture
def slurm_env_without_accounting(
    slurm_without_accounting: SlurmCluster, monkeypatch: pytest.MonkeyPatch
) -> SlurmCluster:
    """The cluster ``slurm_without_accounting``, as the one that client commands of this process find."""
    for name, value in slurm_without_accounting.env.items():
        monkeypatch.setenv(name, value)
    return slurm_without_accounting


@pytest.fixture(autouse=True)
def _tidy_after_test(request: pytest.FixtureRequest) -> Iterator[None]:
    """Leave no job and no dead node to the next test."""
    used = [name for name in ("slurm", "slurm_without_accounting") if name in request.fixturenames]
    clusters: list[SlurmCluster] = [request.getfixturevalue(name) for name in used]
    yield
    for cluster in clusters:
        cluster.tidy()
