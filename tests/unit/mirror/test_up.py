"""A stage is made on its cluster exactly as the batch says, whatever was there before; then a pilot can start there."""

from __future__ import annotations

import hashlib
import os
import shutil
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from crh_batch.engines.programs import pilot_archive
from crh_batch.errors import HostError, LedgerError, ProgramMissing
from crh_batch.ledger.batch import Batch
from crh_batch.ledger.session import list_sessions, read_events
from crh_batch.ledger.trust import check_batch
from crh_batch.mirror.inputs import archive_path
from crh_batch.mirror.programs import ProgramThere
from crh_batch.mirror.up import bring_up
from unit.hosts.pipe_host import PipeHost
from unit.mirror.unsent import CFG, Unsent, make_unsent, reading

RUN = {"judge": "exit_status", "result": None, "dims": "2D"}


@pytest.fixture
def far() -> Iterator[PipeHost]:
    host = PipeHost()
    yield host
    host.close()


@pytest.fixture
def program(tmp_path: Path) -> ProgramThere:
    """A stand-in for CRMod that adds up what it reads."""
    path = tmp_path / "sw/CRMod"
    path.parent.mkdir()
    path.write_text("#!/bin/sh\ncat crmod.cfg $(cat crmod.cfg) > ../mod/volt.dat\n")
    path.chmod(0o755)
    return ProgramThere(str(path), hashlib.sha256(path.read_bytes()).hexdigest(), f"far:{path}")


def small(tmp_path: Path, **programs: ProgramThere) -> Unsent:
    return make_unsent(
        tmp_path / "survey", {"td": [reading(CFG, **RUN)]}, {f"td/{CFG}": b"crmod.cfg\n"}, programs=programs
    )


def test_bring_up_when_it_is_done_then_a_pilot_can_trust_all_of_it(
    tmp_path: Path, far: PipeHost, program: ProgramThere
) -> None:
    unsent = small(tmp_path, CRMod=program)
    stage = unsent.stage
    totals: list[int] = []
    went: list[int] = []
    size = bring_up(stage, far, on_bytes=went.append, on_total=totals.append, say=pytest.fail)
    assert [size, sum(went)] == [totals[0], totals[0]] and size > 0
    assert stage.has_arrived and not os.path.exists(archive_path(stage))
    assert os.listdir(unsent.base) == [unsent.batch.batch_id]
    for directory, _, files in os.walk(stage.top):
        assert stat.S_IMODE(os.stat(directory).st_mode) == 0o700
        modes = {name: stat.S_IMODE(os.stat(os.path.join(directory, name)).st_mode) for name in files}
        assert modes == {name: 0o755 if name.startswith("CRMod-") else 0o600 for name in files}
    check_batch(stage.there)
    there = Batch(stage.there.directory)
    assert Path(there.paths.items).read_bytes() == Path(stage.here.items).read_bytes()
    assert Path(there.paths.settings).read_bytes() == Path(stage.here.settings).read_bytes()
    assert all(os.path.isdir(path) for path in there.paths.directories(1))


@pytest.mark.parametrize(
    "ns", [0, 1, -1, 1_700_000_000_123_456_789, -1_500_000_000, 4_200_000_000_000_000_001, 1_700_000_000 * 10**9]
)
def test_bring_up_when_a_file_is_of_any_time_then_it_is_the_same_there(tmp_path: Path, far: PipeHost, ns: int) -> None:
    """Pilots note it, and collect compares it with the file here."""
    unsent = small(tmp_path)
    here = unsent.survey / "td" / CFG
    os.utime(here, ns=(ns, ns))
    bring_up(unsent.stage, far)
    there = unsent.there(f"td/{CFG}").stat()
    assert (there.st_mtime_ns, there.st_size) == (here.stat().st_mtime_ns, here.stat().st_size)


def test_bring_up_when_asked_again_then_nothing_is(tmp_path: Path, far: PipeHost) -> None:
    unsent = small(tmp_path)
    bring_up(unsent.stage, far)
    far.is_down = True
    far.close()
    assert bring_up(unsent.stage, far) == 0


def test_bring_up_when_the_last_answer_was_lost_then_nothing_is_sent_twice(tmp_path: Path, far: PipeHost) -> None:
    unsent = small(tmp_path)
    bring_up(unsent.stage, far)
    os.unlink(unsent.stage.arrived)
    unsent.there(f"td/{CFG}").write_bytes(b"a pilot is at work there")
    assert bring_up(unsent.stage, far) == 0
    assert unsent.stage.has_arrived
    assert unsent.there(f"td/{CFG}").read_bytes() == b"a pilot is at work there"
    assert os.listdir(unsent.base) == [unsent.batch.batch_id]


