"""A survey that a laptop and the cluster's login node see: both work on it at the same time."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from clusters.cluster import Cluster
from clusters.remote_cluster import Laptop, LoginNode
from conftest import Crh
from crh_batch.demo import write_small_models
from crh_batch.ledger.batch import batches_of

TOMODIRS = 24


@pytest.mark.parametrize("rounds", [2, pytest.param(10, marks=pytest.mark.long)])
def test_laptop_and_login_node_submit_wait_and_collect_together(
    slurm_mostly: Cluster,
    make_login: Callable[..., LoginNode],
    make_laptop: Callable[..., Laptop],
    crh: Crh,
    rounds: int,
) -> None:
    """What one of them can't do because the other is at it is said, and done by the other, or the next time."""
    laptop = make_laptop(make_login(slurm_mostly, "levante"))
    laptop.set_profile("levante", f"roots = [{json.dumps(laptop.roots)}]\n")
    survey = laptop.real / "survey"

    def on_laptop(*arguments: str) -> str:
        return laptop.crh("--on", "levante", *arguments, cwd=survey, code=None).err

    def on_login_node(*arguments: str) -> str:
        return crh(*arguments, cwd=survey, local=False, code=None).stderr

    said: list[str] = []
    for number in range(rounds):
        write_small_models(survey / str(number), TOMODIRS, data=60, electrodes=16)
        with ThreadPoolExecutor(2) as pool:
            for command in ("submit", "wait", "collect"):
                said += pool.map(lambda work, command=command: work(command), (on_laptop, on_login_node))
    for work in (on_login_node, on_laptop):
        said += [work("submit"), work("wait"), work("collect")]

    complaints = [line for text in said for line in text.splitlines() if line.startswith("crh-batch: ")]
    assert all("is at work on it" in line for line in complaints), said
    results = list(survey.glob("*/*/*/mod/volt.dat"))
    assert len(results) == rounds * TOMODIRS, said
    names = Counter(
        (directory, path.name.split(".")[0], path.name.split(".")[1])
        for directory in batches_of(str(survey))
        for path in Path(directory, "names").glob("*/*")
        if path.name[0].isdecimal()
    )
    assert {kind for _, _, kind in names} == {"claim", "done", "collected"}
    assert len(names) == 3 * rounds * TOMODIRS and set(names.values()) == {1}, "each was run and collected once"
    assert all(".crh-batch" in path.parts for path in survey.rglob("*.crh")), "no tomodir is registered any more"
    crh("verify", cwd=survey, local=False)
    laptop.crh("verify", cwd=survey)
