"""Which tomodir next: in the batch's order, without any two pilots walking in step."""

from __future__ import annotations

import random
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from crh_batch.ledger.batch import Batch
from crh_batch.ledger.names import states
from crh_batch.ledger.settings import ItemClass
from crh_batch.pilot.chooser import Candidate, Chooser
from unit.ledger.making import make_batch, make_item, make_names


class Chance(random.Random):
    """Always takes the last place that it may, and remembers out of how many."""

    def __init__(self) -> None:
        super().__init__()
        self.asked: list[int] = []

    def randrange(self, start: int, stop: Any = None, step: int = 1) -> int:
        self.asked.append(start)
        return start - 1


class Clock:
    def __init__(self) -> None:
        self.now = 0.0
        self.ticks: list[float] = []

    def __call__(self) -> float:
        if self.ticks:
            self.now += self.ticks.pop(0)
        return self.now


def choose_all(chooser: Chooser, batch: Batch, *, then: str = "done") -> list[int]:
    """Take everything that is offered; each is finished at once."""
    taken = []
    while (candidate := chooser.next()) is not None:
        make_names(batch, f"{candidate.item_id}.claim.{candidate.attempt:03d}", f"{candidate.item_id}.{then}")
        chooser.won()
        taken.append(candidate.item_id)
    return taken


def test_next_when_all_are_ready_then_they_come_in_the_batchs_order(tmp_path: Path) -> None:
    batch = make_batch(tmp_path, 5)
    assert choose_all(Chooser(batch, ItemClass(1, 0, 5)), batch) == [0, 1, 2, 3, 4]


def test_next_when_a_class_is_a_part_of_the_batch_then_only_it_is_offered(tmp_path: Path) -> None:
    batch = make_batch(tmp_path, 6)
    assert choose_all(Chooser(batch, ItemClass(1, 2, 4)), batch) == [2, 3]


def test_next_when_numbers_have_gaps_and_several_shards_then_all_are_offered(tmp_path: Path) -> None:
    batch = make_batch(tmp_path, [make_item(number) for number in (3, 999, 1000, 1001, 5000)])
    assert choose_all(Chooser(batch, ItemClass(1, 0, 6000)), batch) == [3, 999, 1000, 1001, 5000]


def test_next_when_an_attempt_failed_before_then_the_next_number_is_offered(tmp_path: Path) -> None:
    batch = make_batch(tmp_path, 5)
    make_names(batch, "0.claim.001", "0.fail.001.crash", "1.claim.001", "2.done", "3.held.001", "4.fail.001.input")
    chooser = Chooser(batch, ItemClass(1, 0, 5))
    assert chooser.next() == Candidate(0, 2)
    make_names(batch, "0.claim.002")
    assert chooser.next() is None, "running, done, held and failed ones are nobody's"


def test_next_when_nothing_is_ready_then_none_again_and_again(tmp_path: Path) -> None:
    batch = make_batch(tmp_path, 1)
    make_names(batch, "0.done")
    chooser = Chooser(batch, ItemClass(1, 0, 1))
    assert [chooser.next(), chooser.next()] == [None, None]


def test_next_when_an_attempt_fails_during_the_pass_then_it_is_offered_on_the_next(tmp_path: Path) -> None:
    batch = make_batch(tmp_path, 2)
    chooser = Chooser(batch, ItemClass(1, 0, 2))
    assert chooser.next() == Candidate(0, 1)
    make_names(batch, "0.claim.001")
    chooser.won()
    make_names(batch, "0.fail.001.crash")
    assert chooser.next() == Candidate(1, 1)
    make_names(batch, "1.claim.001")
    chooser.won()
    assert chooser.next() == Candidate(0, 2)


def test_next_when_races_are_lost_then_it_steps_aside_twice_as_far_each_time(tmp_path: Path) -> None:
    """Two pilots that walk one list in one order would meet at every name."""
    batch = make_batch(tmp_path, 20)
    chance = Chance()
    clock = Clock()
    chooser = Chooser(batch, ItemClass(1, 0, 20), clock=clock, chance=chance)
    # The listing takes a second, so it is not renewed here.
    clock.ticks = [0.0, 1.0]
    offered = []
    for _ in range(5):
        candidate = chooser.next()
        assert candidate is not None
        offered.append(candidate.item_id)
        chooser.lost()
    assert chance.asked == [2, 4, 8, 16]
    # What is left after each: the first, then the second of those from 1 on, the fourth of the rest, ...
    assert offered == [0, 2, 5, 10, 19]
    candidate = chooser.next()
    chooser.won()
    assert chance.asked[-1] == 15, "no more than there are left"
    following = chooser.next()
    assert following == Candidate(1, 1), "after a success it walks in order again"


