"""CRMod and CRTomo: where they are found, and how they and the pilot are frozen in a batch."""

from __future__ import annotations

import hashlib
import os
import re
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from crh_batch.engines import programs
from crh_batch.engines.programs import find_program, freeze_pilot, freeze_programs, pilot_archive
from crh_batch.errors import ProgramMissing
from crh_batch.ledger.paths import BatchPaths
from crh_batch.profile import Profile
from unit.ledger.making import make_batch

# As pip writes the launchers of crtomo-bin-wrapper.
LAUNCHER = b"#!/usr/bin/python3\nfrom crtomo_bin_wrapper import crtomo\ncrtomo()\n"
BINARY = b"\x7fELF and so on"


def make_program(path: Path, content: bytes = BINARY, *, mode: int = 0o755) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    path.chmod(mode)
    return path


@pytest.fixture
def path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The only directory on PATH; the package isn't installed."""
    directory = tmp_path / "env" / "bin"
    directory.mkdir(parents=True)
    monkeypatch.setenv("PATH", str(directory))
    monkeypatch.setattr(programs, "_PACKAGE", "no_such_package")
    return directory


def test_find_program_when_the_profile_names_it_then_that_one(
    path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mine = make_program(tmp_path / "mine" / "CRTomo")
    make_program(path / "CRTomo")
    assert find_program("CRTomo", Profile(crtomo=str(mine))) == str(mine)
    monkeypatch.setenv("HOME", str(tmp_path))
    assert find_program("CRTomo", Profile(crtomo="~/mine/CRTomo")) == str(mine)
    assert find_program("CRTomo", Profile(crmod=str(mine))) == str(path / "CRTomo")


def test_find_program_when_it_is_on_path_then_that_one(path: Path) -> None:
    made = make_program(path / "CRMod")
    assert find_program("CRMod", Profile()) == str(made)


def test_find_program_when_a_launcher_is_on_path_then_the_program_behind_it(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The launcher starts it through a shell and drops its exit status (seen)."""
    monkeypatch.setattr(programs, "_PACKAGE", "crtomo_bin_wrapper")
    make_program(path / "CRTomo", LAUNCHER)
    binaries = path.parent / "lib" / "python3.11" / "site-packages" / "crtomo_bin_wrapper" / "binaries"
    behind = make_program(binaries / "CRTomo_stable")
    make_program(binaries / "CRMod_stable")
    assert find_program("CRTomo", Profile()) == str(behind)


def test_find_program_when_a_launcher_is_linked_to_then_the_program_behind_it(
    path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(programs, "_PACKAGE", "crtomo_bin_wrapper")
    other = tmp_path / "other env [1]"
    launcher = make_program(other / "bin" / "CRMod", LAUNCHER)
    behind = make_program(
        other / "lib" / "python3.9" / "site-packages" / "crtomo_bin_wrapper" / "binaries" / "CRMod_stable"
    )
    (path / "CRMod").symlink_to(launcher)
    assert find_program("CRMod", Profile()) == str(behind)


def test_find_program_when_a_script_is_no_launcher_of_the_package_then_the_script(path: Path) -> None:
    """A site's wrapper that loads libraries first."""
    script = make_program(path / "CRTomo", b'#!/bin/sh\nexec /opt/CRTomo "$@"\n')
    assert find_program("CRTomo", Profile()) == str(script)


def test_find_program_when_only_the_package_is_installed_then_its_program(
    path: Path, programs_of_the_package: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(programs, "_PACKAGE", "crtomo_bin_wrapper")
    assert find_program("CRMod", Profile()) == str(programs_of_the_package / "CRMod_stable")
    assert find_program("CRTomo", Profile()) == str(programs_of_the_package / "CRTomo_stable")


@pytest.fixture
def programs_of_the_package(programs: Path) -> Path:
    """tests/conftest.py finds them, or skips."""
    return programs


@pytest.mark.parametrize("name", ["CRMod", "CRTomo"])
def test_find_program_when_it_is_nowhere_then_it_says_how_to_get_it(path: Path, name: str) -> None:
    with pytest.raises(ProgramMissing, match=f"{name}: not found") as caught:
        find_program(name, Profile())
    assert caught.value.program == name
    assert caught.value.exit_code == 3
    assert "crtomo-bin-wrapper" in caught.value.next_step


def test_find_program_when_the_named_one_cannot_be_executed_then_it_says_so(path: Path, tmp_path: Path) -> None:
    plain = make_program(tmp_path / "CRMod", mode=0o644)
    for wrong in (str(plain), str(tmp_path), str(tmp_path / "missing")):
        with pytest.raises(ProgramMissing, match="can be executed") as caught:
            find_program("CRMod", Profile(crmod=wrong))
        assert wrong in caught.value.message


def test_freeze_programs_when_copied_then_named_by_their_sums_and_executable(tmp_path: Path) -> None:
    batch = make_batch(tmp_path, 1)
    source = make_program(tmp_path / "somewhere" / "CRMod", b"abc")
    # sha256sum of "abc".
    sha256 = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    assert freeze_programs(batch.paths, {"CRMod": str(source)}) == {
        "CRMod": {"file": "CRMod-ba7816bf8f01", "sha256": sha256, "source": str(source)}
    }
    frozen = Path(batch.paths.programs, "CRMod-ba7816bf8f01")
    assert frozen.read_bytes() == b"abc"
    assert os.access(frozen, os.X_OK)
    source.write_bytes(b"another version")
    assert frozen.read_bytes() == b"abc"


def test_freeze_pilot_when_done_then_the_archive_lies_there_with_this_python_beside_it(tmp_path: Path) -> None:
    batch = make_batch(tmp_path, 1)
    sha256 = freeze_pilot(batch.paths)
    content = Path(batch.paths.pilot).read_bytes()
    assert hashlib.sha256(content).hexdigest() == sha256
    assert content.startswith(b"#!/usr/bin/env python3\n")
    assert os.path.samefile(os.path.join(batch.paths.programs, "python"), sys.executable)


def test_pilot_archive_when_made_twice_then_the_same_bytes(monkeypatch: pytest.MonkeyPatch) -> None:
    first = pilot_archive()
    monkeypatch.setattr("time.time", lambda: 0.0)
    assert pilot_archive() == first


# bpo-37596: until 3.11 the byte code of sets depends on the process.
@pytest.mark.skipif(sys.version_info < (3, 11), reason="this Python writes sets in any order")
def test_pilot_archive_when_made_by_another_process_then_the_same_bytes(tmp_path: Path) -> None:
    """Sets have another order there."""
    code = "import sys; from crh_batch.engines.programs import pilot_archive; sys.stdout.buffer.write(pilot_archive())"
    environment = {**os.environ, "PYTHONHASHSEED": "123", "PYTHONDONTWRITEBYTECODE": "1"}
    done = subprocess.run([sys.executable, "-c", code], env=environment, cwd=tmp_path, capture_output=True, check=True)
    assert done.stdout == pilot_archive()


def test_pilot_archive_when_listed_then_only_what_travels(tmp_path: Path) -> None:
    (tmp_path / "pilot.pyz").write_bytes(pilot_archive())
    with zipfile.ZipFile(tmp_path / "pilot.pyz") as archive:
        names = set(archive.namelist())
        assert archive.testzip() is None
    assert {"__main__.py", "crh_batch/__init__.py", "crh_batch/errors.py", "crh_batch/pilot/main.py"} <= names
    parts = {name.split("/")[1].partition(".")[0] for name in names if name.startswith("crh_batch/")}
    assert parts == {"__init__", "errors", "tomodir", "ledger", "pilot"}
    sources = {name for name in names if name.endswith(".py") and name != "__main__.py"}
    assert {name + "c" for name in sources} == names - sources - {"__main__.py"}, "byte code for each"


def test_pilot_archive_when_it_runs_alone_then_it_imports_only_the_standard_library(tmp_path: Path) -> None:
    (tmp_path / "pilot.pyz").write_bytes(pilot_archive())
    done = subprocess.run(
        [sys.executable, "-I", "-S", "-X", "importtime", "pilot.pyz", "--help"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "--submission" in done.stdout
    imported = re.findall(r"^import time:[\d\s|]+(\S+)$", done.stderr, re.MULTILINE)
    assert "crh_batch.pilot.loop" in imported
    first = {name.split(".")[0] for name in imported}
    # The standard library's pickle asks whether this is Jython.
    assert first - {"org"} <= {*sys.stdlib_module_names, "crh_batch"}
    assert not {name for name in imported if name.startswith(("crh_batch.engines", "crh_batch.cli", "crh_batch.plan"))}


def test_find_program_when_it_lies_inside_a_container_then_it_is_not_looked_for_here(path: Path) -> None:
    profile = Profile(container="apptainer exec x.sif", crtomo="/opt/crtomo/CRTomo", crmod="~/mine/CRMod")
    assert find_program("CRTomo", profile) == "/opt/crtomo/CRTomo"
    with pytest.raises(ProgramMissing, match="not a file that can be executed"):
        find_program("CRMod", profile)
    with pytest.raises(ProgramMissing, match="not a file that can be executed"):
        find_program("CRTomo", Profile(crtomo="/opt/crtomo/CRTomo"))


def test_freeze_programs_when_one_lies_inside_a_container_then_its_path_alone_is_kept(tmp_path: Path) -> None:
    paths = BatchPaths(str(tmp_path))
    os.makedirs(paths.programs)
    outside = tmp_path / "CRMod"
    outside.write_bytes(b"program")
    frozen = freeze_programs(paths, {"CRMod": str(outside), "CRTomo": "/opt/CRTomo"}, {"CRMod": False, "CRTomo": True})
    assert frozen["CRTomo"] == {"path": "/opt/CRTomo", "sha256": "", "source": "/opt/CRTomo"}
    assert os.listdir(paths.programs) == [frozen["CRMod"]["file"]]
