"""Programs of a cluster are taken where there are any; this machine's go there once, and only if they can run there."""

from __future__ import annotations

import hashlib
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from crh_batch.errors import ProgramMissing
from crh_batch.mirror.programs import ProgramThere, find_programs_there, make_sure
from crh_batch.profile import Profile
from unit.hosts.pipe_host import PipeHost

# A program that the kernel loads, whatever it does.
ELF = shutil.which("true") or ""
LIBRARY = "\tlibgfortran.so.5 => not found\n\tlibc.so.6 => /lib/libc.so.6 (0x7f)\n"
VERSION = "/x/CRMod: /lib/libc.so.6: version `GLIBC_2.38' not found (required by /x/CRMod)\n"


class Far:
    """A cluster with programs of its own, and a machine here with one CRMod."""

    def __init__(self, directory: Path) -> None:
        self.bins = [directory / "far/bin1", directory / "far/bin2"]
        self.home = directory / "far/home"
        self.base = directory / "far/stages"
        for place in (*self.bins, self.home):
            place.mkdir(parents=True)
        # Nothing of this checkout is on it: tests here remove and overwrite what is found.
        path = ":".join([*map(str, self.bins), "/usr/bin", "/bin"])
        self.host = PipeHost(env={**os.environ, "PATH": path, "HOME": str(self.home)})
        self.here = directory / "CRMod"
        shutil.copy(ELF, self.here)
        self.said: list[str] = []

    def find(self, **profile: Any) -> ProgramThere:
        found = find_programs_there(
            self.host, ["CRMod"], Profile(**profile), str(self.base), find_here=self.find_here, say=self.said.append
        )
        return found["CRMod"]

    def sent(self) -> ProgramThere:
        """Find what has to be sent, which alone may be damaged."""
        found = self.find()
        assert found.path == f"{self.base}/programs/{sum_of(self.here)}/CRMod"
        return found

    def find_here(self, name: str) -> str:
        if not self.here.exists():
            raise ProgramMissing(f"{name}: not found", "", name)
        return str(self.here)

    def has(self, bin_number: int, name: str, content: bytes = b"") -> Path:
        """Have a program on PATH there."""
        path = self.bins[bin_number] / name
        path.write_bytes(content or Path(ELF).read_bytes())
        path.chmod(0o755)
        return path

    def ldd_says(self, text: str, stream: int = 1) -> None:
        said = self.home / "ldd says"
        said.write_text(text)
        self.has(0, "ldd", f"#!/bin/sh\ncat '{said}' >&{stream}\nexit 1\n".encode())


@pytest.fixture
def far(tmp_path: Path) -> Iterator[Far]:
    made = Far(tmp_path)
    yield made
    made.host.close()


