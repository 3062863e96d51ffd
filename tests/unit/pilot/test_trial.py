"""The node's side of `profile test`: two real processes on one directory."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from conftest import wait_until
from crh_batch.engines.programs import pilot_archive
from crh_batch.ledger import durable
from crh_batch.ledger.paths import BatchPaths
from crh_batch.ledger.settings import Settings, write_settings
from crh_batch.pilot.node_facts import core_facts, memory_facts, program_facts, scratch_facts
from crh_batch.pilot.trial import ALONE, HERE, RESULT, TRIAL

SAYS_HELLO = "#!/bin/sh\necho ' CRMod Process_ID ::  17'\necho \" OpenMP max threads:   $OMP_NUM_THREADS\"\n"


@pytest.fixture
def batch(tmp_path: Path) -> BatchPaths:
    """The directory that the client makes, with one program in it."""
    paths = BatchPaths(str(tmp_path / ".crh-batch" / "trial-abc"))
    for directory in (paths.directory, *paths.directories(1), os.path.join(paths.directory, TRIAL)):
        os.makedirs(directory, exist_ok=True)
    program = Path(paths.programs, "CRMod-1")
    program.write_text(SAYS_HELLO)
    program.chmod(0o755)
    write_settings(paths, Settings("symlink", (), {"CRMod": {"file": "CRMod-1", "sha256": ""}}))
    Path(paths.pilot).write_bytes(pilot_archive("crh_batch.pilot.trial"))
    return paths


@pytest.fixture
def tasks() -> Iterator[list[subprocess.Popen[bytes]]]:
    started: list[subprocess.Popen[bytes]] = []
    yield started
    for one in started:
        one.kill()
        one.wait()


def start(batch: BatchPaths, token: str, *options: str) -> subprocess.Popen[bytes]:
    argv = [sys.executable, "-I", "-S", batch.pilot, batch.directory, "--submission", token, "--cores", "2", *options]
    return subprocess.Popen(argv)


def result(batch: BatchPaths, token: str) -> dict[str, Any]:
    path = Path(batch.directory, TRIAL, token + RESULT)
    wait_until(f"{token} writes what it found", path.exists, timeout_s=60)
    data: dict[str, Any] = json.loads(path.read_text())
    return data


def test_trial_when_two_tasks_meet_then_each_name_is_won_once_and_files_are_seen(
    batch: BatchPaths, tasks: list[subprocess.Popen[bytes]]
) -> None:
    tasks += [start(batch, "aaa"), start(batch, "bbb")]
    first, second = result(batch, "aaa"), result(batch, "bbb")
    assert (first["peer"]["error"], second["peer"]["error"]) == ("", "")
    for race in ("race_symlink", "race_file", "race_created"):
        tried = first["peer"][race]["tried"]
        assert sorted(first["peer"][race]["won"] + second["peer"][race]["won"]) == list(range(tried)) != []
    times = first["peer"]["there_and_back_s"]
    assert set(times) == {"listed", "asked", "content"} and second["peer"]["there_and_back_s"] == {}
    assert all(0 < seconds < 10 for seconds in times.values())
    assert first["filesystem"]["kind"] == {"links": "symlink", "error": ""}
    assert first["programs"][0]["omp_threads"] == 2
    assert first["scratch"]["error"] == "" and first["scratch"]["free_bytes"] > 0


def test_trial_when_nobody_else_comes_then_it_does_not_wait_any_longer(
    batch: BatchPaths, tasks: list[subprocess.Popen[bytes]]
) -> None:
    tasks.append(start(batch, "aaa"))
    Path(batch.directory, TRIAL, ALONE).touch()
    assert result(batch, "aaa")["peer"] is None


def test_trial_when_the_warning_comes_then_when_it_came(
    batch: BatchPaths, tasks: list[subprocess.Popen[bytes]]
) -> None:
    Path(batch.directory, TRIAL, ALONE).touch()
    tasks.append(start(batch, "aaa", "--warn-s", "100", "--time-left", "2:00", "--threads", "0", "--of-tomorrow", "x"))
    wait_until("it has begun", Path(batch.directory, TRIAL, "aaa" + HERE).exists)
    time.sleep(0.3)
    tasks[0].send_signal(signal.SIGUSR1)
    found = result(batch, "aaa")
    ((name, seconds),) = found["signals"]
    assert name == "SIGUSR1" and 0.2 < seconds < 30
    assert found["time_left_s"] == 120


def test_trial_when_the_other_task_dies_then_it_says_what_it_did_not_see(
    batch: BatchPaths, tasks: list[subprocess.Popen[bytes]]
) -> None:
    Path(batch.directory, TRIAL, "zzz" + HERE).write_text("{}")
    tasks.append(start(batch, "aaa"))
    assert result(batch, "aaa")["peer"]["error"] == "the others' begin was not seen within 12 s"


def test_trial_when_a_filesystem_lets_two_win_then_both_say_so(
    batch: BatchPaths, tasks: list[subprocess.Popen[bytes]]
) -> None:
    """A stand-in for exclusive creation that isn't: names as files, and a directory where they vanish."""
    code = (
        "import sys; sys.path.insert(0, sys.argv[1])\n"
        "from crh_batch.ledger import durable\n"
        "durable.win_name = lambda *arguments, **options: True\n"
        "from crh_batch.pilot import trial\n"
        "sys.exit(trial.main(sys.argv[2:]))\n"
    )
    for token in ("aaa", "bbb"):
        argv = [sys.executable, "-c", code, batch.pilot, batch.directory, "--submission", token]
        tasks.append(subprocess.Popen(argv))
    races = [result(batch, token)["peer"]["race_symlink"] for token in ("aaa", "bbb")]
    assert all(race["won"] == list(range(race["tried"])) != [] for race in races)


