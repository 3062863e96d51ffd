"""Playing a batch through: never better than any schedule can be, and not much worse."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crh_batch.plan.arrays import ALL_WIDTHS, ArrayRequest
from crh_batch.plan.makespan import Task, finish_times, lower_bound, times_of

seconds = st.floats(0.0, 1e4, allow_nan=False)
narrow = st.lists(seconds.map(lambda value: Task(1, value)), min_size=1, max_size=40)
mixed = st.lists(st.builds(Task, st.integers(1, 6), seconds), min_size=1, max_size=40)
# Rounding of sums of floats.
CLOSE = 1 + 1e-9


def longest_first(tasks: list[Task]) -> list[Task]:
    return sorted(tasks, key=lambda task: (-task.threads, -task.seconds))


@given(mixed, st.integers(1, 5), st.integers(6, 12))
def test_makespan_when_played_then_never_below_the_bound(tasks: list[Task], pilots: int, cores: int) -> None:
    assert max(finish_times(longest_first(tasks), pilots, cores)) * CLOSE >= lower_bound(tasks, pilots * cores)


@given(narrow, st.integers(1, 8))
def test_makespan_when_all_are_narrow_and_the_longest_come_first_then_within_four_thirds(
    tasks: list[Task], cores: int
) -> None:
    """Graham 1969: 4/3 - 1/(3m) of the optimum; the bound may be below that: so of total/m + the last one's time."""
    ends = finish_times(longest_first(tasks), 1, cores)
    total = sum(task.seconds for task in tasks)
    last = max(ends)
    latest = longest_first(tasks)[ends.index(last)].seconds
    assert last <= (total / cores + latest * (1 - 1 / cores)) * CLOSE + 1e-9


@given(mixed, st.integers(1, 4), st.integers(1, 8))
def test_makespan_when_played_then_no_more_cores_are_used_than_there_are(
    tasks: list[Task], pilots: int, cores: int
) -> None:
    ends = finish_times(tasks, pilots, cores)
    begins = [end - task.seconds for end, task in zip(ends, tasks)]
    for moment in begins:
        used = sum(
            min(task.threads, cores)
            for task, begin, end in zip(tasks, begins, ends)
            if begin <= moment - 1e-6 and end > moment + 1e-6
        )
        assert used <= pilots * cores


@given(mixed, st.data())
def test_makespan_when_some_wait_for_others_then_they_begin_after_them(tasks: list[Task], data: st.DataObject) -> None:
    linked = [
        Task(
            task.threads,
            task.seconds,
            tuple(data.draw(st.sets(st.integers(0, place - 1), max_size=3))) if place else (),
        )
        for place, task in enumerate(tasks)
    ]
    ends = finish_times(linked, 2, 6)
    for place, task in enumerate(linked):
        for source in task.after:
            assert ends[place] - task.seconds >= ends[source] - 1e-6


def test_makespan_when_one_waits_for_a_narrow_one_then_others_fill_the_cores() -> None:
    tasks = [Task(4, 10.0, (1,)), Task(1, 5.0), Task(1, 5.0), Task(1, 5.0)]
    assert finish_times(tasks, 1, 4) == [15.0, 5.0, 5.0, 5.0]


@pytest.mark.timeout(20)
def test_makespan_when_there_are_a_hundred_thousand_then_in_seconds() -> None:
    assert max(finish_times([Task(1, 1.0)] * 100_000, 100, 1)) == pytest.approx(1000.0)


def request(threads: int, cores: int, pilots: int) -> ArrayRequest:
    return ArrayRequest(threads, cores, pilots, 1, 1, 1.0)


def test_times_when_there_is_an_array_a_class_then_the_classes_run_side_by_side() -> None:
    tasks = [Task(4, 10.0), Task(4, 10.0), Task(1, 3.0), Task(1, 3.0), Task(1, 3.0, (2,))]
    assert times_of(tasks, [request(4, 4, 1), request(1, 1, 2)], one_pilot=False) == [3.0, 3.0, 6.0, 10.0, 20.0]


def test_times_when_jobs_are_whole_nodes_then_all_widths_share_them() -> None:
    tasks = [Task(4, 10.0), Task(1, 3.0), Task(1, 3.0)]
    assert times_of(tasks, [request(ALL_WIDTHS, 4, 1)], one_pilot=False) == [10.0, 13.0, 13.0]
    assert times_of(tasks, [request(ALL_WIDTHS, 6, 1)], one_pilot=False) == [3.0, 3.0, 10.0]


def test_times_when_one_pilot_has_all_then_its_cores_count_once() -> None:
    tasks = [Task(4, 10.0), Task(1, 3.0)]
    assert times_of(tasks, [request(4, 4, 1), request(1, 4, 1)], one_pilot=True) == [10.0, 13.0]


def test_times_when_nothing_is_asked_for_then_nothing_ends() -> None:
    assert times_of([], [], one_pilot=True) == []


def test_lower_bound_when_one_waits_for_another_then_it_is_the_longest_chain() -> None:
    chain = [Task(1, 10.0), Task(1, 20.0, (0,)), Task(2, 5.0, (1,)), Task(1, 1.0)]
    assert lower_bound(chain, 100) == 35.0
    assert lower_bound([replace(task, after=()) for task in chain], 100) == 20.0
    assert lower_bound([], 4) == 0.0
