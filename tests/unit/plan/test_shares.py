"""Dealing out: complete, in proportion, with what belongs together kept together; and what users may say of shares."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crh_batch.errors import UsageError
from crh_batch.plan.shares import Work, parse_shares, shares_from_capacity, split
from crh_batch.site import Capacity

SHARES = st.lists(st.one_of(st.just(0.0), st.floats(1e-3, 1e6)), min_size=1, max_size=5).filter(any)


@st.composite
def works(draw: st.DrawFn) -> list[Work]:
    # Numbers with gaps, sources that aren't dealt out, circles; times that are no times.
    numbers = draw(st.lists(st.integers(0, 60), unique=True, max_size=30))
    seconds = st.one_of(st.floats(0, 1e6), st.just(math.nan), st.just(math.inf))
    after = st.lists(st.integers(0, 60), max_size=2)
    return [Work(number, draw(seconds), draw(st.integers(1, 8)), draw(after)) for number in numbers]


def load(part: frozenset[int], found: list[Work]) -> float:
    return sum(one.core_seconds for one in found if one.item_id in part)


def connected(found: list[Work]) -> list[set[int]]:
    """Found another way than split does: sets that share a member are joined until none do."""
    known = {one.item_id for one in found}
    sets = [{one.item_id, *one.after} & known for one in found]
    joined: list[set[int]] = []
    for new in sets:
        touching = [one for one in joined if one & new]
        joined = [one for one in joined if not one & new] + [new.union(*touching)]
    return joined


@given(works(), SHARES)
def test_split_then_each_tomodir_is_in_one_part_and_a_share_of_0_gets_none(
    found: list[Work], shares: list[float]
) -> None:
    parts = split(found, shares)
    assert len(parts) == len(shares)
    assert sorted(number for part in parts for number in part) == sorted(one.item_id for one in found)
    assert not any(part for part, share in zip(parts, shares) if share == 0)


@given(works(), SHARES)
def test_split_when_tomodirs_take_results_of_others_then_they_stay_together(
    found: list[Work], shares: list[float]
) -> None:
    parts = split(found, shares)
    for group in connected(found):
        assert sum(bool(group & part) for part in parts) == 1


@given(works(), SHARES)
def test_split_then_no_cluster_has_more_than_one_group_above_its_share(found: list[Work], shares: list[float]) -> None:
    whole = sum(one.core_seconds for one in found)
    largest = max((load(frozenset(group), found) for group in connected(found)), default=0.0)
    for part, share in zip(split(found, shares), shares):
        assert load(part, found) <= (share / sum(shares) * whole + largest) * (1 + 1e-9)


@given(works(), SHARES)
def test_split_when_the_works_come_in_another_order_then_the_parts_are_the_same(
    found: list[Work], shares: list[float]
) -> None:
    assert split(found[::-1], shares) == split(found, shares)


def test_split_when_all_are_alike_then_the_numbers_are_in_proportion() -> None:
    parts = split([Work(number, 60.0, 4) for number in range(90)], [2.0, 1.0, 6.0])
    assert [len(part) for part in parts] == [20, 10, 60]


def test_split_when_a_cluster_is_far_smaller_then_it_gets_none_of_a_few_long_ones() -> None:
    assert split([Work(number, 3600.0, 1) for number in range(3)], [1.0, 100.0]) == [frozenset(), frozenset({0, 1, 2})]


def test_split_when_many_clusters_are_small_then_the_large_one_gets_no_more_than_its_share() -> None:
    parts = split([Work(number, 3600.0, 1) for number in range(10)], [10.0, *[1.0] * 10])
    assert [len(part) for part in parts] == [5, 1, 1, 1, 1, 1, 0, 0, 0, 0, 0]


def test_split_then_the_longest_goes_first() -> None:
    found = [Work(0, 1.0, 1), Work(1, 1.0, 1), Work(2, 2.0, 1)]
    assert split(found, [1.0, 1.0]) == [frozenset({2}), frozenset({0, 1})]


def test_split_when_no_time_is_known_then_all_count_the_same() -> None:
    parts = split([Work(number, 0.0, 1) for number in range(10)], [1.0, 1.0])
    assert [len(part) for part in parts] == [5, 5]


def test_split_when_cores_differ_then_they_count() -> None:
    wide, *narrow = [Work(0, 10.0, 8), *(Work(number, 10.0, 1) for number in range(1, 9))]
    assert split([*narrow, wide], [1.0, 1.0]) == [frozenset({0}), frozenset(range(1, 9))]


@pytest.mark.parametrize("shares", [[], [0.0, 0.0], [-1.0, 2.0], [math.nan, 1.0], [math.inf, 1.0]])
def test_split_when_the_shares_say_nothing_then_it_refuses(shares: list[float]) -> None:
    with pytest.raises(ValueError, match="shares"):
        split([Work(0, 1.0, 1)], shares)


@pytest.mark.parametrize(
    ("text", "names", "expected"),
    [
        ("a=2,b=1", ["a", "b"], [2, 1]),
        ("b=1, a = 2.5", ["a", "b"], [2.5, 1]),
        ("a=0,b=1e3", ["a", "b"], [0, 1000]),
        ("me@host=1,user=x=3", ["user=x", "me@host"], [3, 1]),
    ],
)
def test_parse_shares_then_they_are_in_the_order_of_the_names(
    text: str, names: list[str], expected: list[float]
) -> None:
    assert parse_shares(text, names) == expected


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("a=2", "no share for b"),
        ("a=2,b=1,c=1", "c is none of the clusters"),
        ("a=2,b=1,a=1", "a is there twice"),
        ("a=-1,b=1", "'-1' is no number"),
        ("a=nan,b=1", "'nan' is no number"),
        ("a=inf,b=1", "'inf' is no number"),
        ("a=1e308,b=1e308", "too large"),
        ("a=two,b=1", "'two' is no number"),
        ("a=,b=1", "'' is no number"),
        ("a=0,b=0", "add up to nothing"),
        ("2,1", "'2' is no share"),
        ("=1,b=1", "'=1' is no share"),
        ("", "'' is no share"),
    ],
)
def test_parse_shares_when_they_say_nothing_then_the_error_says_why_and_gives_an_example(text: str, why: str) -> None:
    with pytest.raises(UsageError) as refused:
        parse_shares(text, ["a", "b"])
    assert why in str(refused.value)
    assert "--share a=2,b=1" in refused.value.next_step


@pytest.mark.parametrize(
    ("capacities", "expected"),
    [
        ([Capacity(30, 100), Capacity(10, 1000)], [30, 10]),
        ([Capacity(0, 100), Capacity(10, 1000)], [0, 10]),
        ([Capacity(0, 100), Capacity(0, 1000)], [100, 1000]),
        ([Capacity(0, 0), Capacity(0, 0)], [1, 1]),
    ],
)
def test_shares_from_capacity_then_idle_cores_count_first(capacities: list[Capacity], expected: list[float]) -> None:
    assert shares_from_capacity(capacities) == expected
