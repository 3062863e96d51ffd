"""Arrays: as many pilots as the work is worth, within all limits."""

from __future__ import annotations

import pytest

from crh_batch.ledger.memory import MemoryRule
from crh_batch.plan.arrays import ALL_WIDTHS, ArrayRequest, ClassWork, plan_array, plan_nodes

MB = 1 << 20


@pytest.mark.parametrize(
    ("estimates", "max_pilots", "max_array_size", "pilots"),
    [
        # A pilot should have about a minute of work.
        ([10.0] * 10, 100, 1001, 2),
        ([60.0], 100, 1001, 1),
        ([30.0] * 2, 100, 1001, 1),
        ([30.1] * 2, 100, 1001, 2),
        ([0.0] * 5, 100, 1001, 1),
        # Never more than there are tomodirs.
        ([3600.0] * 3, 100, 1001, 3),
        # Nor than the user allows, nor than the scheduler allows.
        ([3600.0] * 500, 100, 1001, 100),
        ([3600.0] * 500, 1000, 64, 64),
        ([3600.0] * 5000, 10_000, 1001, 1001),
        ([3600.0] * 5, 1, 1001, 1),
    ],
)
def test_plan_array_when_the_work_is_known_then_so_many_pilots(
    estimates: list[float], max_pilots: int, max_array_size: int, pilots: int
) -> None:
    assert plan_array(ClassWork(1, estimates, [0] * len(estimates)), max_pilots, max_array_size).pilots == pilots


def test_plan_array_when_planned_then_memory_of_the_largest_and_time_of_all() -> None:
    request = plan_array(ClassWork(5, [100.0, 50.0, 25.0], [10 * MB, 1300 * MB, 20 * MB]), 100, 1001)
    assert request == ArrayRequest(threads=5, cores=5, pilots=3, memory_bytes=1536 * MB, tomodirs=3, estimate_s=175.0)


def test_plan_nodes_when_widths_are_mixed_then_one_array_for_all_of_them() -> None:
    work = [ClassWork(4, [600.0] * 20, [100 * MB] * 20), ClassWork(1, [60.0] * 160, [100 * MB] * 160)]
    request = plan_nodes(work, 16, 100, 1001)
    # 20 * 4 * 600 + 160 * 60 core seconds; (80 + 160) cores side by side.
    assert (request.threads, request.cores, request.tomodirs) == (ALL_WIDTHS, 16, 180)
    assert (request.estimate_s, request.pilots) == (3600.0, 15)


@pytest.mark.parametrize(
    ("max_pilots", "max_array_size", "seconds", "pilots"),
    [(100, 1001, 600.0, 4), (3, 1001, 600.0, 3), (100, 2, 600.0, 2), (100, 1001, 1.0, 1)],
)
def test_plan_nodes_when_pilots_are_few_or_work_is_little_then_no_more_than_that(
    max_pilots: int, max_array_size: int, seconds: float, pilots: int
) -> None:
    work = [ClassWork(4, [seconds] * 16, [MB] * 16)]
    assert plan_nodes(work, 16, max_pilots, max_array_size).pilots == pilots


def test_plan_nodes_when_some_wait_for_others_then_no_more_nodes_than_can_be_filled() -> None:
    work = [ClassWork(4, [600.0] * 64, [MB] * 64, at_once=8)]
    assert plan_nodes(work, 16, 100, 1001).pilots == 2


@pytest.mark.parametrize(
    ("cores", "memory", "memory_mb", "expected"),
    [
        # The four of 400 MB and four of 100 MB fill eight cores; 64 MB for the pilot, in buckets of 256 MB.
        (8, MemoryRule(), 0, 2304),
        (8, MemoryRule(0, 2000), 0, 2000),
        (8, MemoryRule(0, 5000), 5000, 5000),
        # All that there are need 64 + 4 * 400 + 6 * 100 + 900 MB.
        (64, MemoryRule(), 0, 3328),
        # The wide one takes least a core, but it must fit.
        (4, MemoryRule(), 0, 1792),
    ],
)
def test_plan_nodes_when_memory_is_not_given_then_what_the_hungriest_take_side_by_side(
    cores: int, memory: MemoryRule, memory_mb: int, expected: int
) -> None:
    work = [ClassWork(16, [9.0], [900 * MB]), ClassWork(1, [9.0] * 10, [400 * MB] * 4 + [100 * MB] * 6)]
    assert plan_nodes(work, cores, 100, 1001, memory, memory_mb).memory_bytes == expected * MB


def test_plan_nodes_when_cores_are_full_then_of_two_that_need_the_same_the_narrow_one_counts() -> None:
    work = [ClassWork(4, [9.0] * 4, [300 * MB] * 4), ClassWork(1, [9.0], [300 * MB])]
    # One of each in five cores: 64 + 600 MB.
    assert plan_nodes(work, 5, 100, 1001).memory_bytes == 768 * MB
