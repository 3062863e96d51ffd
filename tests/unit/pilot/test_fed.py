"""A pilot that is fed: it runs what it is told if that can be claimed, and goes on alone when nobody tells it more."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from pathlib import Path

import pytest

from crh_batch.ledger.batch import Batch
from crh_batch.ledger.session import list_sessions, read_events
from unit.ledger.making import make_batch, make_item, write_files

FEEDING = """
import functools, json, sys
from crh_batch.pilot.fed import FedPilot
from crh_batch.pilot.main import parser, run

class Feed:
    def serve(self, pilot):
        for item_id in json.loads(sys.argv[1]):
            answer = pilot.run_item(item_id)
            print(answer.came.value, answer.attempt, answer.failure, flush=True)
        return sys.argv[2] == "alone"

    def drain(self):
        pass

sys.exit(run(parser().parse_args(sys.argv[3:]), lambda *rest: FedPilot(Feed(), *rest)))
"""
STAGE = {
    "stage": "modelling",
    "program": "CRMod",
    "judge": "exit_status",
    "directory": "exe",
    "inputs": ["exe/crmod.cfg"],
    "make_dirs": ["exe"],
    "result": None,
    "inv_dirs": [],
}


@pytest.fixture
def batch(tmp_path: Path) -> Batch:
    """Three tomodirs whose program succeeds, but for the third."""
    items = [make_item(number, stages=[STAGE]) for number in range(3)]
    content = b'#!/bin/sh\n[ "$(cat crmod.cfg)" != 2 ] || kill -SEGV $$\n'
    programs = {"CRMod": {"file": "CRMod-1", "sha256": hashlib.sha256(content).hexdigest()}}
    made = make_batch(tmp_path, items, programs=programs)
    for item in made.items:
        write_files(Path(made.tomodir(item)), {"exe/crmod.cfg": f"{item.item_id}\n".encode()})
    program = Path(made.paths.programs, "CRMod-1")
    program.write_bytes(content)
    program.chmod(0o755)
    return made


def feed(batch: Batch, orders: str, then: str, *more: str) -> list[str]:
    argv = [sys.executable, "-c", FEEDING, orders, then, batch.paths.directory, "--cores", "1", *more]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


def done_ids(batch: Batch) -> set[int]:
    return {int(path.name[:6]) for path in Path(batch.paths.names).glob("*/*.done")}


def test_it_runs_what_it_is_told_once_and_nothing_else(batch: Batch) -> None:
    assert feed(batch, "[1, 1, 2]", "stop") == ["done 1 ", "taken 0 ", "failed 1 crash"]
    assert done_ids(batch) == {1}


def test_what_others_have_claimed_is_turned_away(batch: Batch) -> None:
    os.symlink("../../sessions/other.crh", batch.paths.name(0, "claim.001"))
    assert feed(batch, "[0]", "stop") == ["taken 0 "]


def test_it_goes_on_alone_when_nobody_tells_it_any_more(batch: Batch) -> None:
    feed(batch, "[1]", "alone")
    assert done_ids(batch) == {0, 1}
    events = [event["event"] for token in list_sessions(batch.paths) for event in read_events(batch.paths, token)]
    assert events.count("alone") == 1


def test_without_time_it_takes_no_order_and_does_not_go_on(batch: Batch) -> None:
    """The job ends in a moment: whoever chooses must find another."""
    said = feed(batch, "[1]", "alone", "--minutes", "0.01")
    assert said == ["unfit 0 "]
    assert done_ids(batch) == set()


def test_without_memory_it_says_so(batch: Batch) -> None:
    assert feed(batch, "[0]", "stop", "--memory-mb", "65") == ["unfit 0 "]


def test_a_class_of_others_is_not_its_own(batch: Batch) -> None:
    assert feed(batch, "[0]", "stop", "--threads", "7") == ["unfit 0 "]
