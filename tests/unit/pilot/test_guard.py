"""The guard outlives the pilot, whatever ends it, and clears up after it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from conftest import wait_until
from crh_batch.ledger.identity import start_ticks

# A pilot in small: a guard, a program under it, and then it waits to be killed.
PILOT = """
import os, subprocess, sys
from crh_batch.pilot.guard import Guard

scratch, keep, way = sys.argv[1], sys.argv[2] == "keep", sys.argv[3]
environment = dict(os.environ)
guard = Guard(scratch, keep_scratch=keep)
if way in ("not under guard yet", "in a session of its own"):
    # The mark of the pilot is in its environment, as in that of all that a pilot starts.
    environment = dict(os.environ)
script = "trap '' TERM; sleep 600 & wait"
setsid = ["setsid", "--wait"] if way == "in a session of its own" else []
program = subprocess.Popen(
    [*setsid, "sh", "-c", script], start_new_session=True, stdout=subprocess.DEVNULL, env=environment
)
if way != "not under guard yet":
    guard.add(program.pid)
if way == "taken out":
    guard.remove(program.pid)
print(guard.pid, program.pid, flush=True)
sys.stdin.readline()
guard.add(2**22 + 17)  # a number that no process has
guard.close()
print("closed", flush=True)
"""


class SmallPilot:
    def __init__(self, scratch: Path, way: str = "under guard", *, keep: bool = False) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-c", PILOT, str(scratch), "keep" if keep else "-", way],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        assert self.process.stdout is not None
        self.guard, self.program = map(int, self.process.stdout.readline().split())

    def die(self) -> None:
        """As the kernel's out-of-memory killer does it."""
        self.process.kill()
        self.process.wait()

    def members(self) -> list[int]:
        """The living processes of the program's group."""
        found = []
        for name in os.listdir("/proc"):
            if name.isdigit() and start_ticks(int(name)) is not None:
                with suppress(ProcessLookupError):
                    if os.getpgid(int(name)) == self.program:
                        found.append(int(name))
        return found

    def clear_up(self) -> None:
        for group in (self.program, self.process.pid):
            with suppress(ProcessLookupError):
                os.killpg(group, signal.SIGKILL)
        self.process.communicate()


def ignores(pid: int, number: signal.Signals) -> bool:
    """Whether a process ignores a signal: proc(5), SigIgn."""
    (mask,) = [
        line.split()[1] for line in Path(f"/proc/{pid}/status").read_text().splitlines() if line.startswith("SigIgn:")
    ]
    return bool(int(mask, 16) & (1 << (number - 1)))


def marked(scratch: Path) -> list[int]:
    """The living `sleep`s that were started with this scratch directory in their environment."""
    found = []
    for name in os.listdir("/proc"):
        if name.isdigit() and start_ticks(int(name)) is not None:
            with suppress(OSError):
                environment = Path(f"/proc/{name}/environ").read_bytes().split(b"\0")
                is_sleep = Path(f"/proc/{name}/cmdline").read_bytes() == b"sleep\x00600\x00"
                if is_sleep and f"CRH_BATCH_SCRATCH={scratch}".encode() in environment:
                    found.append(int(name))
    return found


@pytest.fixture
def scratch(tmp_path: Path) -> Path:
    directory = tmp_path / "scratch"
    (directory / "000000.001").mkdir(parents=True)
    (directory / "000000.001" / "volt.dat").touch()
    return directory


@pytest.fixture
def pilots() -> Iterator[list[SmallPilot]]:
    made: list[SmallPilot] = []
    yield made
    for pilot in made:
        pilot.clear_up()


@pytest.mark.timeout(60)
def test_guard_when_the_pilot_is_killed_then_its_programs_and_its_scratch_go(
    scratch: Path, pilots: list[SmallPilot]
) -> None:
    pilots.append(pilot := SmallPilot(scratch))
    wait_until("the program has its child", lambda: len(pilot.members()) == 2)
    pilot.die()
    wait_until("the whole group is dead", lambda: pilot.members() == [])
    wait_until("the scratch directory is gone", lambda: not scratch.exists())
    wait_until("the guard has ended", lambda: start_ticks(pilot.guard) is None)


@pytest.mark.timeout(60)
@pytest.mark.parametrize("way", ["not under guard yet", "in a session of its own"])
def test_guard_when_a_program_is_not_in_a_group_that_it_knows_then_it_goes_too(
    scratch: Path, pilots: list[SmallPilot], way: str
) -> None:
    """The pilot died between starting it and saying so, or it has left its group; the environment tells."""
    pilots.append(pilot := SmallPilot(scratch, way))
    wait_until("it has its child", lambda: marked(scratch))
    pilot.die()
    wait_until("all of it is dead", lambda: not marked(scratch))
    wait_until("the scratch directory is gone", lambda: not scratch.exists())


@pytest.mark.timeout(60)
def test_guard_when_scratch_is_to_be_kept_then_only_the_programs_go(scratch: Path, pilots: list[SmallPilot]) -> None:
    pilots.append(pilot := SmallPilot(scratch, keep=True))
    pilot.die()
    wait_until("the guard has ended", lambda: start_ticks(pilot.guard) is None)
    assert pilot.members() == []
    assert (scratch / "000000.001" / "volt.dat").exists()


@pytest.mark.timeout(60)
def test_guard_when_a_group_was_taken_out_then_it_is_left_alone(scratch: Path, pilots: list[SmallPilot]) -> None:
    """It has ended, and its number may be another's by now."""
    pilots.append(pilot := SmallPilot(scratch, "taken out"))
    pilot.die()
    wait_until("the guard has ended", lambda: start_ticks(pilot.guard) is None)
    assert pilot.program in pilot.members()


@pytest.mark.timeout(60)
def test_guard_when_the_pilots_group_is_signalled_then_it_lives_on_to_clear_up(
    scratch: Path, pilots: list[SmallPilot]
) -> None:
    pilots.append(pilot := SmallPilot(scratch))
    wait_until("the guard has begun its watch", lambda: ignores(pilot.guard, signal.SIGHUP))
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGUSR1, signal.SIGUSR2, signal.SIGHUP):
        os.kill(pilot.guard, number)
    assert os.getpgid(pilot.guard) == pilot.guard != pilot.process.pid
    os.killpg(pilot.process.pid, signal.SIGKILL)
    pilot.process.wait()
    wait_until("the whole group is dead", lambda: pilot.members() == [])
    wait_until("the scratch directory is gone", lambda: not scratch.exists())


@pytest.mark.timeout(60)
def test_close_when_the_pilot_ends_in_good_order_then_the_guard_has_ended(
    scratch: Path, pilots: list[SmallPilot]
) -> None:
    pilots.append(pilot := SmallPilot(scratch))
    out, _ = pilot.process.communicate("end\n")
    assert out == "closed\n"
    assert pilot.process.returncode == 0
    assert start_ticks(pilot.guard) is None
    assert not scratch.exists()


@pytest.mark.timeout(60)
def test_guard_when_it_was_killed_itself_then_the_pilot_goes_on(scratch: Path, pilots: list[SmallPilot]) -> None:
    pilots.append(pilot := SmallPilot(scratch))
    os.kill(pilot.guard, signal.SIGKILL)
    wait_until("the guard is dead", lambda: start_ticks(pilot.guard) is None)
    out, _ = pilot.process.communicate("end\n")
    assert out == "closed\n"
    assert pilot.process.returncode == 0
