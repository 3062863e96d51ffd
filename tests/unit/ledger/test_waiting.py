"""Tomodirs that take results of others: their states, whom they wait for in the end, and the order of collecting."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crh_batch.ledger.batch import Batch
from crh_batch.ledger.items import Item
from crh_batch.ledger.names import State, StateName, states
from crh_batch.ledger.settings import Settings
from crh_batch.ledger.sources import levels
from crh_batch.ledger.waiting import Waits
from unit.ledger.making import make_batch, make_item, make_names

READY, RUNNING, WAITING = StateName.READY, StateName.RUNNING, StateName.WAITING


def batch_of(tmp_path: Path, after: Mapping[int, tuple[int, ...]], *names: str, count: int = 5) -> Batch:
    batch = make_batch(tmp_path, [replace(make_item(n), after=after.get(n, ())) for n in range(count)], after=after)
    make_names(batch, *names)
    return batch


def names_of(batch: Batch) -> list[str]:
    return [state.name.value for _, state in states(batch.paths, batch.items.ids, batch.settings)]


CHAIN = {1: (0,), 2: (1,), 3: (2,), 4: (3,)}


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        ([], "ready waiting waiting waiting waiting"),
        (["0.claim.001"], "running waiting waiting waiting waiting"),
        (["0.claim.001", "0.done"], "done ready waiting waiting waiting"),
        (["0.done", "0.collected"], "collected ready waiting waiting waiting"),
        (["0.done", "0.moved"], "moved waiting waiting waiting waiting"),
        (["0.claim.001", "0.fail.001.input"], "failed waiting waiting waiting waiting"),
        (["0.done", "1.claim.001", "1.fail.001.crash"], "done ready waiting waiting waiting"),
        (["1.held.001"], "ready held waiting waiting waiting"),
        # A result that is there stays one, whatever became of what it was made from.
        (["2.done"], "ready waiting done ready waiting"),
        (["1.claim.001", "1.fail.001.cancelled"], "ready failed waiting waiting waiting"),
    ],
)
def test_states_when_one_takes_results_then_it_waits_for_them(
    tmp_path: Path, names: Sequence[str], expected: str
) -> None:
    assert names_of(batch_of(tmp_path, CHAIN, *names)) == expected.split()


def test_states_when_the_source_is_in_another_shard_then_it_is_found(tmp_path: Path) -> None:
    after = {0: (2500,), 1700: (0, 2500), 2500: ()}
    batch = make_batch(tmp_path, [replace(make_item(n), after=after[n]) for n in after], after=after)
    assert names_of(batch) == ["waiting", "waiting", "ready"]
    make_names(batch, "2500.done")
    assert names_of(batch) == ["ready", "waiting", "done"]


def test_state_when_waiting_then_it_has_the_attempt_that_it_would_have(tmp_path: Path) -> None:
    batch = batch_of(tmp_path, {1: (0,)}, "1.claim.001", "1.fail.001.lost", count=2)
    found = dict(states(batch.paths, [0, 1], batch.settings))
    assert (found[1].name, found[1].attempt) == (WAITING, 2)


def test_waits_when_asked_for_causes_then_those_that_don_t_wait_themselves(tmp_path: Path) -> None:
    after = {2: (0, 1), 3: (2,), 4: (3, 0)}
    batch = batch_of(tmp_path, after, "0.claim.001", "1.claim.001", "1.fail.001.input")
    waits = Waits(batch)
    assert [(item_id, state.name.value) for item_id, state in waits.causes(4)] == [(0, "running"), (1, "failed")]
    assert waits.causes(0) == []
    assert [waits.may_end(number) for number in (2, 3, 4)] == [False, False, False]


@pytest.mark.parametrize(
    ("names", "may_end"),
    [
        ([], True),
        (["0.claim.001"], True),
        (["0.held.001"], False),
        (["0.done", "1.held.001"], False),
        (["0.done"], True),
    ],
)
def test_waits_when_the_beginning_of_a_chain_is_under_way_then_it_may_end(
    tmp_path: Path, names: Sequence[str], may_end: bool
) -> None:
    assert Waits(batch_of(tmp_path, CHAIN, *names)).may_end(4) is may_end


def test_waits_when_the_batch_is_damaged_and_goes_round_then_it_ends_all_the_same(tmp_path: Path) -> None:
    batch = batch_of(tmp_path, {0: (1,), 1: (2,), 2: (0,)}, count=3)
    assert not Waits(batch).may_end(0)
    assert Waits(batch).causes(0) == []


@st.composite
def batches(draw: st.DrawFn) -> tuple[dict[int, tuple[int, ...]], list[str]]:
    count = draw(st.integers(1, 7))
    order = draw(st.permutations(range(count)))
    after = {
        node: tuple(draw(st.sets(st.sampled_from(order[:place]), max_size=3))) if place else ()
        for place, node in enumerate(order)
    }
    marks = ["done", "claim.001", "held.001", "fail.001.input", "moved", ""]
    return after, [draw(st.sampled_from(marks)) for _ in range(count)]


@given(batches())
def test_waits_when_any_batch_then_as_by_definition(
    tmp_path_factory: pytest.TempPathFactory, case: tuple[dict[int, tuple[int, ...]], list[str]]
) -> None:
    after, marks = case
    names = [f"{number}.{mark}" for number, mark in enumerate(marks) if mark]
    batch = batch_of(tmp_path_factory.mktemp("batch"), after, *names, count=len(after))
    found: dict[int, State] = dict(states(batch.paths, batch.items.ids, batch.settings))
    finished = (StateName.DONE, StateName.COLLECTED)

    def may_end(number: int) -> bool:
        left = [one for one in after[number] if found[one].name not in finished]
        return all(found[one].name in (READY, RUNNING) or (found[one].name is WAITING and may_end(one)) for one in left)

    def causes(number: int) -> set[int]:
        left = [one for one in after[number] if found[one].name not in finished]
        return {cause for one in left for cause in (causes(one) if found[one].name is WAITING else {one})}

    waits = Waits(batch)
    for number, state in found.items():
        lacks = any(found[one].name not in finished for one in after[number])
        assert (state.name is WAITING) == (not marks[number] and lacks)
        if state.name is WAITING:
            assert waits.may_end(number) == may_end(number)
            assert {cause for cause, _ in waits.causes(number)} == causes(number)
    parts = levels(list(found), after)
    assert sorted(number for part in parts for number in part) == sorted(found)
    place = {number: at for at, part in enumerate(parts) for number in part}
    assert all(place[source] < place[number] for number in after for source in after[number])
    assert len(parts) == 1 or any(after.values()), "nothing is split without need"


def test_levels_when_only_some_are_meant_then_the_others_don_t_count() -> None:
    assert levels([1, 3], CHAIN) == [[1, 3]]
    assert levels([0, 1, 2], {1: (0,)}) == [[0, 2], [1]]
    assert levels([0, 1], {0: (1,), 1: (0,)}) == [[0, 1]]
    assert levels([], {}) == []


def test_item_and_settings_when_written_then_the_new_keys_are_there_only_if_set(tmp_path: Path) -> None:
    plain = json.loads(make_item(3).to_line())
    assert not {"group", "priority", "after"} & set(plain)
    item = replace(make_item(3), group="march", priority=-2, after=(1, 2))
    assert json.loads(item.to_line()) | {"group": "march", "priority": -2, "after": [1, 2]} == json.loads(
        item.to_line()
    )
    assert Item.from_line(item.to_line()) == item
    batch = batch_of(tmp_path, {1: (0,)}, count=2)
    data = batch.settings.to_json()
    assert data["after"] == {"1": [0]}
    assert Settings.from_json(json.loads(json.dumps(data))).after == {1: (0,)}
    old = {key: value for key, value in data.items() if key not in ("after", "idle_s")}
    assert Settings.from_json(old).after == {}
    assert Settings.from_json(old).idle_s == 600.0
