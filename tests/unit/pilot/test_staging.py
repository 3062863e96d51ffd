"""Private directories: inputs in, old outputs out, and nothing written anywhere else."""

from __future__ import annotations

import errno
import hashlib
import os
import resource
import signal
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from crh_batch.errors import DataError, OutsideReference, TomodirError
from crh_batch.ledger import durable
from crh_batch.pilot.staging import StagedInput, find_outputs, place_in_scratch, stage_inputs
from unit.ledger.making import failing, files_in, write_files

FILES = {"exe/crtomo.cfg": b"cfg\n", "grid/elem.dat": b"elem\n", "mod/volt.dat": b"volt\n"}
OLD_OUTPUTS = {"inv/inv.ctr": b"***finished***\n", "exe/error.dat": b"old\n", "exe/crtomo.pid": b"1\n"}


def stage(*inputs: str, make_dirs: tuple[str, ...] = ("exe", "inv")) -> dict[str, Any]:
    return {"stage": "inversion", "inputs": list(inputs), "make_dirs": list(make_dirs)}


@pytest.fixture
def tomodir(tmp_path: Path) -> Path:
    return write_files(tmp_path / "survey" / "td0", {**FILES, **OLD_OUTPUTS})


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    directory = tmp_path / "scratch" / "000000.001" / "td0"
    directory.mkdir(parents=True)
    return directory


