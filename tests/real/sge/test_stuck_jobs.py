"""Jobs that wait in error, which only SGE knows: those that a late filesystem holds up are let go."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

from clusters.sge_cluster import SgeCluster
from crh_batch.engines import unstick as module
from crh_batch.engines.unstick import MOST_TRIES, unstick
from crh_batch.hosts.this_machine import ThisMachine
from crh_batch.schedulers.base import JobRow
from crh_batch.schedulers.sge import Sge

pytestmark = pytest.mark.sge


def rows(sge: Sge, host: ThisMachine, *tokens: str) -> list[JobRow]:
    (argv,) = sge.queue_argvs(tokens)
    return sge.parse_queue(host.run(argv), tokens)


def test_task_whose_directory_was_late_is_let_go_and_others_are_left(
    sge_env: SgeCluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_tries", Counter())
    late = sge_env.submit("#!/bin/bash\n", "-N", "crh-late", "-t", "1-2", "-wd", str(tmp_path / "late"))
    other = sge_env.submit("#!/bin/bash\n", "-N", "crh-other", "-t", "1-1", "-o", str(tmp_path / "none" / "out"))
    for job in (late, other):
        sge_env.wait_for_states(job, "Eqw")
    scheduler, host = Sge(), ThisMachine()
    assert unstick(scheduler, host, rows(scheduler, host, "late", "other")) == [f"{late}.1", f"{late}.2"]
    # Still late: it waits in error again.
    sge_env.wait_for_states(late, "Eqw")
    (tmp_path / "late").mkdir()
    unstick(scheduler, host, rows(scheduler, host, "late", "other"))
    sge_env.wait_for_end(late)
    assert set(sge_env.states(other).values()) == {"Eqw"}


def test_task_whose_directory_never_comes_is_left_after_some_tries(
    sge_env: SgeCluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = sge_env.submit("#!/bin/bash\n", "-N", "crh-late", "-t", "1-1", "-wd", str(tmp_path / "late"))
    sge_env.wait_for_states(job, "Eqw")
    scheduler, host = Sge(), ThisMachine()
    monkeypatch.setattr(module, "_tries", Counter({f"{job}.1": MOST_TRIES}))
    assert unstick(scheduler, host, rows(scheduler, host, "late")) == []
    assert set(sge_env.states(job).values()) == {"Eqw"}
