"""How long a pilot stays that has nothing to do: growing pauses, and not for ever."""

from __future__ import annotations

from crh_batch.pilot.idling import FIRST_PAUSE_S, LONGEST_PAUSE_S, Idling


class Clock:
    """A clock that stands until it is set."""

    now = 1000.0

    def __call__(self) -> float:
        return self.now


def test_pause_when_idle_then_pauses_grow_up_to_the_longest_and_end_with_the_time() -> None:
    clock = Clock()
    idling = Idling(100, clock)
    pauses = []
    while (pause := idling.pause(busy=False)) is not None:
        pauses.append(pause)
        clock.now += pause
    assert pauses[:5] == [FIRST_PAUSE_S, 2.0, 4.0, 8.0, LONGEST_PAUSE_S]
    assert max(pauses) == LONGEST_PAUSE_S
    assert sum(pauses) == 100
    assert idling.pause(busy=False) is None


def test_pause_when_work_came_or_something_runs_then_the_time_begins_anew() -> None:
    clock = Clock()
    idling = Idling(10, clock)
    assert idling.pause(busy=False) == FIRST_PAUSE_S
    clock.now += 9
    assert idling.pause(busy=False) == 1.0, "not longer than what is left"
    idling.work_came()
    clock.now += 9
    assert idling.pause(busy=False) == FIRST_PAUSE_S
    clock.now += 50
    assert idling.pause(busy=True) is not None, "what runs keeps the pilot anyway"
    clock.now += 5
    assert idling.pause(busy=False) is not None
    clock.now += 10
    assert idling.pause(busy=False) is None


def test_pause_when_no_time_is_given_then_the_pilot_leaves_at_once() -> None:
    assert Idling(0).pause(busy=False) is None
