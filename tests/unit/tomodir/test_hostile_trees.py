"""Trees in which something else lies where a file should be, that nobody may read, or that change under the reader.

Each tomodir gets an error that names the file, the others are described, and nothing waits for a pipe.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from crh_batch.errors import DataError, TomodirError
from crh_batch.ledger import durable
from crh_batch.pilot.staging import find_outputs, stage_inputs
from crh_batch.plan.survey import examine
from crh_batch.tomodir.needs import describe
from crh_batch.tomodir.scan import find_tomodirs
from unit.wrong_things import KINDS, Make, huge

pytestmark = pytest.mark.timeout(60)
ANNA = 40001


FILES = ["exe/crtomo.cfg", "exe/crmod.cfg", "grid/elem.dat", "grid/elec.dat", "config/config.dat", "rho/rho.dat"]


@contextmanager
def as_user(number: int) -> Iterator[None]:
    """Be somebody who may not read everything; root may."""
    if os.geteuid() != 0:
        yield
        return
    os.seteuid(number)
    try:
        yield
    finally:
        os.seteuid(0)


def open_to_all(tree: Path) -> None:
    """Whatever the umask and pytest say."""
    for path in (tree, *tree.rglob("*")):
        path.chmod(0o755)


@pytest.mark.parametrize("name", [*FILES, "mod/volt.dat", "exe/crt.noisemod"])
@pytest.mark.parametrize("make", KINDS, ids=lambda make: make.__name__)
def test_describe_when_something_else_lies_there_then_it_is_named(tomodir: Path, name: str, make: Make) -> None:
    place = tomodir / name
    place.parent.mkdir(exist_ok=True)
    if place.exists():
        place.unlink()
    make(place)
    if make is huge and name in ("exe/crt.noisemod", "rho/rho.dat"):
        # Their ends are not looked at here.
        return
    with pytest.raises(TomodirError) as caught:
        describe(str(tomodir))
    assert name in caught.value.message or f"{place}" in str(caught.value)
    assert caught.value.next_step


@pytest.mark.parametrize("name", ["exe/error.dat", "exe/crh.json", "inv/inv.ctr"])
@pytest.mark.parametrize("make", KINDS, ids=lambda make: make.__name__)
def test_describe_when_an_output_is_something_else_then_it_tells_nothing(modelled: Path, name: str, make: Make) -> None:
    (modelled / "inv").mkdir()
    make(modelled / name)
    assert [stage.name.value for stage in describe(str(modelled)).stages] == ["inversion"]


def test_find_when_a_directory_may_not_be_read_then_it_is_named_and_the_others_found(
    tomodir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    shutil.copytree(tomodir, "closed/td")
    shutil.copytree(tomodir, "half")
    open_to_all(tmp_path)
    os.chmod("closed", 0)
    os.chmod("half/exe", 0)
    told: dict[str, str] = {}
    try:
        with as_user(ANNA):
            assert list(find_tomodirs(".", told.__setitem__)) == ["td"]
    finally:
        os.chmod("closed", 0o700)
        os.chmod("half/exe", 0o700)
    assert told == {"closed": "Permission denied", "half/exe": "Permission denied"}


def test_describe_when_a_file_may_not_be_read_then_it_is_named(
    tomodir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    open_to_all(tmp_path)
    os.chmod(tomodir / "grid" / "elem.dat", 0)
    with as_user(ANNA), pytest.raises(TomodirError, match=r"elem\.dat.*Permission denied"):
        describe("td")


def test_find_when_a_tree_is_deeper_than_paths_can_be_then_it_is_named_and_the_others_found(
    tomodir: Path, tmp_path: Path
) -> None:
    where = os.open(tmp_path, os.O_RDONLY)
    for _ in range(25):
        os.mkdir("x" * 200, dir_fd=where)
        deeper = os.open("x" * 200, os.O_RDONLY, dir_fd=where)
        os.close(where)
        where = deeper
    os.close(where)
    told: dict[str, str] = {}
    assert list(find_tomodirs(str(tmp_path), told.__setitem__)) == ["td"]
    ((path, why),) = told.items()
    assert why == "File name too long" and path.startswith("x" * 200)


def test_find_when_names_are_no_text_then_they_are_found_and_described(tomodir: Path, tmp_path: Path) -> None:
    for name in (b"\xff\xfe", b"a\nb", b"-rf", b"'; $(reboot)", "\u00e4\u202e".encode()):
        shutil.copytree(str(tomodir), os.path.join(os.fspath(tmp_path), os.fsdecode(name)))
    found = list(find_tomodirs(str(tmp_path)))
    assert len(found) == 6
    for one in found:
        assert describe(os.path.join(tmp_path, one)).stages


def test_survey_when_the_tree_changes_meanwhile_then_each_is_described_or_named(tomodir: Path, tmp_path: Path) -> None:
    root = tmp_path / "survey"
    for number in range(12):
        shutil.copytree(tomodir, root / f"td{number:02d}")
    still = {f"td{number:02d}" for number in range(0, 12, 2)}
    over = threading.Event()

    def change() -> None:
        """Rename, take away, cut and put back what lies in every second tomodir."""
        step = 0
        while not over.is_set():
            one = root / f"td{2 * (step % 6) + 1:02d}"
            away = root / f".away{one.name}"
            elem = one / "grid" / "elem.dat"
            content = elem.read_bytes()
            os.rename(one, away)
            os.rename(away, one)
            elem.write_bytes(content[: len(content) // 2])
            os.rename(one / "exe", one / "exe2")
            os.rename(one / "exe2", one / "exe")
            elem.unlink()
            elem.write_bytes(content)
            step += 1

    thread = threading.Thread(target=change)
    thread.start()
    try:
        for _ in range(40):
            found = examine([], str(root), most_threads=1)
            planned = {one.path for one in found.planned}
            assert still <= planned
            assert planned | {path.split("/")[0] for path, _ in found.problems} <= {f"td{n:02d}" for n in range(12)}
    finally:
        over.set()
        thread.join()


STAGE = {"inputs": ["exe/crtomo.cfg"], "make_dirs": ["inv"]}


@pytest.mark.parametrize("times", [1, 2])
def test_stage_when_an_input_changes_while_it_is_copied_then_it_is_copied_again(
    tomodir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, times: int
) -> None:
    place = tomodir / "exe" / "crtomo.cfg"
    write_all = durable.write_all
    more = iter([b"more"] * times)

    def write_and_change(descriptor: int, data: bytes) -> None:
        write_all(descriptor, data)
        with place.open("ab") as stream:
            stream.write(next(more, b""))

    monkeypatch.setattr(durable, "write_all", write_and_change)
    (staged,) = stage_inputs(str(tomodir), str(tmp_path / "copy"), (STAGE,))
    content = (tmp_path / "copy" / "exe" / "crtomo.cfg").read_bytes()
    assert content == place.read_bytes()
    assert (staged.size, staged.sha256) == (len(content), hashlib.sha256(content).hexdigest())


def test_stage_when_an_input_grows_without_end_then_it_is_given_up_and_named(
    tomodir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = tomodir / "exe" / "crtomo.cfg"
    write_all = durable.write_all

    def write_and_grow(descriptor: int, data: bytes) -> None:
        write_all(descriptor, data)
        with place.open("ab") as stream:
            stream.write(b"more and more\n")

    monkeypatch.setattr(durable, "write_all", write_and_grow)
    with pytest.raises(DataError, match=r"crtomo\.cfg: is being written"):
        stage_inputs(str(tomodir), str(tmp_path / "copy"), (STAGE,))
    assert (tmp_path / "copy" / "exe" / "crtomo.cfg").stat().st_size < place.stat().st_size


def test_find_outputs_when_an_input_is_named_by_way_of_outside_then_it_is_no_output(
    modelled: Path, tmp_path: Path
) -> None:
    stage = {"inputs": ["../td/mod/volt.dat"], "make_dirs": ["mod"]}
    copy = tmp_path / "scratch" / "td"
    staged = stage_inputs(str(modelled), str(copy), (stage,))
    (copy / "mod" / "new").touch()
    assert find_outputs(str(copy), staged) == (["mod/new"], [])
