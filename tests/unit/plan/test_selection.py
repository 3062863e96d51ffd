"""--select: numbers and slices as Python's."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crh_batch.errors import UsageError
from crh_batch.plan.selection import Selection, parse_selection

PATHS = [f"td{number}" for number in range(10)]
bounds = st.one_of(st.just(""), st.integers(-15, 15).map(str))


@given(bounds, bounds, st.one_of(st.none(), st.just(""), st.integers(-4, 4).filter(bool).map(str)))
def test_select_when_a_slice_is_written_then_it_means_what_python_means(
    start: str, stop: str, step: str | None
) -> None:
    text = f"{start}:{stop}" + (f":{step}" if step is not None else "")
    expected = eval(f"list(range(10))[{text}]")
    assert [number for number, _ in parse_selection(text).of(PATHS)] == sorted(expected)


@pytest.mark.parametrize(
    ("text", "numbers"),
    [
        ("0:3,7", [0, 1, 2, 7]),
        ("7,0:3,1", [0, 1, 2, 7]),
        ("-1", [9]),
        (" 2 , 4:5 ", [2, 4]),
        ("5:100", [5, 6, 7, 8, 9]),
    ],
)
def test_select_when_there_are_several_parts_then_each_tomodir_once_and_in_order(text: str, numbers: list[int]) -> None:
    assert parse_selection(text).of(PATHS) == [(number, f"td{number}") for number in numbers]


def test_select_when_nothing_is_asked_for_then_all() -> None:
    assert Selection().of(PATHS) == list(enumerate(PATHS))


@pytest.mark.parametrize("text", ["", "a", "1,", "1-3", "1:2:3:4", "::0", "1.5", "0x1", "1:b", ","])
def test_select_when_it_is_mistyped_then_usage_error(text: str) -> None:
    with pytest.raises(UsageError, match="--select"):
        parse_selection(text)


@pytest.mark.parametrize("text", ["10", "-11", "0:3,99"])
def test_select_when_a_number_is_none_of_the_list_then_usage_error(text: str) -> None:
    with pytest.raises(UsageError, match="among 10 tomodirs"):
        parse_selection(text).of(PATHS)


def test_select_when_there_is_nothing_then_a_slice_of_it_is_nothing() -> None:
    assert parse_selection("0:100").of([]) == []
