"""Login nodes in front of the real schedulers, and laptops that know them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from clusters.cluster import Cluster
from clusters.remote_cluster import Laptop, LoginNode, need_remote_cluster

MakeLogin = Callable[..., LoginNode]


@pytest.fixture
def make_login(tmp_path: Path) -> Iterator[MakeLogin]:
    """Make a login node of a scheduler and start it; called with the scheduler and the node's name."""
    need_remote_cluster()
    with ExitStack() as stack:

        def make(cluster: Cluster | None, name: str) -> LoginNode:
            node = LoginNode(cluster, tmp_path / f"login-{name}", name)
            stack.callback(node.close)
            node.server.start()
            return node

        yield make


@pytest.fixture(params=[pytest.param("slurm", marks=pytest.mark.slurm), pytest.param("sge", marks=pytest.mark.sge)])
def login(request: pytest.FixtureRequest, make_login: MakeLogin) -> LoginNode:
    """A login node of each scheduler in turn, called "levante"."""
    return make_login(request.getfixturevalue(request.param), "levante")


@pytest.fixture
def slurm_login(slurm: Cluster, make_login: MakeLogin) -> LoginNode:
    """A login node of Slurm, called "levante"."""
    return make_login(slurm, "levante")


@pytest.fixture
def make_laptop(tmp_path: Path) -> Iterator[Callable[..., Laptop]]:
    """Make a laptop that knows these login nodes."""
    made: list[Laptop] = []

    def make(*nodes: LoginNode) -> Laptop:
        made.append(Laptop(tmp_path / f"laptop{len(made)}", *nodes))
        return made[-1]

    yield make
    for laptop in made:
        laptop.check()