def sum_of(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def test_find_when_it_is_on_path_there_then_that_is_taken_and_nothing_sent(far: Far) -> None:
    path = far.has(0, "CRMod")
    assert far.find() == ProgramThere(str(path), sum_of(path), f"far:{path}")
    assert not far.base.exists() and far.said == []


def test_find_when_a_launcher_comes_first_then_the_program_behind_it_is_taken(far: Far) -> None:
    """A launcher drops the program's exit status."""
    far.has(0, "CRMod", b"#!/bin/sh\nexec true\n")
    behind = far.has(1, "CRMod")
    assert far.find().path == str(behind)


@pytest.mark.parametrize("has_launcher", [False, True])
def test_find_when_there_is_none_there_then_this_machines_is_sent_once(far: Far, has_launcher: bool) -> None:
    if has_launcher:
        far.has(0, "CRMod", b"#!/bin/sh\n")
    found = far.find()
    assert found == ProgramThere(f"{far.base}/programs/{sum_of(far.here)}/CRMod", sum_of(far.here), str(far.here))
    assert Path(found.path).read_bytes() == far.here.read_bytes()
    assert len(far.said) == 1 and "this machine's was sent" in far.said[0]
    before = far.host.went
    assert far.find() == found
    assert far.host.went - before < 5000 < far.here.stat().st_size
    assert len(far.said) == 1


def test_find_when_the_copy_there_was_damaged_then_it_is_sent_again(far: Far) -> None:
    copy = Path(far.sent().path)
    copy.write_bytes(b"\0" * copy.stat().st_size)
    far.find()
    assert copy.read_bytes() == far.here.read_bytes()


@pytest.mark.parametrize("written", ["~/my sw/CRMod", "my sw/CRMod", "/my sw/CRMod"])
def test_find_when_the_profile_names_one_then_it_is_that_one_of_the_cluster(far: Far, written: str) -> None:
    path = far.home / "my sw/CRMod"
    path.parent.mkdir()
    shutil.copy(ELF, path)
    assert far.find(crmod=written.replace("/my", f"{far.home}/my") if written[0] == "/" else written).path == str(path)


@pytest.mark.parametrize("mode", [None, 0o644])
def test_find_when_the_profiles_is_none_then_it_says_which_and_where(far: Far, mode: int | None) -> None:
    if mode is not None:
        (far.home / "CRMod").write_bytes(b"")
        (far.home / "CRMod").chmod(mode)
    with pytest.raises(ProgramMissing) as caught:
        far.find(crmod="~/CRMod")
    assert f"{far.home}/CRMod" in caught.value.message and "far" in caught.value.message


def test_find_when_it_is_in_a_container_then_nobody_looks_for_it(far: Far) -> None:
    found = far.find(crmod="/opt/CRMod", container="apptainer exec x.sif")
    assert found == ProgramThere("/opt/CRMod", "", "/opt/CRMod")


def test_find_when_there_is_none_anywhere_then_it_says_both(far: Far) -> None:
    far.here.unlink()
    with pytest.raises(ProgramMissing, match="neither on far nor here"):
        far.find()


@pytest.mark.parametrize(
    ("text", "stream", "lacking"),
    [(LIBRARY, 1, "libgfortran.so.5"), (VERSION, 1, "GLIBC_2.38"), (VERSION, 2, "GLIBC_2.38")],
)
def test_find_when_the_sent_one_lacks_libraries_there_then_they_are_named(
    far: Far, text: str, stream: int, lacking: str
) -> None:
    far.ldd_says(text, stream)
    with pytest.raises(ProgramMissing) as caught:
        far.find()
    assert caught.value.message.endswith(f" it lacks {lacking}")
    # Inside a container there are others.
    assert far.find(container="apptainer exec x.sif").sha256


def test_find_when_the_cluster_is_another_machine_then_nothing_is_sent(
    far: Far, monkeypatch: pytest.MonkeyPatch
) -> None:
    facts = {**far.host.facts(), "machine": "ppc64le"}
    monkeypatch.setattr(far.host, "facts", lambda: facts)
    with pytest.raises(ProgramMissing, match="not ppc64le"):
        far.find()
    assert not far.base.exists()


@pytest.mark.parametrize(
    ("version", "setup", "is_said"),
    [("3.6.8", [], True), ("3.9.0", [], False), ("3.14.0rc1", [], False), ("3.6.8", ["module load python"], False)],
)
def test_find_when_python_there_is_old_then_it_is_said_unless_another_is_loaded(
    far: Far, version: str, setup: list[str], is_said: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    far.has(0, "CRMod")
    facts = {**far.host.facts(), "python": version}
    monkeypatch.setattr(far.host, "facts", lambda: facts)
    far.find(setup=tuple(setup))
    assert [version in line for line in far.said] == ([True] if is_said else [])


def test_make_sure_when_the_sent_one_was_removed_then_it_is_sent_again(far: Far) -> None:
    found = far.sent()
    copy = Path(found.path)
    copy.unlink()
    copy.parent.rmdir()
    make_sure(far.host, "CRMod", found)
    assert Path(found.path).read_bytes() == far.here.read_bytes()


@pytest.mark.parametrize("change", ["there", "here and there"])
def test_make_sure_when_it_is_another_one_then_it_is_said(far: Far, change: str) -> None:
    found = far.sent() if change == "here and there" else ProgramThere(*_of_the_cluster(far))
    Path(found.path).write_bytes(b"another")
    far.here.write_bytes(b"newer")
    with pytest.raises(ProgramMissing) as caught:
        make_sure(far.host, "CRMod", found)
    assert found.path in caught.value.message


def _of_the_cluster(far: Far) -> tuple[str, str, str]:
    path = far.has(0, "CRMod")
    return str(path), sum_of(path), f"far:{path}"
