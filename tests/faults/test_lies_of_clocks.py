"""Promise: clocks may differ by hours, and be set under a run; nothing is decided by comparing two of them."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from pathlib import Path

import pytest

from conftest import wait_until
from crh_batch.engines.new_batch import make_batch
from crh_batch.ledger.batch import Batch, batches_of
from crh_batch.plan.survey import examine
from crh_batch.profile_files import load_profile
from faults.clocks import Clock, argv_with
from faults.surveys import make_survey, make_tool_batch, marks_of, problems_of, wait_for_quiet, write_tool
from gate import Gate

HOUR_S = 3600.0


@pytest.mark.parametrize("ahead_s", [HOUR_S, -HOUR_S], ids=["nodes ahead", "nodes behind"])
def test_node_and_two_login_nodes_an_hour_apart_finish_what_a_dead_pilot_left(
    place: Path, programs: Path, ahead_s: float
) -> None:
    survey = make_survey(place / "survey", 6, programs)
    gate = Gate(place / "gate", programs)
    profile = survey.root / "crh-batch.toml"
    profile.write_text(gate.profile)
    planned = examine([], str(survey.root), most_threads=1).planned
    make_batch(str(survey.root), planned, load_profile(str(survey.root)), lambda batch: None)
    batch = Batch(batches_of(str(survey.root))[0])

    node = argv_with(Clock(ahead_s), "pilot", [batch.paths.directory, "--cores", "2", "--minutes", "30"])
    with subprocess.Popen(node) as pilot:
        wait_until("it runs two", lambda: sum("claim.001" in marks for marks in marks_of(batch).values()) >= 2)
        pilot.send_signal(signal.SIGKILL)
    gate.open()
    for clock in (Clock(-ahead_s), Clock(2 * ahead_s)):
        client = argv_with(clock, "client", ["submit", "--engine", "local", "--wait", "--collect"])
        done = subprocess.run(client, cwd=survey.root, capture_output=True, text=True, check=False, timeout=90)
        assert done.returncode == 0, done.stderr
    wait_for_quiet(survey.root)
    profile.unlink()
    assert problems_of(survey) == []
    assert sum("fail.001.lost" in marks for marks in marks_of(batch).values()) >= 2


@pytest.mark.parametrize("by_s", [HOUR_S, -HOUR_S], ids=["forward", "back"])
def test_clock_that_is_set_under_a_run_ends_no_program_and_blames_no_tomodir(place: Path, by_s: float) -> None:
    """The job has ten minutes, so by the clock it is over long ago, or lasts for ever."""
    gate, moved, begun = place / "gate", place / "moved", place / "begun"
    script = f": > {begun}; while [ ! -e {gate} ]; do sleep 0.02; done; cp in.dat out.dat"
    (place / "survey").mkdir()
    batch = make_tool_batch(place / "survey", 2, write_tool(place / "tool", script))
    clock = Clock(set_by_s=by_s, when=str(moved))
    with subprocess.Popen(
        argv_with(clock, "pilot", [batch.paths.directory, "--cores", "1", "--minutes", "10"])
    ) as pilot:
        wait_until("one runs", lambda: os.path.exists(begun))
        moved.touch()
        # Nothing is to happen in this time: fifty looks at the clock.
        time.sleep(1.0)
        gate.touch()
        assert pilot.wait(30) == 0
    assert marks_of(batch) == {0: ["claim.001", "done"], 1: ["claim.001", "done"]}
