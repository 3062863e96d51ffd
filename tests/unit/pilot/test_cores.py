"""Cores: as many as there are, first come, first served."""

from __future__ import annotations

import threading

import pytest

from conftest import wait_until
from crh_batch.pilot.cores import Cores


class Taker(threading.Thread):
    def __init__(self, cores: Cores, wanted: int, order: list[str], name: str) -> None:
        super().__init__(daemon=True)
        self.granted = 0
        self._cores, self._wanted, self._order, self._label = cores, wanted, order, name
        waiting = len(cores._line)
        self.start()
        wait_until(f"{name} stands in line or has its cores", lambda: self.granted or len(cores._line) > waiting)

    def run(self) -> None:
        granted = self._cores.take(self._wanted)
        self._order.append(self._label)
        self.granted = granted


def test_take_when_cores_are_free_then_they_are_granted_at_once() -> None:
    cores = Cores(4)
    assert [cores.take(1), cores.take(3)] == [1, 3]
    cores.give_back(3)
    assert cores.take(2) == 2


def test_take_when_more_are_wanted_than_there_are_then_all_are_granted() -> None:
    """A pilot with two cores runs a tomodir that was planned for five."""
    cores = Cores(2)
    assert cores.take(5) == 2
    cores.give_back(2)
    assert cores.take(2) == 2


@pytest.mark.timeout(30)
def test_take_when_a_wide_one_waits_then_narrow_ones_that_came_later_do_not_pass_it() -> None:
    cores = Cores(4)
    order: list[str] = []
    cores.take(4)
    wide = Taker(cores, 4, order, "wide")
    narrow = [Taker(cores, 1, order, f"narrow {number}") for number in range(3)]
    for _ in range(3):
        cores.give_back(1)
    # Three cores are free now, and one is all that each of the narrow ones needs.
    narrow[0].join(0.1)
    assert order == []
    cores.give_back(1)
    wide.join()
    assert order == ["wide"]
    cores.give_back(4)
    for taker in narrow:
        taker.join()
    assert sorted(order[1:]) == ["narrow 0", "narrow 1", "narrow 2"]


@pytest.mark.timeout(30)
def test_take_when_narrow_ones_stand_in_line_then_one_return_serves_all_that_fit() -> None:
    cores = Cores(3)
    order: list[str] = []
    cores.take(3)
    takers = [Taker(cores, 1, order, str(number)) for number in range(3)]
    cores.give_back(3)
    for taker in takers:
        taker.join()
    assert [taker.granted for taker in takers] == [1, 1, 1]
