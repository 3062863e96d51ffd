"""One batch on a Slurm and an SGE behind two login nodes: one status, one collect, and one of them may be away."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest

from clusters.cluster import Cluster
from clusters.remote_cluster import Laptop, LoginNode, Said
from conftest import wait_until
from crh_batch.demo import write_small_models
from crh_batch.ledger.batch import Batch, batches_of
from crh_batch.ledger.submissions import read_submissions
from crh_batch.mirror.stage import read_stages
from gate import Gate

pytestmark = [pytest.mark.slurm, pytest.mark.sge]


def test_a_batch_is_shared_and_goes_on_while_one_cluster_is_away(
    slurm: Cluster, sge: Cluster, make_login: Callable[..., LoginNode], make_laptop: Callable[..., Laptop], gate: Gate
) -> None:
    first, second = make_login(slurm, "a"), make_login(sge, "b")
    laptop = make_laptop(first, second)
    for name in ("a", "b"):
        laptop.set_profile(name, gate.profile)
    survey = laptop.real / "survey"
    write_small_models(survey, 6, data=60, electrodes=16)
    laptop.crh("--on", "a,b", "--share", "a=2,b=1", "submit", cwd=survey)
    (directory,) = batches_of(str(survey))
    batch = Batch(directory)
    assert {stage.on: len(stage.ids) for stage in read_stages(batch.paths)} == {"a": 4, "b": 2}
    assert {(one.host, one.engine) for one in read_submissions(batch.paths)} == {("a", "slurm"), ("b", "sge")}

    second.server.cut()
    said = laptop.crh("status", "--json", cwd=survey)
    assert "b: can't be reached" in one_message(said)
    answer = json.loads(said.out)
    assert sum(answer["counts"].values()) == 6
    assert [(one["on"], sum(one["counts"].values())) for one in answer["clusters"]] == [("a", 4), ("b", 2)]
    gate.open()

    # What the other one has done comes in meanwhile.
    def four_are_collected() -> bool:
        said = laptop.crh("collect", cwd=survey, code=3)
        assert "b: can't be reached" in one_message(said)
        return len(list(survey.glob("*/*/mod/volt.dat"))) == 4

    wait_until("the results of the first cluster are here", four_are_collected)
    second.server.start()
    laptop.crh("wait", cwd=survey)
    laptop.crh("collect", cwd=survey)
    answer = json.loads(laptop.crh("status", "--json", cwd=survey).out)
    assert answer["complete"] and answer["counts"]["collected"] == 6
    claims = Counter(path.name.split(".")[0] for path in Path(batch.paths.names).glob("*/*.claim.*"))
    assert list(claims.values()) == [1] * 6
    assert len(list(survey.glob("*/*/mod/volt.dat"))) == 6


def one_message(said: Said) -> str:
    """Return the one message of a command."""
    assert said.err.count("crh-batch: ") == 1, said
    return said.err
