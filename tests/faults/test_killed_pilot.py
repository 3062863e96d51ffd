"""Promise: a pilot that dies, is told to end, or is taken for dead, costs at most the work that it had under way."""

from __future__ import annotations

import contextlib
import os
import random
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from conftest import Crh, wait_until
from crh_batch.ledger.batch import Batch
from crh_batch.ledger.collect import collect_batch
from crh_batch.ledger.custody import custody_of
from crh_batch.ledger.identity import Verdict
from crh_batch.ledger.lost import open_claims, recover_lost
from faults.surveys import (
    batches_in,
    events_in,
    make_survey,
    make_tool_batch,
    marks_of,
    moments,
    pilot_argv,
    pilot_of,
    problems_of,
    processes_of,
    sessions_in,
    wait_for_empty,
    wait_for_quiet,
    write_tool,
)

TOMODIRS = 30
KILLS = 25
# Rounds go on side by side: most of their time is waiting.
SIDE_BY_SIDE = 3
# How long a model takes, about.
A_MODEL_S = 0.02
SEED = int(os.environ.get("CRH_BATCH_SEED", "1"))
# A program with a child of its own, both of which would go on for long; $$ and the child's id go to a file outside.
SLEEPER = 'sleep 300 & echo "$$ $!" >> {pids}; echo begun; wait; echo over > out.dat'


def _pids(file: Path) -> list[int]:
    return [int(word) for word in file.read_text().split()] if file.exists() else []


def _lives(pid: int) -> bool:
    """Return whether a process runs; a zombie doesn't."""
    with contextlib.suppress(OSError):
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    return False


def _session_of(batch: Batch, number: int = 0) -> list[dict[str, Any]]:
    """Return the events of a pilot's session, in the order in which pilots began."""
    directory = Path(batch.paths.directory)
    tokens = [token for token in sessions_in(directory) if not token.startswith("client")]
    tokens.sort(key=lambda token: (directory / "sessions" / f"{token}.crh").stat().st_ino)
    return events_in(directory, tokens[number])


# ------------------------------------------------------------------ SIGKILL


def begun_in(batch: Batch) -> int:
    return sum("claim.001" in marks for marks in marks_of(batch).values())


def done_in(batch: Batch) -> int:
    return sum("done" in marks for marks in marks_of(batch).values())


@pytest.mark.long
def test_pilot_killed_at_25_moments(place: Path, programs: Path, crh: Crh) -> None:
    """After each kill its programs are dead and its scratch is gone at once; one more command finishes everything."""
    template = make_survey(place / "template", TOMODIRS, programs)
    submit = ("submit", "--engine", "local", "-j2")
    undisturbed = template.copy(place / "undisturbed")
    crh(*submit, cwd=undisturbed.root)
    wait_for_quiet(undisturbed.root)
    crh("collect", cwd=undisturbed.root)
    assert not problems_of(undisturbed, once=True)

    def one_round(number: int, progress: float) -> tuple[int, int, list[str]]:
        survey = template.copy(place / f"survey{number:02d}")
        scratch = place / f"scratch{number:02d}"
        scratch.mkdir()
        env = {"TMPDIR": str(scratch)}
        crh(*submit, cwd=survey.root, env=env)
        (directory,) = batches_in(survey.root)
        batch = Batch(str(directory))
        # Moments of its work, not of the clock: how quick it is depends on what else this machine does.
        deadline = time.monotonic() + 20
        while begun_in(batch) < int(progress) and time.monotonic() < deadline:
            time.sleep(0.002)
        time.sleep((progress % 1) * A_MODEL_S)
        with contextlib.suppress(ProcessLookupError):
            os.kill(pilot_of(directory), signal.SIGKILL)
        for where in (survey.root, scratch):
            wait_for_quiet(where, timeout_s=5)
        wait_for_empty(scratch, timeout_s=5)

        done = done_in(batch)
        ended = crh("run", "-j2", cwd=survey.root, code=None, env=env)
        wait_for_quiet(survey.root)
        found = problems_of(survey)
        if ended.returncode:
            found.append(f"exit code {ended.returncode}: {ended.stderr}")
        what = f"seed {SEED}: killed at {progress:.2f} with {done} of {TOMODIRS} done"
        print(what)
        tried_again = sum("claim.002" in marks for marks in marks_of(batch).values())
        return TOMODIRS - done, tried_again, [f"{what}: {problem}" for problem in found]

    with ThreadPoolExecutor(SIDE_BY_SIDE) as pool:
        rounds = list(pool.map(one_round, range(KILLS), moments(KILLS, TOMODIRS, random.Random(SEED))))
    problems = [problem for _, _, found in rounds for problem in found]
    assert not problems, "\n".join(problems)
    assert sum(left > 0 for left, _, _ in rounds) >= 3, "several moments lie before the pilot's end"
    assert any(tried_again for _, tried_again, _ in rounds), "some kill hit a running attempt"


