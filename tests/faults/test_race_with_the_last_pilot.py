"""Promise: who waits is never told that nobody is left, when the last pilot has just finished everything."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from crh_batch.engines import wait
from crh_batch.engines.target import Target
from crh_batch.engines.wait import End, wait_for
from crh_batch.hosts.base import Host
from crh_batch.hosts.this_machine import ThisMachine
from crh_batch.ledger.batch import Batch
from faults.surveys import make_tool_batch, pilot_argv, write_tool


def test_pilot_that_finishes_between_two_looks_is_not_missed(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The waiting client looks at two things, and the pilot ends between the two.

    1. The client lists the names: tomodirs are not over.
    2. The pilot commits the last of them, and is gone.
    3. The client looks for pilots: none lives. That is the end, not a standstill.
    """
    (place / "survey").mkdir()
    batch = make_tool_batch(place / "survey", 3, write_tool(place / "tool", "cp in.dat out.dat"))
    really_lives = wait.lives

    def lives(which: Batch, host: Host) -> bool:
        subprocess.run(pilot_argv(batch), check=True, timeout=30)
        return really_lives(which, host)

    monkeypatch.setattr(wait, "lives", lives)
    assert wait_for([Target(batch)], ThisMachine(), timeout_s=30) is End.OVER


def test_standstill_is_told_at_once(place: Path) -> None:
    (place / "survey").mkdir()
    batch = make_tool_batch(place / "survey", 3, write_tool(place / "tool", "cp in.dat out.dat"))
    assert wait_for([Target(batch)], ThisMachine(), timeout_s=30) is End.STALLED
