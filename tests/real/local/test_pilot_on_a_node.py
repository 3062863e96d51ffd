"""One pilot and its node: cores and processors, memory, time, containers and groups, with the real programs.

Programs are hindered (made slow, large, killed) by a container's words, which stand before the program's path.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from conftest import Crh
from crh_batch.demo import TomodirSpec, write_small_models, write_tomodir
from crh_batch.engines.new_batch import make_batch
from crh_batch.ledger.batch import Batch, batches_of
from crh_batch.ledger.session import list_sessions, read_events
from crh_batch.plan.survey import examine
from crh_batch.profile_files import load_profile

MB = 1 << 20


def newest(survey: Path) -> Batch:
    return Batch(batches_of(str(survey))[-1])


def events(survey: Path, kind: str) -> list[dict[str, Any]]:
    """All events of a kind, of all sessions of the newest batch."""
    batch = newest(survey)
    found = [one for token in list_sessions(batch.paths) for one in read_events(batch.paths, token)]
    return [one for one in found if one["event"] == kind]


def hinder(survey: Path, script: str, **settings: object) -> Path:
    """Have a script of the shell run before each program; it finds the program's path in ``"$@"``."""
    wrapper = survey.parent / "hinder it"
    wrapper.write_text(f"#!/bin/sh\n{script}\n")
    wrapper.chmod(0o755)
    lines = [f"{key} = {json.dumps(value)}" for key, value in {"container": f"'{wrapper}'", **settings}.items()]
    (survey / "crh-batch.toml").write_text("\n".join(lines) + "\n")
    return wrapper


@pytest.fixture
def survey(tmp_path: Path, programs: Path) -> Path:
    """Two small models."""
    write_small_models(tmp_path / "survey", 2, data=60, electrodes=16)
    return tmp_path / "survey"


@pytest.mark.timeout(180)
def test_cores_when_widths_are_mixed_then_all_are_used_and_none_twice(tmp_path: Path, crh: Crh, programs: Path) -> None:
    """Each program says on which processors it may run, and when it ran."""
    survey = tmp_path / "survey"
    for number in range(2):
        write_tomodir(survey / f"wide{number}", TomodirSpec(dims="2.5D", electrodes=10, inversion=False))
        write_tomodir(survey / f"narrow{number}", TomodirSpec(dims="2D", electrodes=10, inversion=False))
        write_tomodir(survey / f"narrow{number + 2}", TomodirSpec(dims="2D", electrodes=10, inversion=False))
    hinder(survey, 'grep Cpus_allowed_list /proc/self/status >"$PWD/../mod/allowed"\nsleep 0.5\nexec "$@"')
    cores = len(os.sched_getaffinity(0))
    crh("run", f"-j{cores}", "--yes", cwd=survey)
    spans = []
    for one in events(survey, "done"):
        item = newest(survey).items[one["id"]]
        text = (survey / item.path / "mod/allowed").read_text()
        allowed = _processors(text.split()[1])
        assert len(allowed) == item.threads, item
        (stage,) = one["stages"]
        spans.append((stage["began"], stage["began"] + stage["wall_s"], allowed))
    assert len(spans) == 6
    for began, _, mine in spans:
        others = [allowed for start, end, allowed in spans if start < began < end]
        assert not any(mine & allowed for allowed in others)
    if cores > 1:
        assert any(start < began < end for began, _, _ in spans for start, end, _ in spans), "never side by side"


def _processors(text: str) -> set[int]:
    """Read a list such as 0-3,8."""
    found: set[int] = set()
    for part in text.split(","):
        first, _, last = part.partition("-")
        found |= set(range(int(first), int(last or first) + 1))
    return found


@pytest.mark.timeout(120)
def test_memory_when_running_side_by_side_would_take_too_much_then_one_after_another(survey: Path, crh: Crh) -> None:
    # The pilot's own 64 MB, and enough for one of them, not for two.
    hinder(survey, 'sleep 0.5\nexec "$@"', memory_mb=64 + 60)
    crh("run", "-j2", "--yes", cwd=survey)
    batch = newest(survey)
    assert all(30 * MB < batch.need_bytes(item) <= 60 * MB for item in batch.items)
    spans = sorted((one["stages"][0]["began"], one["stages"][0]["wall_s"]) for one in events(survey, "done"))
    assert spans[0][0] + spans[0][1] <= spans[1][0]


@pytest.fixture
def small_group() -> Iterator[tuple[str, ...]]:
    """Start a command in a control group of 300 MB (version 1, root only): the kernel kills whoever takes more."""
    directory = Path(f"/sys/fs/cgroup/memory/crh-batch-test-{os.getpid()}")
    try:
        directory.mkdir()
        (directory / "memory.limit_in_bytes").write_text(str(300 * MB))
    except OSError as error:
        pytest.skip(f"no control group of memory can be made: {error}")
    yield ("sh", "-c", f'echo $$ >{directory}/cgroup.procs && exec "$@"', "sh")
    # Processes that stayed would show here.
    directory.rmdir()


ONE_SLOT_STARTS = """
import sys, threading
start = threading.Thread.start
def refuse(thread):
    if thread.name.startswith("slot-") and thread.name not in sys.argv[1:2]:
        raise RuntimeError("can't start new thread")
    start(thread)
threading.Thread.start = refuse
from crh_batch.pilot.main import main
sys.exit(main(sys.argv[2:]))
"""