def test_program_facts_when_it_starts_then_what_it_says(tmp_path: Path) -> None:
    program = tmp_path / "a program"
    program.write_text(SAYS_HELLO)
    program.chmod(0o755)
    facts = program_facts("CRMod", str(program), ["nice", "-n1"], 3, str(tmp_path))
    assert (facts["error"], facts["omp_threads"], facts["exit_status"]) == ("", 3, 0)
    assert list(tmp_path.iterdir()) == [program], "nothing is left"


@pytest.mark.parametrize(
    ("text", "mode", "error"),
    [
        ("#!/bin/sh\nexit 0\n", 0o755, "ended with 0 and said nothing"),
        ("#!/bin/sh\necho first >&2; echo 'FATAL: no image' >&2; exit 255\n", 0o755, "FATAL: no image"),
        ("#!/bin/sh\n", 0o600, "can't be started: Permission denied"),
        ("#!/no/such\n", 0o755, "can't be started: No such file or directory"),
        ("not a program\n", 0o755, "can't be started: Exec format error"),
    ],
)
def test_program_facts_when_it_does_not_start_then_why(tmp_path: Path, text: str, mode: int, error: str) -> None:
    program = tmp_path / "program"
    program.write_text(text)
    program.chmod(mode)
    assert program_facts("CRMod", str(program), [], 1, str(tmp_path))["error"] == error


def test_program_facts_when_a_library_is_missing_then_its_name(tmp_path: Path, programs: Path) -> None:
    """A real CRTomo whose libgfortran has been renamed inside it: the loader finds none of that name."""
    program = tmp_path / "CRTomo"
    program.write_bytes((programs / "CRTomo_stable").read_bytes().replace(b"libgfortran.so.5", b"libgfortrax.so.5"))
    program.chmod(0o755)
    facts = program_facts("CRTomo", str(program), [], 1, str(tmp_path))
    assert "error while loading shared libraries: libgfortrax.so.5" in facts["error"]
    assert facts["missing"] == ["libgfortrax.so.5"]


def test_scratch_facts_when_it_can_be_used_then_room_and_kind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PLACE", str(tmp_path))
    facts = scratch_facts("$PLACE/below", "abc")
    assert (facts["error"], facts["path"]) == ("", f"{tmp_path}/below")
    assert facts["filesystem"] == durable.filesystem_type(os.stat(tmp_path).st_dev) != ""
    assert list((tmp_path / "below").iterdir()) == [], "nothing is left"


@pytest.mark.parametrize(
    ("base", "error"),
    [
        ("/proc/nothing", "No such file or directory"),
        ("$NO_SUCH_VARIABLE/x", "a variable in it is not set on this node"),
        ("/dev/null", "Not a directory"),
    ],
)
def test_scratch_facts_when_it_cannot_be_used_then_why(base: str, error: str) -> None:
    assert scratch_facts(base, "abc")["error"] == error


def test_core_and_memory_facts_when_the_job_is_limited_then_the_limits() -> None:
    code = (
        "import os, resource, json\n"
        "from crh_batch.pilot.node_facts import core_facts, memory_facts\n"
        "os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})\n"
        "resource.setrlimit(resource.RLIMIT_AS, (1 << 30, 1 << 30))\n"
        "print(json.dumps([core_facts(4, {'NSLOTS': '4', 'HOME': '/'}), memory_facts(7)]))\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True, text=True)
    cores, memory = json.loads(done.stdout)
    assert (cores["asked"], cores["usable"], cores["environment"]) == (4, 1, {"NSLOTS": "4"})
    assert (memory["asked_mb"], memory["limits"]["RLIMIT_AS"]) == (7, 1 << 30)
    assert core_facts(1, {})["usable"] == len(os.sched_getaffinity(0))
    assert "RLIMIT_AS" not in memory_facts(7)["limits"]
