"""What runs where: the real decisions, run through on a simulated clock."""

from __future__ import annotations

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from crh_batch.pilot.packing import PATIENCE_S
from crh_batch.pilot.room import Room
from unit.pilot.simulation import Simulation, Task

MB = 1 << 20


def bound(tasks: list[Task], cores: int) -> float:
    """What no order can beat: all cores busy all the time, or the longest one."""
    total = sum(task.width * task.seconds for task in tasks)
    return max(total / cores, max(task.seconds for task in tasks))


@pytest.mark.parametrize("cores", [4, 6, 8, 64])
@pytest.mark.parametrize("seed", range(5))
def test_pack_when_wide_and_narrow_are_mixed_then_within_a_tenth_of_the_best(cores: int, seed: int) -> None:
    chance = random.Random(seed)
    count = 10 * cores
    tasks = [Task(number, chance.choice((1, 1, 1, 4)), chance.uniform(60, 600)) for number in range(count)]
    simulation = Simulation(tasks, Room(cores))
    assert simulation.run() <= 1.1 * bound(tasks, cores)
    assert simulation.idle == []


def test_pack_when_all_are_ready_then_wide_ones_first_and_narrow_ones_in_the_rest() -> None:
    tasks = [Task(0, 4, 100), Task(1, 4, 100), Task(2, 1, 50), Task(3, 1, 50), Task(4, 1, 50)]
    simulation = Simulation(tasks, Room(5))
    simulation.run()
    assert simulation.began == {0: 0, 2: 0, 3: 50, 1: 100, 4: 100}


TASKS = st.builds(
    lambda width, seconds, memory, ready: (width, float(seconds), memory * MB, float(ready)),
    st.sampled_from((1, 1, 2, 4, 5)),
    st.integers(1, 500),
    st.integers(0, 900),
    st.one_of(st.just(0), st.integers(0, 800)),
)


@settings(max_examples=200, deadline=None)
@given(st.lists(TASKS, min_size=1, max_size=40), st.sampled_from((1, 2, 4, 7, 8)), st.sampled_from((0, 1000 * MB)))
def test_pack_when_anything_comes_then_no_core_idles_but_for_one_that_was_overtaken_long_enough(
    drawn: list[tuple[int, float, int, float]], cores: int, memory: int
) -> None:
    tasks = [Task(number, *one) for number, one in enumerate(drawn)]
    simulation = Simulation(tasks, Room(cores, memory))
    simulation.run()
    assert len(simulation.ended) == len(tasks)
    for now, idle, waiting in simulation.idle:
        for_whom = [
            task
            for task in waiting
            if now - task.ready >= simulation.patience(task)
            and (task.width, task.memory_bytes) != (idle.width, idle.memory_bytes)
        ]
        assert for_whom, f"at {now} {idle} fits, and nobody has waited for long"


def narrow_stream(cores: int, seconds: float, count: int, *, memory_bytes: int = 0) -> list[Task]:
    """Narrow ones that end one by one, so that never two cores are free at a time."""
    first = [Task(number, 1, seconds + 3 * (number + 1), memory_bytes) for number in range(cores)]
    return [*first, *(Task(number, 1, seconds, memory_bytes) for number in range(cores, count))]


def test_pack_when_a_wide_one_comes_late_then_narrow_ones_overtake_it_for_so_long_only() -> None:
    late = Task(1000, 4, 200, ready=10.0)
    tasks = [*narrow_stream(8, 30, 400), late]
    simulation = Simulation(tasks, Room(8))
    simulation.run()
    # After 33 s the first is begun instead of it; its own 200 s, and as long as the longest that ran when they were up.
    assert 33 + 200 <= simulation.began[1000] <= 33 + 200 + 30 + 3
    assert simulation.idle, "cores were kept for it"


def test_pack_when_a_large_one_waits_for_memory_then_small_ones_overtake_it_for_so_long_only() -> None:
    late = Task(1000, 1, 50, memory_bytes=900 * MB, ready=10.0)
    small = narrow_stream(8, 30, 400, memory_bytes=120 * MB)
    simulation = Simulation([*small, late], Room(8, 1000 * MB))
    simulation.run()
    assert 33 + PATIENCE_S <= simulation.began[1000] <= 33 + PATIENCE_S + 30 + 3


def test_pack_when_one_of_its_size_runs_then_a_wide_one_takes_its_place_and_no_core_idles() -> None:
    """It waits longer than its patience, but nobody overtakes it: cores kept for it would be kept for nothing."""
    tasks = [*(Task(number, 4, 300) for number in range(5)), *(Task(number, 1, 40) for number in range(5, 60))]
    simulation = Simulation(tasks, Room(6))
    simulation.run()
    assert [simulation.began[number] for number in range(5)] == [0, 300, 600, 900, 1200]
    assert simulation.idle == []


def test_pack_when_memory_is_short_then_a_smaller_one_of_the_same_width_is_taken() -> None:
    tasks = [Task(0, 1, 100, 600 * MB), Task(1, 1, 90, 600 * MB), Task(2, 1, 80, 300 * MB)]
    simulation = Simulation(tasks, Room(2, 1000 * MB))
    simulation.run()
    assert simulation.began == {0: 0, 2: 0, 1: 100}