@pytest.mark.parametrize("slot", ["slot-0", "none"])
def test_memory_when_threads_cannot_be_started_then_the_others_do_the_work_or_none_says_so(
    survey: Path, crh: Crh, slot: str
) -> None:
    """As under a limit on virtual memory that the stacks of all threads don't fit into."""
    batch = make_batch(str(survey), examine([], str(survey), most_threads=1).planned, load_profile(str(survey)), print)
    assert batch.batch is not None
    argv = [sys.executable, "-c", ONE_SLOT_STARTS, slot, batch.batch.paths.directory, "--cores", "2"]
    ended = subprocess.run(argv, capture_output=True, text=True, timeout=60, check=False)
    counts = json.loads(crh("status", "--json", cwd=survey).stdout)["counts"]
    if slot == "none":
        assert (ended.returncode, counts["ready"]) == (3, 2)
        assert "the pilot itself is out of memory" in ended.stderr
    else:
        assert (ended.returncode, counts["done"]) == (0, 2), ended.stderr


def failures(survey: Path, crh: Crh) -> list[tuple[str, str]]:
    """Class and words of each failed tomodir."""
    status = json.loads(crh("status", "--all", "--json", cwd=survey, code=None).stdout)
    return [(one["failure"], one["error"]) for one in status["tomodirs"] if one["state"] == "failed"]


@pytest.mark.timeout(120)
def test_memory_when_the_kernel_kills_a_program_for_it_then_that_is_said_and_the_next_gets_more(
    survey: Path, crh: Crh, small_group: tuple[str, ...]
) -> None:
    hinder(survey, f"exec {sys.executable} -c 'x = bytearray(10**9)'", charged_attempts=2)
    crh("run", "-j1", "--yes", cwd=survey, code=1, prefix=small_group)
    assert [failure for failure, _ in failures(survey, crh)] == ["memory", "memory"]
    batch = newest(survey)
    assert batch.settings.max_memory_mb == 300, "of the control group, not of the machine"
    assert len(events(survey, "fail")) == 4
    item = batch.items[0]
    assert batch.need_bytes(item, 1) > 2 * batch.need_bytes(item)


@pytest.mark.timeout(120)
def test_memory_when_somebody_kills_a_program_then_it_is_a_crash(survey: Path, crh: Crh) -> None:
    hinder(survey, "kill -KILL $$", charged_attempts=1)
    crh("run", "-j1", "--yes", cwd=survey, code=1)
    assert failures(survey, crh) == [("crash", "ended by signal 9 (SIGKILL)")] * 2


@pytest.mark.timeout(120)
def test_node_when_everything_fails_on_it_then_the_pilot_leaves_and_spares_the_rest(survey: Path, crh: Crh) -> None:
    hinder(survey, "ulimit -c 0; kill -SEGV $$", charged_attempts=8)
    register(survey)
    done = crh("pilot", newest(survey).paths.directory, "--cores", "1", cwd=survey, code=None)
    assert "10 attempts in a row failed on this node" in done.stderr
    assert done.returncode == 3
    # What was claimed ahead by then fails, too; of 16 attempts that they had the rest is left.
    assert 10 <= len(events(survey, "fail")) <= 12


@pytest.mark.timeout(120)
def test_time_when_an_attempt_takes_longer_than_it_may_then_it_is_ended_and_has_failed(survey: Path, crh: Crh) -> None:
    hinder(survey, "exec sleep 600")
    crh("run", "-j2", "--yes", "--max-time", "0.02", cwd=survey, code=1)
    (first, second) = failures(survey, crh)
    assert first == second
    assert first[0] == "toolong"
    assert first[1].startswith("needs more than the 0.02 minutes of --max-time")
    for one in events(survey, "fail"):
        assert one["stages"][0]["wall_s"] < 10


@pytest.mark.timeout(120)
@pytest.mark.parametrize(
    ("ended_in_s", "failure", "words"),
    [(24, "toolong", "needs more than the 0.4 minutes of a job"), (3600, "walltime", "ended with its job")],
)
def test_time_when_the_job_ends_then_only_at_its_own_end_the_tomodir_is_to_blame(
    survey: Path, crh: Crh, ended_in_s: int, failure: str, words: str
) -> None:
    """Of 24 s the last 20 are for recording. A job that is ended long before its time was cancelled, or preempted."""
    hinder(survey, "exec sleep 600")
    batch = register(survey)
    surroundings = {"SLURM_JOB_ID": "7", "SLURM_JOB_END_TIME": str(int(time.time() + ended_in_s))}
    cancelled = ("timeout", "-sTERM", "5") if failure == "walltime" else ()
    code = None if cancelled else 0
    done = crh("pilot", batch.paths.directory, "-j1", cwd=survey, env=surroundings, code=code, prefix=cancelled)
    assert words in done.stderr
    assert [one["failure"] for one in events(survey, "fail")] == [failure]
    assert len(failures(survey, crh)) == (failure == "toolong"), "ended with its job it is ready again"


def register(survey: Path) -> Batch:
    """Make a batch without pilots."""
    found = examine([], str(survey), cwd=str(survey), most_threads=1)
    made = make_batch(str(survey), found.planned, load_profile(str(survey)), lambda batch: None)
    assert made.batch is not None
    return made.batch


@pytest.mark.timeout(60)
def test_group_when_a_pilot_is_for_one_group_then_it_leaves_the_others(survey: Path, crh: Crh) -> None:
    batch = register(survey)
    # One submit gives one name to all of them.
    named = [replace(item, group=group) for item, group in zip(batch.items, ("-a b'", "other"))]
    Path(batch.paths.items).write_bytes(b"".join(item.to_line() for item in named))
    batch = newest(survey)
    crh("pilot", batch.paths.directory, "-j1", "--group", "-a b'", cwd=survey)
    assert [batch.items[one["id"]].group for one in events(survey, "done")] == ["-a b'"]
    assert [one["unfit"] for one in events(survey, "end")] == [0]
    crh("pilot", batch.paths.directory, "-j1", cwd=survey)
    assert sorted(batch.items[one["id"]].group for one in events(survey, "done")) == ["-a b'", "other"]
