from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crh_batch.tomodir.outcome import Progress, read_progress


@pytest.fixture
def inv_ctr(finished: Path) -> Path:
    return finished / "inv" / "inv.ctr"


def test_progress_when_finished_then_everything_is_known(inv_ctr: Path) -> None:
    assert read_progress(str(inv_ctr)) == Progress(
        iteration=1,
        rms=5.545,
        wavenumbers=7,
        parameters=4,
        data=3,
        finished=True,
        version="master cb89ccd2c4341b9b08bbe7bb08f5aea0d60916ee",
    )


def test_progress_when_cut_at_any_byte_then_no_half_number_is_taken(inv_ctr: Path) -> None:
    """CRTomo writes the file while it is read."""
    whole = inv_ctr.read_bytes()
    seen = set()
    for kept in range(len(whole)):
        inv_ctr.write_bytes(whole[:kept])
        found = read_progress(str(inv_ctr))
        seen.add((found.iteration, found.rms))
        assert found.wavenumbers in (None, 7)
        assert found.parameters in (None, 4)
    assert seen == {(None, None), (0, 119.5), (1, 5.545)}


@pytest.mark.parametrize("data", [b"", b"\0" * 100, b"\xe4\xf6\xfc\n", b"IT\n", b" IT  x  1.0\n", b"\n" * 50])
def test_progress_when_file_says_nothing_then_nothing_is_known(inv_ctr: Path, data: bytes) -> None:
    inv_ctr.write_bytes(data)
    assert read_progress(str(inv_ctr)) == Progress()


def test_progress_when_file_is_missing_or_none_then_nothing_is_known(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo")
    for name in ("none", "fifo", "", "nul\0"):
        assert read_progress(os.path.join(tmp_path, name)) == Progress()


def test_progress_when_text_is_latin_1_then_the_rest_is_read(inv_ctr: Path) -> None:
    inv_ctr.write_bytes(b"## OS \xe4\xf6\n" + inv_ctr.read_bytes())
    assert read_progress(str(inv_ctr)).iteration == 1


@pytest.mark.parametrize(
    ("line", "iteration", "rms"),
    [
        ("IT   3    0.9804      0.8175E-01", 3, 0.9804),
        ("PIT   7   1.234", 7, 1.234),
        (" IT   3      NaN", 3, None),
        (" IT   3 **********", 3, None),
        (" IT   3    0.1041E+05", 3, 10410.0),
        (" IT   3 Infinity", 3, None),
        (" UP   3    0.98", 1, 5.545),
        (" PUP   3    0.98", 1, 5.545),
        (" ID it.   data RMS    stepsize", 1, 5.545),
    ],
)
def test_progress_when_a_line_is_added_then_only_iterations_count(
    inv_ctr: Path, line: str, iteration: int, rms: float | None
) -> None:
    with inv_ctr.open("a") as file:
        file.write(line + "\n")
    found = read_progress(str(inv_ctr))
    assert (found.iteration, found.rms) == (iteration, rms)
    assert not found.finished


def test_progress_when_file_is_long_then_its_ends_are_enough(inv_ctr: Path) -> None:
    head = inv_ctr.read_bytes().partition(b"***FIXED***")[0]
    step = b" UP   1    5.815       112.       220.0       11.22           8\n"
    inv_ctr.write_bytes(head + step * 100_000 + b" IT  42    1.01\n" + step * 100 + b"***finished***\n")
    found = read_progress(str(inv_ctr))
    assert (found.iteration, found.rms, found.parameters, found.finished) == (42, 1.01, 4, True)


@given(st.binary(max_size=400) | st.text("IT PU0123456789.\n#*", max_size=400).map(str.encode))
def test_progress_when_file_is_anything_then_nothing_is_raised(
    tmp_path_factory: pytest.TempPathFactory, data: bytes
) -> None:
    path = tmp_path_factory.getbasetemp() / "any.inv.ctr"
    path.write_bytes(data)
    found = read_progress(str(path))
    assert found.rms is None or found.iteration is not None