def test_killed_pilot_takes_its_programs_and_their_children_along(place: Path) -> None:
    pids = place / "pids"
    (place / "survey").mkdir()
    batch = make_tool_batch(place / "survey", 3, write_tool(place / "tool", SLEEPER.format(pids=pids)))
    pilot = subprocess.Popen([*pilot_argv(batch), "--cores", "3"])
    wait_until("three programs run", lambda: len(_pids(pids)) == 6)
    assert all(map(_lives, _pids(pids)))

    pilot.kill()
    pilot.wait()

    wait_until("all of them are dead", lambda: not any(map(_lives, _pids(pids))), timeout_s=5)
    wait_for_empty(place / "scratch", timeout_s=5)


# What stands between a program's start and the guard's hearing of it: the pilot dies exactly there.
DIES_BEFORE_THE_GUARD_KNOWS = """
import os, signal, sys
from crh_batch.pilot import guard, main
guard.Guard.add = lambda self, group: os.kill(os.getpid(), signal.SIGKILL)
sys.exit(main.main(sys.argv[1:]))
"""


def test_program_that_had_just_started_dies_with_the_pilot_too(place: Path) -> None:
    """The moment between a program's start and its being guarded is short, but there are thousands of starts."""
    pids = place / "pids"
    (place / "survey").mkdir()
    batch = make_tool_batch(place / "survey", 1, write_tool(place / "tool", SLEEPER.format(pids=pids)))
    pilot = subprocess.Popen([sys.executable, "-c", DIES_BEFORE_THE_GUARD_KNOWS, *pilot_argv(batch)[4:]])
    assert pilot.wait(timeout=20) == -signal.SIGKILL

    wait_until("nothing runs in its scratch", lambda: not processes_of(place / "scratch"), timeout_s=5)
    wait_until("the program is dead", lambda: not any(map(_lives, _pids(pids))), timeout_s=5)
    wait_for_empty(place / "scratch", timeout_s=5)


# ------------------------------------------------------------------ signals that ask


def _assert_ended_in_order(place: Path, batch: Batch, pids: Path, *, running: int) -> None:
    """What was running is recorded as walltime, nothing else was begun, and nothing is left behind."""
    marks = marks_of(batch)
    begun = {item_id: found for item_id, found in marks.items() if found}
    assert list(begun.values()) == [["claim.001", "fail.001.walltime"]] * running
    assert not any(map(_lives, _pids(pids)))
    wait_for_empty(place / "scratch")
    events = _session_of(batch)
    assert events[-1]["event"] == "end"
    assert [event["failure"] for event in events if event["event"] == "fail"] == ["walltime"] * running


def _resumes(place: Path, batch: Batch, tool: Path) -> None:
    """A second pilot does what is left."""
    write_tool(tool, "cp in.dat out.dat")
    subprocess.run([*pilot_argv(batch), "--cores", "2"], check=True, timeout=30)
    with custody_of(batch) as custody:
        report = collect_batch(batch, custody)
    assert (report.collected, report.refused) == (len(batch.items), [])
    wait_for_empty(place / "scratch")


