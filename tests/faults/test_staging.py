"""Promise: a stage arrives whole and exact, wherever the line breaks or either end dies, and little is sent twice."""

from __future__ import annotations

import contextlib
import functools
import hashlib
import os
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from random import Random

import pytest

from crh_batch.errors import HostError
from crh_batch.mirror.inputs import archive_path
from crh_batch.mirror.programs import ProgramThere
from crh_batch.mirror.up import bring_up
from faults.points import Announcer
from faults.test_mirror import ended, in_child
from unit.hosts.pipe_host import PipeHost
from unit.mirror.unsent import CFG, Unsent, make_unsent, reading

SEED = 20261123
KILLED = 77
# The other end, as a program that dies before the n-th of its changes.
DYING = """#!{python}
import os, signal, sys
left = int(os.environ["CRH_TEST_DIES_AT"])
def hook(event, arguments):
    global left
    writes = event == "open" and isinstance(arguments[2], int) and arguments[2] & (os.O_WRONLY | os.O_RDWR)
    if writes or event in ("os.mkdir", "os.rename", "os.remove", "os.utime", "os.chmod", "os.truncate"):
        left -= 1
        if left == 0:
            os.kill(os.getpid(), signal.SIGKILL)
sys.addaudithook(hook)
exec(sys.argv[-1])
"""


@pytest.fixture
def unsent(place: Path) -> Unsent:
    """Two tomodirs with an input that they share, and a program that is copied there."""
    program = place / "CRMod"
    program.write_bytes(b"program")
    found = {"CRMod": ProgramThere(str(program), _sum_of(program), "far")}
    stage = reading(CFG, "../grid")
    files = {"td0/exe/crmod.cfg": b"0", "td1/exe/crmod.cfg": b"1", "grid": Random(SEED).randbytes(3000)}
    return make_unsent(place / "survey", {"td0": [stage], "td1": [stage]}, files, programs=found)


def _sum_of(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def stage_of(unsent: Unsent) -> dict[str, tuple[int, int, bytes]]:
    """All that is in the directory for stages: modes, times, contents."""
    found = {}
    for directory, _, files in os.walk(unsent.base):
        # What a small file was written to when its writer was killed goes away with the stage; nobody reads it.
        for name in (*(name for name in files if not (name.startswith(".") and name.endswith(".part"))), "."):
            path = Path(directory, name)
            facts = path.stat()
            # Of the archive, of which a new one has another sum.
            is_marker = name in ("arrived", ".crh-batch-stage")
            is_input = path.is_file() and not is_marker and ".crh-batch" not in path.parts
            content = path.read_bytes() if path.is_file() and not is_marker else b""
            found[os.path.relpath(path, unsent.base)] = (facts.st_mode, facts.st_mtime_ns * is_input, content)
    return found


def forget(unsent: Unsent) -> None:
    """Be as before anything was sent."""
    shutil.rmtree(unsent.base, ignore_errors=True)
    for path in (unsent.stage.arrived, archive_path(unsent.stage), f"{archive_path(unsent.stage)}.part"):
        Path(path).unlink(missing_ok=True)


def expected_of(unsent: Unsent) -> tuple[dict[str, tuple[int, int, bytes]], int]:
    """The stage as it is when all goes well, and how many bytes went over the line."""
    far = PipeHost()
    bring_up(unsent.stage, far, say=pytest.fail)
    far.close()
    found = stage_of(unsent)
    forget(unsent)
    return found, far.went


def goes_on(unsent: Unsent) -> int:
    """Do it once more, with all in order; return how many bytes went over the line."""
    far = PipeHost()
    bring_up(unsent.stage, far, say=pytest.fail)
    far.close()
    return far.went


def cut_at(unsent: Unsent, byte: int, *, stays_down: bool) -> int:
    """Break the line there, then go on; return how many bytes went in all."""
    far = PipeHost()
    far.break_after(byte, stays_down=stays_down)
    with contextlib.suppress(HostError):
        bring_up(unsent.stage, far, say=pytest.fail)
    far.is_down = False
    far.close()
    return far.went + goes_on(unsent)


def cuts(unsent: Unsent, places: Callable[[int], list[int]]) -> None:
    expected, whole = expected_of(unsent)
    for byte in places(whole):
        cut_at(unsent, byte, stays_down=byte % 2 == 0)
        assert stage_of(unsent) == expected, f"cut at byte {byte}"
        forget(unsent)


def test_stage_when_the_line_breaks_at_any_byte_then_it_arrives_exact(unsent: Unsent) -> None:
    draw = Random(SEED)
    cuts(unsent, lambda whole: sorted(draw.sample(range(whole), 20)))


@pytest.mark.long
@pytest.mark.timeout(1200)
def test_stage_when_the_line_breaks_every_50_bytes_then_it_arrives_exact(unsent: Unsent) -> None:
    cuts(unsent, lambda whole: list(range(0, whole, 50)))


def test_stage_when_the_line_breaks_in_a_large_archive_then_little_is_sent_twice(place: Path) -> None:
    files = {f"td/{CFG}": b"c", "td/grid": Random(SEED).randbytes(8_000_000)}
    unsent = make_unsent(place / "survey", {"td": [reading(CFG, "grid")]}, files)
    expected, whole = expected_of(unsent)
    for part in (0.02, 0.4, 0.97):
        assert cut_at(unsent, int(whole * part), stays_down=True) < 1.1 * whole
        assert stage_of(unsent) == expected
        forget(unsent)


def test_stage_when_the_client_dies_at_any_change_then_it_arrives_exact(place: Path, unsent: Unsent) -> None:
    expected, _ = expected_of(unsent)
    number = 0
    code = KILLED
    while code == KILLED:
        number += 1
        code = ended(in_child(functools.partial(_live, unsent, place, number)))
        assert code in (KILLED, 0)
        goes_on(unsent)
        assert stage_of(unsent) == expected, f"died at change {number}"
        forget(unsent)
    assert number > 10


def _live(unsent: Unsent, place: Path, number: int) -> None:
    count = 0

    def on_point(event: str) -> None:
        nonlocal count
        count += 1
        if count == number:
            os._exit(KILLED)

    far = PipeHost()
    Announcer(f"{place}/", on_point).install()
    bring_up(unsent.stage, far, say=pytest.fail)


def test_stage_when_the_other_end_dies_at_any_change_then_it_arrives_exact(place: Path, unsent: Unsent) -> None:
    expected, _ = expected_of(unsent)
    python = place / "python"
    python.write_text(DYING.replace("{python}", sys.executable))
    python.chmod(0o755)
    number = 0
    lines = 2
    while lines > 1:
        number += 1
        far = PipeHost(python=str(python), env={**os.environ, "CRH_TEST_DIES_AT": str(number)})
        with contextlib.suppress(HostError):
            bring_up(unsent.stage, far, say=pytest.fail)
        far.close()
        # A new line is made when one has broken.
        lines = far.lines
        goes_on(unsent)
        assert stage_of(unsent) == expected, f"died at change {number}"
        forget(unsent)
    assert number > 20
