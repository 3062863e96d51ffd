"""One program: its own process group, measured, and ended with all that it started."""

from __future__ import annotations

import os
import resource
import signal
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from conftest import wait_until
from crh_batch.ledger.identity import start_ticks
from crh_batch.pilot import program as program_module
from crh_batch.pilot.guard import Guard
from crh_batch.pilot.program import RunningProgram, program_environment

Start = Callable[..., RunningProgram]
BUSY = "import time\nwhile time.process_time() < 0.3: pass"


@pytest.fixture
def start(tmp_path: Path, guard: Guard) -> Start:
    """Start a program; its output goes to the files out and err."""

    def start(*argv: str, environment: dict[str, str] | None = None) -> RunningProgram:
        out, err = str(tmp_path / "out"), str(tmp_path / "err")
        return RunningProgram.start(list(argv), str(tmp_path), environment or dict(os.environ), out, err, guard)

    return start


def said(tmp_path: Path) -> str:
    return (tmp_path / "out").read_text()


def test_run_when_it_ends_well_then_its_output_lies_in_two_files(tmp_path: Path, start: Start) -> None:
    usage = start("sh", "-c", "pwd; echo no >&2").wait()
    assert (usage.returncode, usage.ended_by) == (0, "")
    assert said(tmp_path) == f"{tmp_path}\n"
    assert (tmp_path / "err").read_text() == "no\n"


@pytest.mark.parametrize(("script", "returncode"), [("exit 3", 3), ("kill -TERM $$", -15), ("kill -SEGV $$", -11)])
def test_run_when_it_ends_badly_then_status_or_signal(start: Start, script: str, returncode: int) -> None:
    assert start("sh", "-c", f"ulimit -c 0; {script}").wait().returncode == returncode


def test_run_when_it_reads_then_there_is_nothing_to_read(tmp_path: Path, start: Start) -> None:
    assert start("sh", "-c", "cat; echo end").wait().returncode == 0
    assert said(tmp_path) == "end\n"


def test_run_when_an_environment_is_given_then_it_has_that_and_no_other(tmp_path: Path, start: Start) -> None:
    start("/usr/bin/env", environment={"OMP_NUM_THREADS": "6", "A": "b c"}).wait()
    assert sorted(said(tmp_path).splitlines()) == ["A=b c", "OMP_NUM_THREADS=6"]


def test_run_when_started_then_it_leads_its_own_group_and_session_under_guard(
    tmp_path: Path, start: Start, guard: Guard
) -> None:
    """What ends the pilot's group (Ctrl-C, scancel) must not reach it before the pilot does."""
    program = start(sys.executable, "-c", "import os; print(os.getpid(), os.getpgid(0), os.getsid(0))")
    program.wait()
    (pid,) = set(said(tmp_path).split())
    assert getattr(guard, "told") == [f"+{pid}", f"-{pid}"]  # noqa: B009


@pytest.mark.parametrize(
    ("content", "mode"), [(None, 0o755), (b"#!/bin/sh\n", 0o644), (b"\x7fELF nothing more", 0o755), (b"", 0o755)]
)
def test_start_when_it_cannot_be_started_then_os_error(
    tmp_path: Path, start: Start, content: bytes | None, mode: int
) -> None:
    path = tmp_path / "CRMod"
    if content is not None:
        path.write_bytes(content)
        path.chmod(mode)
    with pytest.raises(OSError):
        start(str(path))


@pytest.mark.timeout(30)
def test_run_when_it_leaves_children_behind_then_they_end_with_it(tmp_path: Path, start: Start) -> None:
    usage = start("sh", "-c", "trap '' TERM; sleep 600 & echo $!; exit 0").wait()
    assert usage.returncode == 0
    child = int(said(tmp_path))
    wait_until("the grandchild is dead", lambda: start_ticks(child) is None)


def test_run_when_it_works_then_its_time_is_measured_with_that_of_its_children(start: Start) -> None:
    usage = start("sh", "-c", f"{sys.executable} -c '{BUSY}'; true").wait()
    assert 0.3 <= usage.cpu_s < 3.0
    assert usage.wall_s >= 0.3


def test_run_when_it_takes_memory_then_its_peak_is_measured(start: Start) -> None:
    # More than other tests may have made of this process, whose memory counts between fork and exec.
    size = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss << 10) + (300 << 20)
    usage = start(sys.executable, "-c", f"b'x' * {size}").wait()
    assert size <= usage.peak_bytes < size + (100 << 20)
    assert usage.peak_is_bound is False


