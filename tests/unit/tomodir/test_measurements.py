from __future__ import annotations

from pathlib import Path

import pytest

from crh_batch.errors import DataError
from crh_batch.tomodir.fourier import wavenumbers
from crh_batch.tomodir.measurements import read_measurements, volt_is_complete

CRMOD_LINES = [
    "       10002       30004   1.25000000      0.000000000E+00",
    "       20003       40005   1.25000000      0.000000000E+00",
    "       10002       40005  0.250000000      0.000000000E+00",
]


def write(path: Path, *lines: str, end: str = "\n") -> str:
    path.write_bytes(("\n".join(lines) + end).encode())
    return str(path)


@pytest.fixture
def volt(tmp_path: Path) -> Path:
    return tmp_path / "volt.dat"


def test_volt_when_whole_then_count_and_electrodes_are_read(volt: Path) -> None:
    found = read_measurements(write(volt, "           3", *CRMOD_LINES))
    assert (found.count, found.complete, found.problem) == (3, True, "")
    assert not found.individual_errors
    assert found.largest_electrode == 5
    assert found.pairs == {(1, 3), (1, 4), (2, 3), (2, 4), (2, 5), (3, 4), (3, 5), (1, 5)}


def test_electrodes_when_in_four_columns_then_they_are_read_the_same(volt: Path, tmp_path: Path) -> None:
    packed = read_measurements(write(volt, "2", "10002 30004 1 0", "20003 40005 1 0"))
    four = read_measurements(write(tmp_path / "four", "2", "1 2 3 4 1 0", "2 3 4 5 1 0"))
    assert four == packed


def test_first_number_when_10000_then_it_holds_two_electrodes(volt: Path) -> None:
    """Seen with CRMod_stable: 10000 is electrode 1 and infinity, 9999 one of four columns."""
    found = read_measurements(write(volt, "2", "10000 30004", "10002 30004"))
    assert found.pairs == {(1, 3), (1, 4), (2, 3), (2, 4)}
    assert read_measurements(write(volt, "1", "9999 30004")).problem


def test_first_measurement_when_packed_then_it_decides_for_all(volt: Path) -> None:
    found = read_measurements(write(volt, "2", "10002 30004 1.0 0.0", "2 30004 1.0 0.0"))
    assert found.complete
    assert found.pairs == {(1, 3), (1, 4), (2, 3), (2, 4)}


@pytest.mark.parametrize("kept", [0, 1, 2])
def test_volt_when_lines_are_missing_then_it_says_how_many(volt: Path, kept: int) -> None:
    found = read_measurements(write(volt, "3", *CRMOD_LINES[:kept]))
    assert not found.complete
    assert found.problem == f"is cut short: {kept} of 3 lines"
    assert found.count == 3


def test_volt_when_cut_at_any_byte_then_it_is_not_complete(volt: Path) -> None:
    """Of what CRMod writes every cut shows, but for the last line's end and the blanks before it."""
    whole = ("\n".join(["           3", *CRMOD_LINES]) + "\n").encode()
    for kept in range(len(whole) - 1):
        volt.write_bytes(whole[:kept])
        assert not volt_is_complete(str(volt)), kept
    for kept in (len(whole) - 1, len(whole)):
        volt.write_bytes(whole[:kept])
        assert volt_is_complete(str(volt)), kept


def test_volt_when_last_line_has_no_end_but_all_columns_then_it_is_complete(volt: Path) -> None:
    assert volt_is_complete(
        write(volt, "3", "10002 30004 1.25 -1.5", "20003 40005 11.2 -1.5", "10002 40005 1 -1", end="")
    )


def test_volt_when_last_line_lacks_a_column_and_its_end_then_it_is_cut_short(volt: Path) -> None:
    found = read_measurements(write(volt, "2", "10002 30004 1.25 -1.5", "20003 40005 11.2", end=""))
    assert found.problem == "is cut short: its last line lacks its end"


@pytest.mark.parametrize("flag", ["T", ".true.", "t"])
def test_individual_errors_when_announced_then_a_last_line_is_needed(volt: Path, flag: str) -> None:
    rows = ["10002 30004 1 -1 0.1 0.1", "20003 40005 1 -1 0.1 0.1"]
    found = read_measurements(write(volt, f"2 {flag}", *rows, "1.0 1.0"))
    assert (found.individual_errors, found.complete) == (True, True)
    found = read_measurements(write(volt, f"2 {flag}", *rows))
    assert (found.individual_errors, found.complete) == (True, False)
    assert "last line" in found.problem


@pytest.mark.parametrize(
    "lines",
    [
        ["2 F", "10002 30004 1 0", "20003 40005 1 0"],
        ["", "2", "", "10002 30004 1 0", "", "20003 40005 1 0", ""],
        ["2\r", "10002 30004 1 0\r", "20003 40005 1 0\r"],
        ["2", "10002,30004,1,0", "20003,40005,1,0"],
        ["2", "10002\t30004\t1\t0", "20003\t40005\t1\t0"],
        ["2", "10002 30004 1 0 good", "20003 40005 1 0 better"],
        ["2", "10002 30004 1 0", "20003 40005 1 0", "10002 40005 1 0"],
    ],
)
def test_volt_when_laid_out_otherwise_then_it_is_complete(volt: Path, lines: list[str]) -> None:
    """CRTomo_stable read each of these."""
    found = read_measurements(write(volt, *lines))
    assert (found.count, found.complete, found.individual_errors) == (2, True, False)
    assert found.pairs == {(1, 3), (1, 4), (2, 3), (2, 4), (2, 5), (3, 4), (3, 5)}
    assert not found.text_after_count


