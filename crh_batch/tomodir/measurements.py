"""config.dat and volt.dat: which electrodes are measured with, and whether the file is whole.

The first number says how many measurements follow. Each begins with its current and its potential electrodes,
either as two numbers (10000 * A + B, 10000 * M + N) or as four; the first measurement decides for all of them. In
volt.dat a T after the first number announces errors in further columns and one more line at the end. Source:
geophysics-ubonn/titatest, src/rdatm.f90 and rdati.f90; the rules were seen with CRTomo_stable and CRMod_stable.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache
from itertools import chain

from crh_batch.errors import DataError
from crh_batch.tomodir.by_content import ByContent
from crh_batch.tomodir.files import load

_INTEGER = re.compile(rb"[+-]?\d{1,10}")
_SMALLEST_PACKED = 10000
"""From here on a first number holds two electrodes, so there are two columns, not four (seen with 9999 and 10000)."""

Pairs = frozenset[tuple[int, int]]


@dataclass(frozen=True)
class Measurements:
    """A list of measurements.

    Attributes:
        count: how many the file says it holds.
        complete: whether it holds as many.
        problem: why it is not complete, such as "is cut short: 10 of 58 lines"; "" when it is.
        individual_errors: whether each measurement has errors of its own.
        text_after_count: whether there is other text in the first line. CRMod does not mind in config.dat, but
            CRTomo then reads volt.dat wrongly or crashes (seen).
        pairs: the different pairs of a current electrode and a potential electrode that are used together;
            counted from 1, electrode 0 (at infinity) left out.
        largest_electrode: the highest electrode number in use.
    """

    count: int
    complete: bool
    problem: str = ""
    individual_errors: bool = False
    text_after_count: bool = False
    pairs: Pairs = frozenset()
    largest_electrode: int = 0


_LISTS: ByContent[Measurements] = ByContent(64)


def read_measurements(path: str) -> Measurements:
    """Return what a config.dat or volt.dat holds; one that is not whole is no error but says so.

    Raises:
        DataError: missing, unreadable or not a regular file.
    """
    data = load(path, DataError, "Put the measurements there, or correct the path in the .cfg.")
    return _LISTS.get(lambda: _parse(data), data)


def volt_is_complete(path: str) -> bool:
    """Whether a volt.dat is there and holds all the measurements that it announces."""
    try:
        return read_measurements(path).complete
    except DataError:
        return False


def _parse(data: bytes) -> Measurements:
    if b"," in data:
        data = data.replace(b",", b" ")
    lines = [line for line in data.split(b"\n") if line and not line.isspace()]
    if not lines:
        return Measurements(0, False, "is empty")
    head = lines[0].split()
    if not _INTEGER.fullmatch(head[0]) or not 0 < int(head[0]) < 2**31:
        return Measurements(0, False, "does not begin with the number of measurements")
    count = int(head[0])
    flag = head[1].lower().lstrip(b".")[:1] if len(head) > 1 else b""
    individual = flag == b"t"
    rows = lines[1 : count + 1]
    problem = ""
    if len(rows) < count:
        problem = f"is cut short: {len(rows)} of {count} lines"
    elif individual and len(lines) < count + 2:
        problem = "is cut short: the last line, which goes with individual errors, is missing"
    elif len(lines) == count + 1 and not data.endswith(b"\n") and _is_torn(rows):
        problem = "is cut short: its last line lacks its end"
    columns = None if problem else _electrode_columns(rows)
    if columns is None:
        problem = problem or "has a line that does not begin with electrode numbers"
        return Measurements(count, False, problem, individual)
    pairs, largest = _pairs(*columns)
    text_after_count = bool(flag) and not flag.isdigit() and flag not in b"tf/"
    return Measurements(count, True, "", individual, text_after_count, pairs, largest)


def _is_torn(rows: list[bytes]) -> bool:
    """Whether a last line without a line end lost more than that, as far as it can be seen.

    Lines of CRMod are equally long and begin with blanks, so one that was cut shows it even in the middle of its
    last number. Files from elsewhere often lack the last line's end, so that alone proves nothing.
    """
    if len(rows) < 2:
        return False
    lengths = {len(row) for row in rows[:-1]}
    fewest = min(len(row.split()) for row in rows[:-1])
    in_columns = len(rows) > 2 and len(lengths) == 1 and rows[0].startswith(b"  ")
    return len(rows[-1].split()) < fewest or (in_columns and len(rows[-1]) < len(rows[0]))


def _electrode_columns(rows: list[bytes]) -> tuple[bytes, int] | None:
    """Return all rows' electrode numbers in one line, and how many a row has; None if a row has none.

    Two or four, as the first row decides. Written for speed: a survey has millions of rows, and each is looked at
    after its run.
    """
    first = rows[0].split(None, 1)[0]
    if not _INTEGER.fullmatch(first):
        return None
    width = 2 if int(first) >= _SMALLEST_PACKED else 4
    fields = list(chain.from_iterable([row.split(None, width)[:width] for row in rows]))
    if len(fields) != width * len(rows) or not b"".join(fields).isdigit() or max(map(len, fields)) > 9:
        return None
    return b" ".join(fields), width


@lru_cache(maxsize=64)
def _pairs(columns: bytes, width: int) -> tuple[Pairs, int]:
    """Return the electrodes used together and the largest one.

    Kept by the electrodes alone: all the tomodirs of a survey have them in common, but not the measured values.
    """
    numbers = [int(field) for field in columns.split()]
    if width == 2:
        numbers = [electrode for number in numbers for electrode in divmod(number, 10000)]
    pairs: set[tuple[int, int]] = set()
    for start in range(0, len(numbers), 4):
        current, other_current, potential, other_potential = numbers[start : start + 4]
        pairs.update(
            (
                (current, potential),
                (current, other_potential),
                (other_current, potential),
                (other_current, other_potential),
            )
        )
    return frozenset(pair for pair in pairs if 0 not in pair), max(numbers)