def test_run_when_it_takes_less_than_the_pilot_then_its_peak_is_only_a_bound(start: Start) -> None:
    """Between fork and exec it shares the pilot's memory, which counts too."""
    assert start("true").wait().peak_is_bound is True


@pytest.mark.timeout(30)
def test_end_when_asked_then_it_gets_sigterm_and_the_reason_is_kept(tmp_path: Path, start: Start) -> None:
    program = start("sh", "-c", "trap 'echo bye; exit 7' TERM; echo ready; while :; do sleep 0.01; done")
    wait_until("it is ready", lambda: said(tmp_path) == "ready\n")
    program.end("walltime")
    program.end("cancelled")
    usage = program.wait()
    assert (usage.returncode, usage.ended_by) == (7, "walltime")
    assert said(tmp_path) == "ready\nbye\n"


@pytest.mark.timeout(30)
def test_end_when_it_does_not_listen_then_it_is_killed_with_its_children(
    tmp_path: Path, start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(program_module, "TERM_TO_KILL_S", 0.05)
    program = start("sh", "-c", "trap '' TERM; sleep 600 & echo $!; wait")
    wait_until("it is ready", lambda: said(tmp_path).endswith("\n"))
    program.end("cancelled")
    usage = program.wait()
    assert (usage.returncode, usage.ended_by) == (-signal.SIGKILL, "cancelled")
    child = int(said(tmp_path))
    wait_until("the grandchild is dead", lambda: start_ticks(child) is None)


@pytest.mark.timeout(30)
def test_end_when_another_thread_asks_then_wait_returns(tmp_path: Path, start: Start) -> None:
    program = start("sh", "-c", "echo ready; exec sleep 600")

    def end() -> None:
        wait_until("it is ready", lambda: said(tmp_path) == "ready\n")
        program.end("walltime")

    ending = threading.Thread(target=end)
    ending.start()
    assert program.wait().returncode == -signal.SIGTERM
    ending.join()


def test_end_when_it_is_over_then_nothing_is_signalled(start: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its number may be another's by now."""
    program = start("true")
    assert program.wait().ended_by == ""
    killed: list[object] = []
    monkeypatch.setattr("os.killpg", lambda *arguments: killed.append(arguments))
    program.end("walltime")
    assert killed == []


def test_environment_when_the_pilots_has_openmp_settings_then_only_the_tomodirs_own_count(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """dask's nanny sets OMP_NUM_THREADS=1, an empty one is an error to libgomp, a limit lowers it silently."""
    for name in ("OMP_NUM_THREADS", "OMP_THREAD_LIMIT", "OMP_PROC_BIND", "GOMP_CPU_AFFINITY", "OPENBLAS_NUM_THREADS"):
        monkeypatch.setenv(name, "")
    monkeypatch.setenv("LD_LIBRARY_PATH", "/opt/gcc/lib64")
    environment = program_environment(6)
    openmp = {key: value for key, value in environment.items() if key.startswith(("OMP_", "GOMP_", "OPENBLAS_"))}
    assert openmp == {"OMP_NUM_THREADS": "6", "OPENBLAS_NUM_THREADS": "1"}
    assert environment["LD_LIBRARY_PATH"] == "/opt/gcc/lib64"
    assert environment["PATH"] == os.environ["PATH"]


@pytest.mark.parametrize("number", [signal.SIGUSR1, signal.SIGUSR2])
def test_run_when_its_job_is_warned_then_the_program_goes_on_and_so_do_its_children(
    tmp_path: Path, start: Start, number: signal.Signals
) -> None:
    """SGE sends such signals to every process of an ordinary user's job (tests/real/sge)."""
    # Not a shell: some take the mask off themselves.
    warned = f"import os, subprocess, sys; os.kill(os.getpid(), {number.value}); print(len(sys.argv), flush=True)"
    again = "\nif len(sys.argv) == 1: subprocess.run([sys.executable, '-c', program, 'child'], check=True)"
    program = f"program = {warned + again!r}\nexec(program)"
    usage = start(sys.executable, "-c", f"program = {program!r}\n{warned}{again}").wait()
    assert usage.returncode == 0
    assert said(tmp_path) == "1\n2\n"


def test_run_when_it_has_started_then_signals_reach_the_pilot_as_before(start: Start) -> None:
    before = signal.pthread_sigmask(signal.SIG_BLOCK, ())
    start("true").wait()
    assert signal.pthread_sigmask(signal.SIG_BLOCK, ()) == before
