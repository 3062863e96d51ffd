"""Which partitions a request goes to: all in which it can run, and none in which it would wait for ever."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crh_batch.errors import ProfileError
from crh_batch.plan.partitions import TIME_MARGIN, Need, fitting
from crh_batch.site import NodeKind, Partition

SHORT = Partition("short", (NodeKind(16, 64_000, 10),), 120, 30)
LONG = Partition("long", (NodeKind(16, 64_000, 10),), 7 * 1440)
# The node with most cores has the least memory.
FAT = Partition("fat", (NodeKind(8, 1_000_000, 1), NodeKind(64, 32_000, 2)), 1440)
DOWN = Partition("down", (NodeKind(16, 64_000, 10),), is_up=False)
UNKNOWN = Partition("unknown")
ALL = [SHORT, LONG, FAT, DOWN, UNKNOWN]


def names(need: Need, partitions: list[Partition] = ALL) -> list[str]:
    return [one.name for one in fitting(partitions, need)]


@pytest.mark.parametrize(
    ("need", "expected"),
    [
        (Need(1, 256, 60, 10.0), ["short", "long", "fat", "unknown"]),
        (Need(1, 256, 120, 10.0), ["short", "long", "fat", "unknown"]),
        (Need(1, 256, 121, 10.0), ["long", "fat", "unknown"]),
        (Need(1, 256, 1441, 10.0), ["long", "unknown"]),
        (Need(17, 256, 60, 10.0), ["fat", "unknown"]),
        (Need(17, 32_001, 60, 10.0), ["unknown"]),
        (Need(8, 64_001, 60, 10.0), ["fat", "unknown"]),
        (Need(65, 256, 60, 10.0), ["unknown"]),
        (Need(16, 0, 60, 10.0), ["short", "long", "fat", "unknown"]),
    ],
)
def test_fitting_when_a_need_is_given_then_the_partitions_whose_nodes_and_limit_suffice(
    need: Need, expected: list[str]
) -> None:
    assert names(need) == expected


def test_fitting_when_no_time_is_asked_for_then_those_are_preferred_that_hold_the_longest() -> None:
    allowed = [SHORT, LONG]
    # short gives 30 minutes to who asks for none.
    assert names(Need(1, 0, 0, 30 * 60 / TIME_MARGIN), allowed) == ["short", "long"]
    assert names(Need(1, 0, 0, 30 * 60 / TIME_MARGIN + 1), allowed) == ["long"]
    assert names(Need(1, 0, 0, 1e9), allowed) == ["short", "long"], "an estimate alone refuses nothing"
    assert names(Need(1, 0, 30, 1e9), allowed) == ["short", "long"], "the user has said how long"


def test_fitting_when_only_what_is_down_fits_then_jobs_wait_there() -> None:
    assert names(Need(1, 0, 60, 1.0), [DOWN]) == ["down"]
    assert names(Need(1, 0, 60, 1.0), [DOWN, SHORT]) == ["short"]


def test_fitting_when_none_fits_then_it_says_what_is_needed_and_what_each_has() -> None:
    with pytest.raises(ProfileError) as caught:
        fitting([SHORT, FAT], Need(17, 40_000, 2000, 1.0))
    assert caught.value.key == "partition"
    assert caught.value.message == (
        "no partition fits a job that needs 17 cores, 40000 MB, 2000 minutes: "
        "short allows 120 minutes; fat allows 1440 minutes"
    )
    with pytest.raises(ProfileError, match="has nodes of 16 cores; fat has 32000 MB on a node with 17 cores"):
        fitting([SHORT, FAT], Need(17, 40_000, 0, 1.0))
    with pytest.raises(ProfileError, match=r"needs 1 core, 70000 MB: short has 64000 MB on a node\n"):
        fitting([SHORT], Need(1, 70_000, 0, 1.0))


KINDS = st.builds(NodeKind, st.integers(0, 4), st.integers(0, 4), st.integers(1, 3))
PARTITIONS = st.builds(
    Partition,
    st.sampled_from("abc"),
    st.lists(KINDS, max_size=3).map(tuple),
    st.none() | st.integers(1, 4),
    st.none() | st.integers(1, 4),
    st.booleans(),
    st.booleans(),
)


@given(
    st.lists(PARTITIONS, min_size=1, max_size=4),
    st.builds(Need, st.integers(1, 5), st.integers(0, 5), st.integers(0, 5), st.floats(0, 400)),
)
def test_fitting_when_anything_is_allowed_then_what_is_chosen_has_a_node_and_the_time(
    partitions: list[Partition], need: Need
) -> None:
    def can_run(one: Partition) -> bool:
        nodes = not one.kinds or any(
            (not kind.cores or kind.cores >= need.cores) and (not kind.memory_mb or kind.memory_mb >= need.memory_mb)
            for kind in one.kinds
        )
        return nodes and (not need.minutes or one.max_minutes is None or need.minutes <= one.max_minutes)

    able = [one for one in partitions if can_run(one)]
    if not able:
        with pytest.raises(ProfileError):
            fitting(partitions, need)
        return
    chosen = fitting(partitions, need)
    assert chosen and all(one in able for one in chosen)
    assert any(one.is_up for one in chosen) or not any(one.is_up for one in able)
