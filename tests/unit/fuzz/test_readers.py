"""Whatever a file, a journal or a command's answer holds, a reader answers or raises an error with a name.

Here a few hundred damaged inputs each; ``make fuzz N=10000`` has as many as one likes.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from crh_batch.errors import Unreachable
from crh_batch.ledger.events import parse_event
from crh_batch.ledger.reading import inside, parse_json
from crh_batch.schedulers.base import MOST_TASKS, expand_tasks
from unit.fuzz.campaign import Failure, try_inputs
from unit.fuzz.mutate import VALUES
from unit.fuzz.of_answers import of_answers
from unit.fuzz.of_ledgers import of_ledgers
from unit.fuzz.of_mirrors import of_mirrors
from unit.fuzz.of_tomodirs import of_tomodirs
from unit.fuzz.of_users import of_users
from unit.fuzz.reader import Reader

INPUTS = 60
MAKERS: dict[str, Callable[[Path], list[Reader]]] = {
    "tomodirs": of_tomodirs,
    "ledgers": of_ledgers,
    "answers": lambda scratch: of_answers(),
    "mirrors": of_mirrors,
    "users": of_users,
}
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=4),
    max_leaves=12,
)
KEYS = st.sampled_from(
    ["event", "time", "id", "attempt", "stage", "stages", "inputs", "record", "iteration", "rms", "error", "finish"]
)


@pytest.mark.parametrize("group", MAKERS)
def test_readers_when_inputs_are_damaged_then_an_answer_or_an_error_with_a_name(tmp_path: Path, group: str) -> None:
    keep = tmp_path / "kept"
    keep.mkdir()
    failures = []
    for reader in MAKERS[group](tmp_path):
        try:
            try_inputs(reader, INPUTS + len(reader.corpus), 20261122, keep, timed=False)
        except Failure as failure:
            failures.append(f"{reader.name}: {failure}")
    assert not failures, "\n".join(failures)


def places(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Every key of a JSON, however deep; of lists the first element."""
    yield path
    if isinstance(value, dict):
        for key in value:
            yield from places(value[key], (*path, key))
    elif isinstance(value, list) and value:
        yield from places(value[0], (*path, 0))


def replaced(value: Any, path: tuple[Any, ...], new: Any) -> Any:
    if not path:
        return new
    if isinstance(value, dict):
        return {**value, path[0]: replaced(value[path[0]], path[1:], new)}
    return [replaced(value[0], path[1:], new), *value[1:]]


@pytest.mark.parametrize("name", [".crh", "batch.json", "items.jsonl", "submissions.jsonl", "liveness.json", "session"])
def test_readers_of_json_when_any_key_has_any_type_then_an_answer_or_an_error_with_a_name(
    tmp_path: Path, name: str
) -> None:
    (reader,) = [one for one in of_ledgers(tmp_path) if one.name == name]
    tried = 0
    for example in reader.corpus:
        lines = [example] if name in (".crh", "batch.json", "liveness.json") else example.split(b"\n")
        for number, line in enumerate(lines):
            whole = json.loads(line or b"0")
            for path in places(whole):
                for value in VALUES[tried % 5 :: 5]:
                    changed = json.dumps(replaced(whole, path, value)).encode()
                    data = b"\n".join([*lines[:number], changed, *lines[number + 1 :]])
                    try:
                        reader.read(data)
                    except reader.errors as error:
                        assert str(error)
                    except Exception as error:
                        pytest.fail(f"{path} = {value!r:.60}: {type(error).__name__}: {error}")
                    tried += 1
    assert tried > 10


@settings(max_examples=200, deadline=None)
@given(st.dictionaries(KEYS, JSON, max_size=6))
def test_parse_event_when_any_json_comes_then_an_event_whose_types_hold_or_none(data: dict[str, Any]) -> None:
    event = parse_event(json.dumps(data).encode() + b"\n")
    if event is None:
        return
    assert isinstance(event["event"], str)
    assert type(event.get("id", 0)) is int
    assert all(isinstance(one, dict) for one in event.get("stages", []))
    assert all(len(one) == 4 for one in event.get("inputs", []))
    assert abs(event.get("time", 0.0)) < 1e12


@settings(max_examples=200, deadline=None)
@given(st.lists(st.sampled_from(["..", ".", "", "a", "b c", "/", "\n"]), max_size=6).map("/".join))
def test_inside_when_any_path_comes_then_one_that_stays_below_or_an_error(path: str) -> None:
    try:
        found = inside(path)
    except ValueError:
        return
    assert found == "" or (not found.startswith("/") and ".." not in found.split("/"))


@pytest.mark.parametrize("data", [b"[" * 100_000, b'{"a":' * 100_000, b"9" * 5000, b"\xff", b"", b"{", b"nul"])
def test_parse_json_when_it_is_none_or_nested_too_deep_then_value_error(data: bytes) -> None:
    with pytest.raises(ValueError):
        parse_json(data)


@pytest.mark.parametrize("text", ["0-99999999999", "0-9999999", ",".join(["0-999999"] * 3)])
def test_expand_tasks_when_there_are_more_than_any_array_has_then_nothing_is_known(text: str) -> None:
    try:
        assert len(expand_tasks(text)) <= MOST_TASKS
    except Unreachable as error:
        assert "more tasks" in error.message
