"""--head-job where nodes may not submit: refused before anything is written. SGE's answers as they were seen."""

from __future__ import annotations

import pytest

from crh_batch.engines.array import ArrayEngine
from crh_batch.engines.dask.engine import DaskEngine
from crh_batch.engines.dask.place import Options
from crh_batch.errors import DaskError
from crh_batch.hosts.base import Completed
from crh_batch.profile import Profile
from crh_batch.schedulers.sge import Sge
from crh_batch.schedulers.slurm import Slurm
from unit.engines.told import ToldHost, said


def engine(submitting: Completed, scheduler: Sge | Slurm | None = None, *, head_job: bool = True) -> DaskEngine:
    def qconf(argv: tuple[str, ...]) -> Completed:
        return submitting if argv[1] == "-ss" else said("n1.cluster\nn2.cluster\n")

    host, profile = ToldHost(qconf=qconf), Profile()
    return DaskEngine(ArrayEngine(scheduler or Sge(), host, profile), host, profile, Options(), head_job)


def test_check_head_when_no_node_may_submit_then_it_is_refused_and_says_what_to_do() -> None:
    with pytest.raises(DaskError, match="no node of this SGE may submit jobs") as caught:
        engine(said("login1\n")).check_head()
    assert "Leave --head-job out" in caught.value.next_step


@pytest.mark.parametrize("submitting", [said("login1\nN1\n"), said("", "no answer", 1), said("", "", None)])
def test_check_head_when_a_node_may_or_that_is_not_known_then_it_goes_on(submitting: Completed) -> None:
    engine(submitting).check_head()


def test_check_head_when_it_does_not_matter_then_nobody_is_asked() -> None:
    for one in (engine(said("login1\n"), head_job=False), engine(said("login1\n"), Slurm())):
        one.check_head()
        assert isinstance(one.host, ToldHost) and one.host.asked == []
