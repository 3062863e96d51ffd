"""Whatever the order in which names arrive, a state is behind at most, never wrong."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from random import Random

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from crh_batch.ledger.names import Failure, Marks, RetryPolicy, State, StateName, parse_name

POLICY = RetryPolicy(charged_attempts=2, walltime_attempts=3)
CLASSES = [failure.value for failure in Failure]
FINAL_STATES = (StateName.DONE, StateName.COLLECTED, StateName.MOVED)

Mark = tuple[str, int, str]

# A machine under load is no failure.
any_speed = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])

attempts = st.integers(1, 3)
any_fail = st.tuples(st.just("fail"), attempts, st.sampled_from([*CLASSES, "radiation"]))
any_mark = st.one_of(
    st.tuples(st.sampled_from(["claim", "retry", "held", "release", "paused"]), attempts, st.just("")),
    any_fail,
    st.tuples(st.sampled_from(["done", "collected", "moved"]), st.just(0), st.just("")),
)


def state_of(marks: Sequence[Mark]) -> State:
    one = Marks()
    for mark in marks:
        one.add(*mark)
    return one.state(POLICY)


def last_attempt(state: State) -> int:
    waits = state.name in (StateName.READY, StateName.HELD)
    return state.attempt - 1 if waits else state.attempt


@any_speed
@given(st.lists(any_mark, max_size=6), st.lists(any_fail, max_size=6), st.randoms(use_true_random=False))
def test_state_when_the_same_names_come_in_another_order_then_it_is_the_same(
    marks: list[Mark], fails: list[Mark], chance: Random
) -> None:
    together = marks + fails
    shuffled = list(together)
    chance.shuffle(shuffled)
    assert state_of(together) == state_of(together[::-1]) == state_of(shuffled)


@any_speed
@given(st.lists(any_mark, max_size=12))
def test_state_when_names_are_listed_twice_then_it_is_the_same(marks: list[Mark]) -> None:
    assert state_of(marks + marks) == state_of(marks)


@any_speed
@given(st.lists(any_mark, max_size=12))
def test_state_when_names_are_added_then_it_never_goes_back(marks: list[Mark]) -> None:
    """Moved, collected and done are final, in this order; attempts only count up."""
    before = state_of([])
    for number in range(1, len(marks) + 1):
        after = state_of(marks[:number])
        assert last_attempt(after) >= last_attempt(before)
        if before.name in FINAL_STATES:
            assert after.name in FINAL_STATES[FINAL_STATES.index(before.name) :]
        if before.name is StateName.FAILED and after.name not in (*FINAL_STATES, StateName.FAILED):
            # Only somebody's retry, a later attempt, or a better word on an attempt that was taken for charged.
            kind, attempt, failure = marks[number - 1]
            assert kind in ("retry", "claim", "fail")
            if kind == "fail" and attempt == before.attempt:
                assert failure in ("walltime", "program"), "the others are charged or final"
            if kind == "claim":
                assert attempt > before.attempt
        before = after


@dataclass
class Life:
    """A tomodir's names in an order in which pilots and clients really make them."""

    marks: list[Mark] = field(default_factory=list)

    def add(self, kind: str, number: int = 0, failure: str = "") -> None:
        self.marks.append((kind, number, failure))


@st.composite
def lives(draw: st.DrawFn) -> list[Mark]:
    """Claim, fail or finish; a client may have called a living attempt lost before it reports itself."""
    life = Life()
    held = 0
    for attempt in range(1, draw(st.integers(1, 5)) + 1):
        if draw(st.booleans()):
            held += 1
            life.add("held", held)
            life.add("release", held)
        life.add("claim", attempt)
        if draw(st.booleans()):
            life.add("fail", attempt, "lost")
        ending = draw(st.sampled_from([*CLASSES, "done", "nothing"]))
        if ending == "done":
            life.add("done")
            if draw(st.booleans()):
                life.add("collected")
            break
        if ending == "nothing":
            break
        life.add("fail", attempt, ending)
        if state_of(life.marks).name is StateName.FAILED:
            if not draw(st.booleans()):
                break
            life.add("retry", attempt)
    return life.marks


@any_speed
@given(lives(), st.data())
def test_state_when_a_listing_lacks_some_names_then_it_is_behind_and_never_ahead(
    marks: list[Mark], data: st.DataObject
) -> None:
    """A network filesystem may show any part of the names that were made."""
    seen = [mark for mark in marks if data.draw(st.booleans())]
    real, stale = state_of(marks), state_of(seen)
    assert last_attempt(stale) <= last_attempt(real)
    finality = {StateName.DONE: 1, StateName.COLLECTED: 2}
    assert finality.get(stale.name, 0) <= finality.get(real.name, 0)


@any_speed
@given(lives(), st.data())
def test_state_when_a_listing_is_stale_then_the_next_claim_cannot_take_a_new_attempt_from_the_past(
    marks: list[Mark], data: st.DataObject
) -> None:
    """Whoever claims on a stale listing meets the name of that attempt, or makes one that really is the next."""
    seen = [mark for mark in marks if data.draw(st.booleans())]
    stale = state_of(seen)
    if stale.name is StateName.READY:
        claimed = {attempt for kind, attempt, _ in marks if kind == "claim"}
        assert stale.attempt in claimed or stale.attempt == last_attempt(state_of(marks)) + 1


@any_speed
@given(st.text(alphabet=st.sampled_from("0123456789.abcdonefailclaim \n-_"), max_size=40) | st.text(max_size=40))
def test_parse_name_when_anything_comes_then_none_or_parts_that_spell_it(text: str) -> None:
    parsed = parse_name(text)
    if parsed is None:
        return
    item_id, kind, number, failure = parsed
    first, *rest = text.split(".")
    assert int(first) == item_id
    assert rest[0] == kind
    assert (int(rest[1]) if len(rest) > 1 else 0) == number
    assert (rest[2] if len(rest) > 2 else "") == failure
