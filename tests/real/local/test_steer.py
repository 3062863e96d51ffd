"""Steering what runs on this machine: hold, release, cancel, retry and watch, with the real CRMod."""

from __future__ import annotations

import json
import os
import pty
import re
import select
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from conftest import Crh, wait_until
from crh_batch.demo import write_small_models
from crh_batch.ledger.batch import Batch, batches_of
from crh_batch.ledger.identity import Verdict, verdict_here
from crh_batch.ledger.submissions import read_submissions


class Survey:
    """Six small models whose CRMod waits until it may go on: as many runs as there are tickets."""

    def __init__(self, root: Path, tickets: Path, crh: Crh) -> None:
        self.root = root
        self.tickets = tickets
        self._crh = crh

    def crh(self, *arguments: str, code: int | None = 0) -> subprocess.CompletedProcess[str]:
        return self._crh(*arguments, cwd=self.root, code=code)

    def go_on(self, number: int) -> None:
        """Let one model go on."""
        (self.tickets / f"td{number:05d}").touch()

    def go_on_all(self) -> None:
        for number in range(6):
            self.go_on(number)

    def counts(self) -> dict[str, int]:
        said = json.loads(self.crh("status", "--json", code=None).stdout)
        return {name: number for name, number in said["counts"].items() if number}

    def listed(self, state: str) -> list[str]:
        return self.crh("status", "--list", state, code=None).stdout.split()

    def wait_for(self, **counts: int) -> None:
        wait_until(f"counts are {counts}", lambda: self.counts() == counts, timeout_s=40)

    @property
    def batch(self) -> Batch:
        return Batch(batches_of(str(self.root))[-1])

    def pilots_have_left(self) -> bool:
        processes = [one.process for one in read_submissions(self.batch.paths) if one.process]
        return all(verdict_here(who) is Verdict.DEAD for who in processes)


@pytest.fixture
def survey(tmp_path: Path, programs: Path, crh: Crh, monkeypatch: pytest.MonkeyPatch) -> Iterator[Survey]:
    root, tickets, scratch = tmp_path / "survey", tmp_path / "tickets", tmp_path / "scratch"
    write_small_models(root, 6, data=60, electrodes=16)
    for directory in (tickets, scratch):
        directory.mkdir()
    for number in range(6):
        # What tells the models apart, for a program that doesn't know where it runs.
        (root / f"00000/td{number:05d}/exe/which").write_text(f"td{number:05d}")
        config = root / f"00000/td{number:05d}/exe/crmod.cfg"
        config.write_text(config.read_text().rstrip("\n") + f"\n! td{number:05d}\n")
    script = tmp_path / "gated-crmod"
    script.write_text(
        "#!/bin/sh\n"
        f"which=$(sed -n 's/^! //p' crmod.cfg)\nwhile [ ! -e {tickets}/$which ]; do sleep 0.02; done\n"
        f"exec {programs}/CRMod_stable\n"
    )
    script.chmod(0o755)
    (root / "crh-batch.toml").write_text(f'crmod = "{script}"\n')
    monkeypatch.setenv("TMPDIR", str(scratch))
    made = Survey(root, tickets, crh)
    yield made
    made.go_on_all()
    if batches_of(str(root)):
        wait_until("the pilots have left", made.pilots_have_left)


def path(number: int) -> str:
    return f"00000/td{number:05d}"


def test_hold_of_all_then_what_runs_ends_and_pilots_leave_until_released(survey: Survey) -> None:
    survey.crh("submit", "--engine", "local", "-j1")
    survey.wait_for(running=1, ready=5)
    said = survey.crh("hold").stderr
    assert "6 tomodirs held\n" in said
    assert "1 that runs goes on" in said
    assert survey.counts() == {"running": 1, "held": 5}
    survey.go_on_all()
    waited = survey.crh("wait", code=1).stderr
    assert "5 held: crh-batch release, then crh-batch submit" in waited
    assert survey.counts() == {"done": 1, "held": 5}
    wait_until("the pilot has left", survey.pilots_have_left)
    assert "the whole batch is held" in survey.crh("status").stderr
    survey.crh("submit", "--engine", "local")
    assert survey.pilots_have_left(), "nothing is to be done"

    assert "crh-batch submit starts some" in survey.crh("release").stderr
    survey.crh("submit", "--engine", "local", "--collect")
    assert survey.counts() == {"collected": 6}


def test_hold_of_some_then_the_others_run(survey: Survey) -> None:
    survey.crh("submit", "--engine", "local", "-j1")
    survey.wait_for(running=1, ready=5)
    held = [one for one in survey.listed("ready") if one != path(0)][:2]
    survey.crh("hold", *held)
    survey.go_on_all()
    survey.crh("wait", code=1)
    assert survey.listed("held") == held
    assert survey.counts() == {"done": 4, "held": 2}
    survey.crh("wait", held[0], code=1)
    survey.crh("release", held[0])
    survey.crh("submit", "--engine", "local", "--wait", code=1)
    assert survey.listed("held") == held[1:]