def test_lost_when_listing_is_cheap_then_the_names_are_looked_at_again(tmp_path: Path) -> None:
    batch = make_batch(tmp_path, 4)
    clock = Clock()
    chooser = Chooser(batch, ItemClass(1, 0, 4), clock=clock, chance=Chance())
    clock.ticks = [0.0, 0.1]
    assert chooser.next() == Candidate(0, 1)
    make_names(batch, "0.claim.001", "1.claim.001", "2.claim.001")
    clock.ticks = [1.1]
    chooser.lost()
    assert chooser.next() == Candidate(3, 1)


def test_lost_when_listing_is_dear_then_it_goes_on_with_the_old_one(tmp_path: Path) -> None:
    batch = make_batch(tmp_path, 4)
    clock = Clock()
    chooser = Chooser(batch, ItemClass(1, 0, 4), clock=clock, chance=Chance())
    clock.ticks = [0.0, 1.0]
    assert chooser.next() == Candidate(0, 1)
    make_names(batch, "0.claim.001", "1.claim.001", "2.claim.001")
    clock.ticks = [9.0]
    chooser.lost()
    assert chooser.next() == Candidate(2, 1), "which is taken: behind, but never wrong"


def test_skip_when_a_tomodir_does_not_fit_then_it_is_not_offered_again(tmp_path: Path) -> None:
    batch = make_batch(tmp_path, 3)
    chooser = Chooser(batch, ItemClass(1, 0, 3))
    offered: list[int] = []
    while (candidate := chooser.next()) is not None:
        offered.append(candidate.item_id)
        if candidate.item_id == 1:
            chooser.skip(1)
        else:
            make_names(batch, f"{candidate.item_id}.done")
    assert offered == [0, 1, 2]
    chooser.start_over()
    assert chooser.next() is None


def test_start_over_when_something_became_ready_then_it_is_offered(tmp_path: Path) -> None:
    batch = make_batch(tmp_path, 2)
    make_names(batch, "0.claim.001", "1.done")
    chooser = Chooser(batch, ItemClass(1, 0, 2))
    assert chooser.next() is None
    make_names(batch, "0.fail.001.memory")
    chooser.start_over()
    assert chooser.next() == Candidate(0, 2, memory_failures=1)


def test_next_when_shards_are_walked_then_each_is_listed_once_a_pass(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    batch = make_batch(tmp_path, [make_item(number) for number in (0, 1000, 2000)])
    make_names(batch, "0.done", "1000.done", "2000.done")
    listed: list[Sequence[int]] = []

    def listing(paths: Any, item_ids: Any, policy: Any) -> Any:
        listed.append(list(item_ids))
        return states(paths, listed[-1], policy)

    monkeypatch.setattr("crh_batch.pilot.chooser.states", listing)
    assert Chooser(batch, ItemClass(1, 0, 3000)).next() is None
    assert listed == [[0], [1000], [2000]]


CHAIN = {1: (0,), 2: (1,)}


def chain(root: Path, *names: str) -> Batch:
    """Three tomodirs, each taking a result of the one before."""
    batch = make_batch(root, 3, after=CHAIN)
    make_names(batch, *names)
    return batch


def test_next_when_some_wait_for_results_then_they_are_offered_after_those(tmp_path: Path) -> None:
    batch = chain(tmp_path)
    chooser = Chooser(batch, ItemClass(1, 0, 3))
    first = chooser.next()
    assert first == Candidate(0, 1)
    make_names(batch, "0.claim.001")
    assert chooser.next() is None
    make_names(batch, "0.done")
    chooser.start_over()
    assert choose_all(chooser, batch) == [1, 2]


@pytest.mark.parametrize(
    ("names", "prospects"),
    [
        (["0.claim.001"], True),
        (["0.claim.001", "0.fail.001.input"], False),
        (["0.held.001"], False),
        (["0.done", "1.done", "2.done"], False),
    ],
)
def test_has_prospects_when_a_pass_found_nothing_then_whether_results_may_come(
    tmp_path: Path, names: Sequence[str], prospects: bool
) -> None:
    chooser = Chooser(chain(tmp_path, *names), ItemClass(1, 0, 3))
    assert chooser.next() is None
    assert chooser.has_prospects() is prospects


def test_has_prospects_when_this_pilot_can_t_take_the_one_that_waits_then_there_are_none(tmp_path: Path) -> None:
    batch = make_batch(tmp_path, 2, after={1: (0,)})
    make_names(batch, "0.claim.001")
    chooser = Chooser(batch, ItemClass(1, 0, 2))
    chooser.skip(1)
    assert chooser.next() is None
    assert not chooser.has_prospects()