@contextmanager
def no_file_larger_than(size: int) -> Iterator[None]:
    """A real write(2) that is cut short, as when the disk is full: the limit counts for this process's files."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    old = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        signal.signal(signal.SIGXFSZ, old)


@pytest.mark.parametrize(
    ("tomodir", "inputs", "expected"),
    [
        ("/s/line1/td07", ["exe/crtomo.cfg", "grid/elem.dat"], "/scratch/a/td07"),
        ("/s/line1/td07", ["../time0/inv/rho05.mag"], "/scratch/a/line1/td07"),
        ("/s/line1/td07", ["../../time0/inv/rho05.mag", "../x"], "/scratch/a/s/line1/td07"),
        ("/s/line1/td07", [], "/scratch/a/td07"),
        ("/s/line1/td07/", ["../x"], "/scratch/a/line1/td07"),
        # A file that begins with two dots does not climb.
        ("/s/line1/td07", ["..hidden/x"], "/scratch/a/td07"),
    ],
)
def test_place_in_scratch_when_references_climb_then_the_copy_lies_as_deep_as_they_climb(
    tomodir: str, inputs: list[str], expected: str
) -> None:
    place = place_in_scratch("/scratch/a", tomodir, inputs)
    assert place == expected
    for name in inputs:
        assert os.path.normpath(os.path.join(place, name)).startswith("/scratch/a/")


def test_place_in_scratch_when_a_reference_climbs_out_of_the_root_then_it_is_refused() -> None:
    with pytest.raises(OutsideReference) as caught:
        place_in_scratch("/scratch/a", "/s/td07", ["../../../etc/passwd"])
    assert caught.value.path == "/s/td07"


def test_stage_inputs_when_they_are_there_then_they_are_copied_with_time_and_sum(tomodir: Path, copy: Path) -> None:
    os.utime(tomodir / "grid/elem.dat", ns=(5, 1_700_000_000_123_456_789))
    staged = stage_inputs(str(tomodir), str(copy), (stage(*FILES),))
    assert files_in(copy) == FILES, "old outputs are not among them, so they can't lie"
    assert (copy / "inv").is_dir()
    assert [one.name for one in staged] == ["exe/crtomo.cfg", "grid/elem.dat", "mod/volt.dat"]
    assert staged[1] == StagedInput(
        "grid/elem.dat", 5, 1_700_000_000_123_456_789, hashlib.sha256(b"elem\n").hexdigest()
    )
    assert staged[1].to_json() == [
        "grid/elem.dat",
        5,
        1_700_000_000_123_456_789,
        hashlib.sha256(b"elem\n").hexdigest(),
    ]


def test_stage_inputs_when_two_stages_read_one_file_then_it_is_copied_once(tomodir: Path, copy: Path) -> None:
    staged = stage_inputs(str(tomodir), str(copy), (stage("grid/elem.dat"), stage("grid/elem.dat", "exe/crtomo.cfg")))
    assert [one.name for one in staged] == ["exe/crtomo.cfg", "grid/elem.dat"]


def test_stage_inputs_when_a_reference_climbs_then_it_lies_at_the_same_relative_place_inside(
    tomodir: Path, tmp_path: Path
) -> None:
    write_files(tomodir.parent / "time0", {"inv/rho05.mag": b"5\n"})
    scratch = tmp_path / "scratch"
    names = ["exe/crtomo.cfg", "../time0/inv/rho05.mag"]
    place = Path(place_in_scratch(str(scratch), str(tomodir), names))
    place.mkdir(parents=True)
    staged = stage_inputs(str(tomodir), str(place), (stage(*names),))
    assert [one.name for one in staged] == ["../time0/inv/rho05.mag", "exe/crtomo.cfg"]
    assert files_in(scratch) == {"survey/td0/exe/crtomo.cfg": b"cfg\n", "survey/time0/inv/rho05.mag": b"5\n"}


def test_stage_inputs_when_a_path_is_absolute_then_it_is_read_where_it_lies(tomodir: Path, copy: Path) -> None:
    staged = stage_inputs(str(tomodir), str(copy), (stage("exe/crtomo.cfg", "/data/elem.dat"),))
    assert [one.name for one in staged] == ["exe/crtomo.cfg"]


def test_stage_inputs_when_an_input_is_a_link_to_a_file_then_its_content_is_copied(tomodir: Path, copy: Path) -> None:
    (tomodir / "grid/elem.dat").rename(tomodir / "shared.dat")
    (tomodir / "grid/elem.dat").symlink_to("../shared.dat")
    stage_inputs(str(tomodir), str(copy), (stage(*FILES),))
    assert not (copy / "grid/elem.dat").is_symlink()
    assert (copy / "grid/elem.dat").read_bytes() == b"elem\n"


def _missing(path: Path) -> None:
    path.unlink()


def _fifo(path: Path) -> None:
    path.unlink()
    os.mkfifo(path)


def _directory(path: Path) -> None:
    path.unlink()
    path.mkdir()


def _socket(path: Path) -> None:
    path.unlink()
    here = os.getcwd()
    # The name of a socket must be short.
    os.chdir(path.parent)
    try:
        with socket.socket(socket.AF_UNIX) as made:
            made.bind(path.name)
    finally:
        os.chdir(here)


def _loop(path: Path) -> None:
    path.unlink()
    path.symlink_to(path.name)


def _file_above(path: Path) -> None:
    path.unlink()
    path.parent.rmdir()
    path.parent.write_bytes(b"")


def _link_to_nowhere(path: Path) -> None:
    path.unlink()
    path.symlink_to("nowhere")


@pytest.mark.timeout(20)
@pytest.mark.parametrize("spoil", [_missing, _fifo, _directory, _socket, _loop, _file_above, _link_to_nowhere])
def test_stage_inputs_when_an_input_is_no_file_any_more_then_it_is_the_tomodirs_fault(
    tomodir: Path, copy: Path, spoil: Any
) -> None:
    """Another error would be taken for the node's, and one bad tomodir would stop every pilot (cr_hydra's error 8)."""
    spoil(tomodir / "grid/elem.dat")
    with pytest.raises(TomodirError, match=r"grid/elem\.dat") as caught:
        stage_inputs(str(tomodir), str(copy), (stage(*FILES),))
    assert caught.value.path == str(tomodir)


@pytest.mark.parametrize("spoil", [_missing, _link_to_nowhere])
def test_stage_inputs_when_an_input_is_gone_then_it_says_so(tomodir: Path, copy: Path, spoil: Any) -> None:
    spoil(tomodir / "mod/volt.dat")
    with pytest.raises(DataError, match="is gone"):
        stage_inputs(str(tomodir), str(copy), (stage(*FILES),))


def test_stage_inputs_when_scratch_cannot_be_written_then_it_is_not_the_tomodirs_fault(
    tomodir: Path, copy: Path
) -> None:
    write_files(copy, {"grid": b"in the way"})
    with pytest.raises(OSError):
        stage_inputs(str(tomodir), str(copy), (stage("grid/elem.dat"),))


@pytest.mark.parametrize("number", [errno.EIO, errno.ESTALE, errno.EMFILE])
def test_stage_inputs_when_the_filesystem_fails_then_it_is_not_the_tomodirs_fault(
    tomodir: Path, copy: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    """It would count as a fault of the input, which is final."""
    with monkeypatch.context() as patch, pytest.raises(OSError) as caught:
        patch.setattr("crh_batch.pilot.staging.os.open", failing(number))
        stage_inputs(str(tomodir), str(copy), (stage("grid/elem.dat"),))
    assert caught.value.errno == number


def test_stage_inputs_when_scratch_is_full_then_no_input_is_cut_short_unnoticed(tomodir: Path, copy: Path) -> None:
    """write(2) writes what still fits and reports no error; a program must not run on half an input."""
    (tomodir / "mod/volt.dat").write_bytes(b"x" * 5000)
    with pytest.raises(OSError) as caught, no_file_larger_than(3000):
        stage_inputs(str(tomodir), str(copy), (stage("mod/volt.dat"),))
    assert caught.value.errno == errno.EFBIG


@pytest.mark.parametrize("changes", [1, 100])
def test_stage_inputs_when_one_changes_while_it_is_copied_then_it_is_never_a_mixture(
    tomodir: Path, copy: Path, monkeypatch: pytest.MonkeyPatch, changes: int
) -> None:
    """Somebody else writes it between two reads: once, or as often as it is looked at."""
    place, size = tomodir / "mod/volt.dat", 3 << 20
    written: list[int] = []
    place.write_bytes(b"0" * size)

    def write_all(descriptor: int, data: bytes, real: Callable[[int, bytes], None] = durable.write_all) -> None:
        real(descriptor, data)
        if len(written) < changes:
            written.append(len(written) + 1)
            place.write_bytes(b"%d" % (written[-1] % 10) * size)
            os.utime(place, ns=(0, written[-1]))

    monkeypatch.setattr(durable, "write_all", write_all)
    if changes > 1:
        with pytest.raises(DataError, match="is being written"):
            stage_inputs(str(tomodir), str(copy), (stage("mod/volt.dat"),))
    else:
        (staged,) = stage_inputs(str(tomodir), str(copy), (stage("mod/volt.dat"),))
        assert (copy / "mod/volt.dat").read_bytes() == b"1" * size
        assert staged.sha256 == hashlib.sha256(b"1" * size).hexdigest()


def test_find_outputs_when_programs_wrote_files_then_they_are_found_and_inputs_and_pids_left_out(
    tomodir: Path, copy: Path
) -> None:
    staged = stage_inputs(str(tomodir), str(copy), (stage(*FILES, make_dirs=("exe", "inv", "mod/pot")),))
    made = {"inv/inv.ctr": b"new\n", "mod/pot/pot01.dat": b"1\n", "exe/inv.lastmod": b"x", "exe/crtomo.pid": b"17\n"}
    write_files(copy, made)
    assert find_outputs(str(copy), staged) == (["exe/inv.lastmod", "inv/inv.ctr", "mod/pot/pot01.dat"], [])


def test_find_outputs_when_an_input_was_changed_then_it_is_named_and_is_no_output(tomodir: Path, copy: Path) -> None:
    """CRTomo rewrites crt.lamnull, which is the user's."""
    write_files(tomodir, {"exe/crt.lamnull": b"1.0\n"})
    staged = stage_inputs(str(tomodir), str(copy), (stage(*FILES, "exe/crt.lamnull"),))
    (copy / "exe/crt.lamnull").write_bytes(b"2.0\n")
    (copy / "mod/volt.dat").write_bytes(b"longer\n")
    # Written again with the same content: nothing has changed.
    (copy / "grid/elem.dat").write_bytes(b"elem\n")
    assert find_outputs(str(copy), staged) == ([], ["exe/crt.lamnull", "mod/volt.dat"])


def test_find_outputs_when_programs_made_links_and_pipes_then_they_are_left_out(
    tomodir: Path, copy: Path, tmp_path: Path
) -> None:
    staged = stage_inputs(str(tomodir), str(copy), (stage(*FILES),))
    outside = write_files(tmp_path / "outside", {"secret": b"1"})
    (copy / "inv/link").symlink_to(outside / "secret")
    (copy / "inv/directory").symlink_to(outside)
    os.mkfifo(copy / "inv/pipe")
    assert find_outputs(str(copy), staged) == ([], [])