@pytest.mark.parametrize(
    ("head", "stray"), [("2 ! n", True), ("2 # n", True), ("2 m", True), ("2 frequency", False), ("2 0", False)]
)
def test_text_after_the_count_when_there_then_it_is_reported(volt: Path, head: str, stray: bool) -> None:
    """Seen: CRTomo fails or crashes on the first three and takes the last two for F."""
    assert read_measurements(write(volt, head, "10002 30004 1 0", "20003 40005 1 0")).text_after_count is stray


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\n\n",
        b"\0" * 500,
        b"0\n",
        b"-5\n10002 30004 1 0\n",
        b"99999999999\n10002 30004 1 0\n",
        b"2000000000\n10002 30004 1 0\n",
        b"\xef\xbb\xbf1\n10002 30004 1 0\n",
        b"1\n# a b m n\n10002 30004 1 0\n",
        b"1\n10002.0 30004 1 0\n",
        b"1\n10002\n",
        b"1\n\0\0\0\0\n",
        b"1\n10002 -30004 1 0\n",
        b"1\n10002 " + b"9" * 5000 + b"\n",
        b"9" * 5000 + b"\n",
        b"1 ,\n,,,\n",
        b",\n",
    ],
)
def test_volt_when_it_holds_something_else_then_it_is_not_complete(volt: Path, data: bytes) -> None:
    volt.write_bytes(data)
    found = read_measurements(str(volt))
    assert not found.complete
    assert found.problem


def test_volt_when_missing_or_no_file_then_it_is_not_complete(tmp_path: Path) -> None:
    assert not volt_is_complete(str(tmp_path / "none"))
    assert not volt_is_complete(str(tmp_path))
    with pytest.raises(DataError, match="not a regular file"):
        read_measurements(str(tmp_path))


LINE_M = tuple((float(x), 0.0) for x in range(101))


@pytest.mark.parametrize(
    ("pairs", "expected"),
    [
        ({(1, 2)}, 6),
        ({(1, 2), (1, 3)}, 6),
        ({(1, 2), (1, 4)}, 6),
        ({(1, 2), (1, 5)}, 7),  # 6 log10(4) = 3.6
        ({(1, 2), (1, 10)}, 9),  # 6 log10(9) = 5.7
        ({(1, 2), (1, 11)}, 10),  # 6 log10(10) = 6 exactly
        ({(1, 2), (1, 101)}, 16),
        ({(2, 1), (101, 1)}, 16),
    ],
)
def test_wavenumbers_when_electrodes_are_in_line_then_the_formula_holds(
    pairs: set[tuple[int, int]], expected: int
) -> None:
    assert wavenumbers(LINE_M, pairs) == expected


def test_wavenumbers_when_distances_are_below_a_metre_then_they_are_not_rounded() -> None:
    """Seen: a mesh scaled to 0.001 and to 10 has the same number."""
    for scale in (0.001, 0.1, 1 / 3, 10.0):
        scaled = [(x * scale, z * scale) for x, z in LINE_M]
        assert wavenumbers(scaled, {(1, 2), (1, 10)}) == 9


def test_wavenumbers_when_the_ratio_is_just_below_a_whole_number_then_single_precision_rounds_up() -> None:
    assert wavenumbers([(0.0, 0.0), (1.0, 0.0), (9.9999999, 0.0)], {(1, 2), (1, 3)}) == 10
    assert wavenumbers([(0.0, 0.0), (1.0, 0.0), (9.999, 0.0)], {(1, 2), (1, 3)}) == 9


def test_wavenumbers_when_the_ratio_is_huge_then_there_are_30() -> None:
    assert wavenumbers([(0.0, 0.0), (1e-6, 0.0), (1e6, 0.0)], {(1, 2), (1, 3)}) == 30


@pytest.mark.parametrize(
    ("places", "pairs"),
    [
        ([(0.0, 0.0), (0.0, 0.0)], {(1, 2)}),
        ([(0.0, 0.0), (1.0, 0.0)], {(1, 1)}),
        ([(0.0, 0.0), (1.0, 0.0)], set()),
        ([(0.0, 0.0), (1.0, 0.0)], {(1, 3)}),
        ([(0.0, 0.0), (float("inf"), 0.0)], {(1, 2)}),
        ([(0.0, 0.0), (float("nan"), 0.0)], {(1, 2)}),
    ],
)
def test_wavenumbers_when_distances_make_no_sense_then_it_is_refused(
    places: list[tuple[float, float]], pairs: set[tuple[int, int]]
) -> None:
    with pytest.raises(DataError):
        wavenumbers(places, pairs)
