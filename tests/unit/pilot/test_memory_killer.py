"""The kernel's counters of what it has killed for want of memory."""

from __future__ import annotations

from pathlib import Path

import pytest

from crh_batch.pilot import memory_killer
from crh_batch.pilot.control_group import own_files
from crh_batch.pilot.memory_killer import MemoryKiller


@pytest.mark.parametrize(
    ("groups", "file"),
    [
        ("0::/slurm/job_1/step_batch/task_0\n", "slurm/job_1/step_batch/task_0/memory.events"),
        ("9:cpu:/a\n4:memory:/sge/1:2\n0::/\n", "memory/sge/1:2/memory.oom_control"),
        ("0::/\n", "memory.events"),
    ],
)
def test_own_files_when_there_are_control_groups_then_this_processs_own(tmp_path: Path, groups: str, file: str) -> None:
    (tmp_path / file).parent.mkdir(parents=True, exist_ok=True)
    (tmp_path / file).write_text("")
    (tmp_path / "groups").write_text(groups)
    where = {"root": str(tmp_path), "groups": str(tmp_path / "groups")}
    assert own_files("memory.events", "memory.oom_control", **where) == [str(tmp_path / file)]


def test_has_killed_when_the_count_goes_up_then_yes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    events = tmp_path / "memory.events"
    events.write_text("low 0\nhigh 0\nmax 7\noom 2\noom_kill 2\noom_group_kill 0\n")
    monkeypatch.setattr(memory_killer, "_counters", lambda: (str(tmp_path / "none"), str(events)))
    killer = MemoryKiller()
    assert not killer.has_killed_by_now()
    events.write_text("low 0\nhigh 0\nmax 9\noom 3\noom_kill 3\noom_group_kill 0\n")
    assert killer.has_killed


def test_has_killed_when_nothing_can_be_read_then_it_may_have(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory_killer, "_counters", lambda: ("/nonexistent",))
    assert MemoryKiller().has_killed


def test_counters_when_on_this_machine_then_one_can_be_read() -> None:
    assert memory_killer._count() is not None
