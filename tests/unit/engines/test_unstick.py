"""Tasks that wait in error: which are tried again, and how often."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

from crh_batch.engines import unstick as module
from crh_batch.engines.unstick import MOST_TRIES, unstick
from crh_batch.hosts.base import Completed
from crh_batch.schedulers.base import JobRow, JobState
from crh_batch.schedulers.sge import Sge
from crh_batch.schedulers.slurm import Slurm
from unit.engines.told import ToldHost, said

RECORDED = Path(__file__).parents[2] / "recorded" / "sge"
STUCK = [JobRow("14", task, JobState.PENDING, "Eqw", "crh-late", "error") for task in ("1", "2")]
WAITING = [JobRow("14", "1", JobState.PENDING, "qw", "crh-late")]


@pytest.fixture(autouse=True)
def _fresh(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_tries", Counter())


def host() -> ToldHost:
    return ToldHost(qstat=said((RECORDED / "qstat-j-error" / "stdout").read_text()), qmod=said("", "", 1))


def test_unstick_when_directories_were_late_then_those_tasks_and_some_times_only() -> None:
    told = host()
    for _ in range(MOST_TRIES):
        assert unstick(Sge(), told, STUCK) == ["14.1", "14.2"]
    assert unstick(Sge(), told, STUCK) == []
    assert told.asked[:2] == [("qstat", "-j", "14", "-xml"), ("qmod", "-cj", "14.1", "14.2")]
    assert told.commands().count("qmod") == MOST_TRIES


def test_unstick_when_nothing_waits_in_error_then_nobody_is_asked() -> None:
    told = host()
    assert unstick(Sge(), told, WAITING) == []
    assert unstick(Slurm(), told, STUCK) == []
    assert told.asked == []


@pytest.mark.parametrize("answer", [said("", "error: commlib error\n", 1), said("no XML"), said("", "", None)])
def test_unstick_when_the_scheduler_does_not_answer_then_nothing_happens(answer: Completed) -> None:
    told = ToldHost(qstat=answer)
    assert unstick(Sge(), told, STUCK) == []
    assert unstick(Sge(), ToldHost(), STUCK) == []