@pytest.mark.parametrize("stubborn", [False, True])
def test_sigterm_records_walltime_and_leaves_in_time(place: Path, stubborn: bool) -> None:
    """SIGTERM: 3 s for what is nearly finished, then the programs are ended; those that don't obey are killed."""
    pids = place / "pids"
    ignore = "trap '' TERM; " if stubborn else ""
    tool = write_tool(place / "tool", ignore + SLEEPER.format(pids=pids))
    (place / "survey").mkdir()
    batch = make_tool_batch(place / "survey", 6, tool)
    pilot = subprocess.Popen([*pilot_argv(batch), "--cores", "2"])
    wait_until("two programs run", lambda: len(_pids(pids)) == 4)

    began = time.monotonic()
    pilot.send_signal(signal.SIGTERM)
    assert pilot.wait(timeout=20) == 0
    assert time.monotonic() - began < (3 + 5 + 3 if stubborn else 3 + 2)

    _assert_ended_in_order(place, batch, pids, running=2)
    _resumes(place, batch, tool)


@pytest.mark.parametrize("number", [signal.SIGUSR1, signal.SIGUSR2])
def test_warning_signal_stops_claiming_and_lets_run_what_fits(place: Path, number: signal.Signals) -> None:
    """USR1 is Slurm's warning (--signal), USR2 SGE's (-notify): what ends in time is kept.

    What had the whole job is too long for one; USR2 may come at any time, so it says nothing about tomodirs.
    """
    gate = place / "gate"
    pids = place / "pids"
    # The first tomodir waits for the gate, the others for ever.
    script = f'case "$(cat in.dat)" in td00000) echo "$$" >> {pids}; while [ ! -e {gate} ]; do sleep 0.05; done;; '
    script += f"*) {SLEEPER.format(pids=pids)};; esac; cp in.dat out.dat"
    tool = write_tool(place / "tool", script)
    (place / "survey").mkdir()
    batch = make_tool_batch(place / "survey", 6, tool)
    # Its job ends in 25 s, so running programs are ended in 5 s; after USR2 in 3 s.
    minutes = 25 / 60 if number == signal.SIGUSR1 else 10
    pilot = subprocess.Popen([*pilot_argv(batch), "--cores", "2", "--minutes", str(minutes)])
    wait_until("two programs run", lambda: len(_pids(pids)) == 3)

    began = time.monotonic()
    pilot.send_signal(number)
    time.sleep(0.2)
    gate.touch()
    assert pilot.wait(timeout=20) == 0
    assert 2 < time.monotonic() - began < 8

    marks = marks_of(batch)
    assert marks[0] == ["claim.001", "done"]
    failure = "toolong" if number == signal.SIGUSR1 else "walltime"
    assert marks[1] == ["claim.001", f"fail.001.{failure}"]
    if failure == "toolong":
        # It has failed; as `crh-batch retry` does:
        os.symlink("../../sessions/nobody.crh", batch.paths.name(1, "retry.001"))
    assert not any(marks[item_id] for item_id in range(2, 6)), "nothing was claimed after the signal"
    assert not any(map(_lives, _pids(pids)))
    _resumes(place, batch, tool)


def test_walltime_is_not_charged(place: Path) -> None:
    """Of a batch that allows one attempt, a tomodir that was ended with its job is still ready."""
    pids = place / "pids"
    tool = write_tool(place / "tool", SLEEPER.format(pids=pids))
    (place / "survey").mkdir()
    batch = make_tool_batch(place / "survey", 1, tool, charged_attempts=1)
    pilot = subprocess.Popen(pilot_argv(batch))
    wait_until("the program runs", lambda: len(_pids(pids)) == 2)
    # Twice means at once: an impatient user, or a scheduler's second signal.
    pilot.send_signal(signal.SIGTERM)
    time.sleep(0.1)
    pilot.send_signal(signal.SIGTERM)
    assert pilot.wait(timeout=5) == 0

    _resumes(place, batch, tool)
    assert marks_of(batch)[0] == ["claim.001", "claim.002", "collected", "done", "fail.001.walltime"]


# ------------------------------------------------------------------ a pilot that was only thought to be dead


def _take_for_dead(batch: Batch) -> int:
    """Declare all open claims lost, as `retry --lost` does for a machine that can't be reached."""
    with custody_of(batch) as custody:
        claims = open_claims(batch)
        return recover_lost(batch, claims, lambda header: Verdict.UNKNOWN, custody.session, force=True).lost