def test_bring_up_when_an_input_is_gone_then_the_user_is_told(tmp_path: Path, far: PipeHost) -> None:
    unsent = small(tmp_path)
    (unsent.survey / "td" / CFG).unlink()
    said: list[str] = []
    bring_up(unsent.stage, far, say=said.append)
    assert len(said) == 1 and CFG in said[0]
    assert unsent.there("td").is_dir()


def test_bring_up_when_somebody_left_another_archive_then_it_is_not_unpacked(tmp_path: Path, far: PipeHost) -> None:
    unsent = small(tmp_path)
    unsent.base.mkdir()
    Path(f"{unsent.stage.top}.tar.gz").write_bytes(b"another")
    bring_up(unsent.stage, far)
    assert unsent.there(f"td/{CFG}").read_bytes() == b"crmod.cfg\n"


@pytest.mark.parametrize("what", ["file", "link", "archive is a directory", "base is a file"])
def test_bring_up_when_something_else_is_in_its_place_then_it_is_left_and_named(
    tmp_path: Path, far: PipeHost, what: str
) -> None:
    unsent = small(tmp_path)
    place = Path(unsent.stage.top)
    if what == "base is a file":
        place = unsent.base
    else:
        unsent.base.mkdir()
    if what == "archive is a directory":
        place = Path(f"{unsent.stage.top}.tar.gz")
        place.mkdir()
    elif what == "link":
        (tmp_path / "elsewhere").mkdir()
        place.symlink_to(tmp_path / "elsewhere")
    else:
        place.write_bytes(b"of somebody else")
    with pytest.raises(HostError) as caught:
        bring_up(unsent.stage, far)
    assert f"far: {place}" in caught.value.message
    assert not unsent.stage.has_arrived
    assert what != "link" or os.listdir(tmp_path / "elsewhere") == []
    if place.is_dir() and not place.is_symlink():
        place.rmdir()
    else:
        place.unlink()
    bring_up(unsent.stage, far)
    assert unsent.there(f"td/{CFG}").exists()


def test_bring_up_when_a_program_there_is_another_by_now_then_nothing_is_sent(
    tmp_path: Path, far: PipeHost, program: ProgramThere
) -> None:
    unsent = small(tmp_path, CRMod=program)
    Path(program.path).write_text("#!/bin/sh\n")
    went: list[int] = []
    with pytest.raises(ProgramMissing, match="sw/CRMod"):
        bring_up(unsent.stage, far, on_bytes=went.append)
    assert went == [] and not unsent.stage.has_arrived


def test_bring_up_when_the_items_here_are_gone_then_it_says_so(tmp_path: Path, far: PipeHost) -> None:
    unsent = small(tmp_path)
    os.unlink(unsent.stage.here.items)
    with pytest.raises(LedgerError):
        bring_up(unsent.stage, far)


def test_pilot_when_a_stage_has_arrived_then_it_finds_all_inputs_there(
    tmp_path: Path, far: PipeHost, program: ProgramThere
) -> None:
    """The frozen pilot in the stage, with the survey gone: what it reads is what was sent."""
    survey = tmp_path / "project/survey"
    name = "it's $(x)\n-1"
    files = {
        f"{name}/{CFG}": b"../../td1/exe/crmod.cfg ../../../meshes/grid.elm\n",
        "td1/exe/crmod.cfg": b"crmod.cfg\n",
        "../meshes/grid.elm": b"grid\n",
    }
    tomodirs = {
        name: [reading(CFG, "../td1/exe/crmod.cfg", "../../meshes/grid.elm", **RUN)],
        "td1": [reading(CFG, **RUN)],
    }
    unsent = make_unsent(survey, tomodirs, files, programs={"CRMod": program}, pilot=pilot_archive())
    stage = unsent.stage
    bring_up(stage, far)
    times = {place: (unsent.survey / place).stat().st_mtime_ns for place in files}
    for part in ("survey", "meshes"):
        shutil.move(tmp_path / "project" / part, tmp_path / f"gone {part}")
    done = subprocess.run(
        [sys.executable, "-I", "-S", stage.there.pilot, stage.there.directory, "--cores", "1"],
        cwd="/",
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    there = Batch(stage.there.directory)
    events = [event for token in list_sessions(there.paths) for event in read_events(there.paths, token)]
    done_events = [event for event in events if event["event"] == "done"]
    assert sorted(event["id"] for event in done_events) == [0, 1], events
    noted = {one[0]: one[2] for event in done_events if event["id"] == 0 for one in event["inputs"]}
    assert noted == {
        CFG: times[f"{name}/{CFG}"],
        "../td1/exe/crmod.cfg": times["td1/exe/crmod.cfg"],
        "../../meshes/grid.elm": times["../meshes/grid.elm"],
    }