def test_release_and_retry_then_a_pilot_that_lives_takes_them_up(survey: Survey) -> None:
    """Its second core has been idle, and nobody submits again."""
    survey.crh("submit", "--engine", "local", "-j2")
    survey.wait_for(running=2, ready=4)
    survey.crh("hold")
    first, second = survey.listed("running")
    survey.go_on(int(first[-5:]))
    survey.wait_for(done=1, running=1, held=4)
    assert "no pilot" not in survey.crh("release").stderr
    # More than one may be claimed: the next is staged ahead of a free core.
    wait_until("it has claimed again", lambda: survey.counts().get("running", 0) > 1, timeout_s=20)

    others = [one for one in survey.listed("ready") + survey.listed("running") if one != second]
    survey.crh("cancel", *others)
    survey.wait_for(done=1, running=1, failed=4)
    assert "pilots that live take them" in survey.crh("retry", "--engine", "local", "--cause", "cancelled").stderr
    survey.go_on_all()
    survey.wait_for(done=6)
    assert len(read_submissions(survey.batch.paths)) == 1


def test_groups_are_held_cancelled_and_waited_for_by_name(survey: Survey) -> None:
    survey.crh("submit", "--engine", "local", "-j1", "--group", "north", "--match", "td0000[0-2]")
    survey.crh("submit", "--engine", "local", "-j1", "--group", "south", "--match", "td0000[3-5]")
    north, south = (Batch(directory) for directory in batches_of(str(survey.root)))
    assert "There are: north, south" in survey.crh("hold", "--group", "west", code=2).stderr
    survey.crh("hold", "--group", "north")
    survey.crh("cancel", "--group", "south")
    for number in range(3):
        survey.go_on(number)
    said = json.loads(survey.crh("wait", "--json", "--group", "north", code=1).stdout)
    assert [one["batch"] for one in said["batches"]] == [north.batch_id]
    said = json.loads(survey.crh("report", "--json", "--group", "south", code=1).stdout)
    assert [(one["batch"], one["failures"]) for one in said["batches"]] == [(south.batch_id, {"cancelled": 3})]
    wait_until("both pilots have left", survey.pilots_have_left)
    survey.crh("release", "--group", "north")
    survey.crh("submit", "--engine", "local", "--wait", path(0))
    survey.crh("collect", "--group", "north")
    assert json.loads(survey.crh("status", "--json", "--group", "north").stdout)["counts"]["collected"] == 3


def test_cancel_then_finished_results_can_be_collected(survey: Survey) -> None:
    survey.crh("submit", "--engine", "local", "-j1")
    survey.wait_for(running=1, ready=5)
    running = survey.listed("running")[0]
    survey.go_on(int(running[-5:]))
    wait_until("one is done", lambda: survey.counts().get("done") == 1)
    survey.crh("hold", *survey.listed("ready")[-1:])
    survey.crh("cancel")
    survey.crh("collect", code=1)
    assert survey.counts() == {"collected": 1, "failed": 5}
    assert (survey.root / running / "mod/volt.dat").exists()


def test_watch_without_a_terminal_then_a_line_a_change(survey: Survey) -> None:
    survey.crh("submit", "--engine", "local", "-j1")
    argv = [sys.executable, "-m", "crh_batch", "watch", "--every", "0.1"]
    watching = subprocess.Popen(argv, cwd=survey.root, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    survey.wait_for(running=1, ready=5)
    time.sleep(1)
    survey.go_on_all()
    lines, said = watching.communicate(timeout=60)
    assert watching.returncode == 0, said
    shown = [re.sub(r"^\d\d:\d\d:\d\d  ", "", line) for line in lines.splitlines()]
    assert shown[-1] == "6 done"
    assert "5 ready, 1 running" in shown
    assert len(shown) == len(set(shown)), "nothing is said twice"


def test_watch_on_a_terminal_then_it_shows_what_runs_and_ends_by_itself(survey: Survey) -> None:
    survey.crh("submit", "--engine", "local", "-j2")
    survey.wait_for(running=2, ready=4)
    running = survey.listed("running")
    ours, theirs = pty.openpty()
    argv = [sys.executable, "-m", "crh_batch", "watch", "--every", "0.2"]
    surroundings = {**os.environ, "TERM": "xterm", "COLUMNS": "150", "LINES": "40"}
    watching = subprocess.Popen(argv, cwd=survey.root, stdin=theirs, stdout=theirs, stderr=theirs, env=surroundings)
    os.close(theirs)
    try:
        shown = _read_until(ours, running[1])
        assert running[0] in shown
        assert "0 of 6 over: 4 ready, 2 running" in shown
        survey.go_on_all()
        _read_until(ours, "6 of 6 over")
        _read_until(ours, "")
        assert watching.wait(timeout=30) == 0
    finally:
        watching.kill()
        watching.wait()
        os.close(ours)


def _read_until(terminal: int, text: str) -> str:
    """Read what is shown until it holds a text; to the end where that is empty."""
    shown = ""
    deadline = time.monotonic() + 30
    while (not text or text not in shown) and time.monotonic() < deadline:
        if not select.select([terminal], [], [], 0.2)[0]:
            continue
        try:
            shown += os.read(terminal, 65536).decode(errors="replace")
        except OSError:
            break  # its other end is closed
    assert text in shown, shown
    return shown