@pytest.mark.parametrize("collected", [False, True], ids=["not collected yet", "collected meanwhile"])
def test_stopped_pilot_that_goes_on_commits_nothing_twice(place: Path, collected: bool) -> None:
    """A pilot is stopped, taken for dead, replaced, and goes on.

    1. Pilot A has claimed two tomodirs and runs them, when its machine stands still (SIGSTOP).
    2. A client takes its claims for lost; pilot B runs all tomodirs (whose results are collected, or not yet).
    3. A goes on: its programs end well, and it commits. The names are B's, so A's results are thrown away.
    """
    gate, pids = place / "gate", place / "pids"
    script = f'echo "$$" >> {pids}; while [ ! -e {gate} ]; do sleep 0.02; done; echo "$$" > out.dat'
    (place / "survey").mkdir()
    batch = make_tool_batch(place / "survey", 8, write_tool(place / "tool", script))
    first = subprocess.Popen([*pilot_argv(batch), "--cores", "2"])
    wait_until("two programs run", lambda: len(_pids(pids)) == 2)
    first.send_signal(signal.SIGSTOP)
    # Its programs go on, and end well while nobody looks.
    gate.touch()
    wait_until("they have ended", lambda: not any(map(_lives, _pids(pids)[:2])))

    lost = _take_for_dead(batch)
    assert lost >= 2
    subprocess.run([*pilot_argv(batch), "--cores", "2"], check=True, timeout=60)
    before = {item_id: [mark for mark in marks if "fail" not in mark] for item_id, marks in marks_of(batch).items()}
    assert all("done" in marks for marks in before.values())
    if collected:
        with custody_of(batch) as custody:
            assert collect_batch(batch, custody).collected == 8
    results = {item_id: _holder(batch, item_id) for item_id in before}

    first.send_signal(signal.SIGCONT)
    assert first.wait(timeout=30) == 0

    assert {item_id: _holder(batch, item_id) for item_id in before} == results
    if not collected:
        with custody_of(batch) as custody:
            assert collect_batch(batch, custody).collected == 8
    for item_id, marks in marks_of(batch).items():
        assert marks.count("done") == marks.count("collected") == 1
        written = (place / f"survey/td{item_id:05d}/exe/out.dat").read_text()
        assert int(written) not in _pids(pids)[:2] or "claim.002" not in marks, "the result of the attempt given up"
    wait_for_empty(place / "scratch")


def _holder(batch: Batch, item_id: int) -> str:
    return os.readlink(batch.paths.name(item_id, "done"))


def test_stopped_pilots_at_random_moments_commit_each_tomodir_once(place: Path) -> None:
    """Pilots are stopped, taken for dead and woken again and again while others run the same tomodirs."""
    draw = random.Random(SEED)
    counter = place / "counter"
    (place / "survey").mkdir()
    tool = write_tool(place / "tool", f'echo x >> "{counter}"; cp in.dat out.dat')
    batch = make_tool_batch(place / "survey", 300, tool, charged_attempts=1000)
    pilots = [subprocess.Popen(pilot_argv(batch)) for _ in range(4)]
    lost = 0
    deadline = time.monotonic() + 60
    while any(pilot.poll() is None for pilot in pilots):
        assert time.monotonic() < deadline
        victim = draw.choice(pilots)
        if victim.poll() is None:
            victim.send_signal(signal.SIGSTOP)
            lost += _take_for_dead(batch)
            time.sleep(draw.uniform(0, 0.1))
            victim.send_signal(signal.SIGCONT)
        time.sleep(draw.uniform(0, 0.05))
    print(f"seed {SEED}: {lost} claims were taken away")
    assert lost

    # What was given up last may be open: nobody was left to run it.
    _take_for_dead(batch)
    subprocess.run(pilot_argv(batch), check=True, timeout=60)
    with custody_of(batch) as custody:
        report = collect_batch(batch, custody)
    assert (report.collected, report.refused) == (300, [])
    for item_id, marks in marks_of(batch).items():
        assert marks.count("done") == marks.count("collected") == 1
        assert (place / f"survey/td{item_id:05d}/exe/out.dat").read_text() == f"td{item_id:05d}"
    assert len(counter.read_text().split()) >= 300
    wait_for_empty(place / "scratch")
