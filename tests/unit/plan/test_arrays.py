"""Arrays: as many pilots as the work is worth, within all limits."""

from __future__ import annotations

import pytest

from crh_batch.plan.arrays import ArrayRequest, ClassWork, plan_array

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
    request = plan_array(ClassWork(5, [100.0, 50.0, 25.0], [10 * MB, 1000 * MB, 20 * MB]), 100, 1001)
    assert request == ArrayRequest(threads=5, cores=5, pilots=3, memory_bytes=1536 * MB, tomodirs=3, estimate_s=175.0)
