"""What a command is meant for: a batch, a part of it, or all that is unfinished here."""

from __future__ import annotations

import json
import os
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from crh_batch.cli.targets import current_targets, find_one_target, find_target, find_targets, find_tomodir
from crh_batch.errors import BatchNotFound
from crh_batch.ledger.batch import Batch
from crh_batch.ledger.identity import this_process
from crh_batch.ledger.registration import register
from unit.ledger.making import make_batch, make_item, make_names

PATHS = ["line1/td1", "line1/td10", "line2/td2", "line10/td3"]
OLDER, NEWER = "20251122-101500-aaaa", "20261122-101500-bbbb"


def make_named_batch(root: Path, name: str, paths: list[str]) -> Batch:
    """A batch of a chosen name, hence age."""
    directory = root / ".crh-batch" / name
    for part in ("names/000", "sessions", "packs", "registering", "logs"):
        (directory / part).mkdir(parents=True)
    settings = {
        "schema": 1,
        "links": "symlink",
        "classes": [[1, 0, len(paths)]],
        "programs": {},
        "charged_attempts": 3,
        "walltime_attempts": 5,
    }
    (directory / "batch.json").write_text(json.dumps(settings))
    lines = [make_item(number, path).to_line() for number, path in enumerate(paths)]
    (directory / "items.jsonl").write_bytes(b"".join(lines))
    return Batch(str(directory))


def make_tomodir(path: Path) -> Path:
    (path / "exe").mkdir(parents=True)
    (path / "exe" / "crtomo.cfg").touch()
    return path


@pytest.fixture
def survey(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Two batches of the same four tomodirs."""
    root = tmp_path / "survey"
    for path in PATHS:
        make_tomodir(root / path)
    make_named_batch(root, OLDER, PATHS)
    make_named_batch(root, NEWER, PATHS)
    monkeypatch.chdir(root)
    return root


@pytest.mark.parametrize(
    ("where", "cwd", "batch", "only"),
    [
        ("", ".", NEWER, None),
        ("", "line1", NEWER, None),
        (".", ".", NEWER, None),
        (OLDER, ".", OLDER, None),
        (OLDER, "line1/td1", OLDER, None),
        (f".crh-batch/{OLDER}", ".", OLDER, None),
        ("line1", ".", NEWER, {0, 1}),
        (".", "line1", NEWER, {0, 1}),
        ("line2/", ".", NEWER, {2}),
        # td10 does not lie in td1, nor line10 in line1.
        ("line1/td1", ".", NEWER, {0}),
        ("../td1", "line1/td10", NEWER, {0}),
        (".crh-batch", ".", NEWER, set()),
    ],
)
def test_find_target_when_something_is_named_then_its_batch_and_part(
    survey: Path, monkeypatch: pytest.MonkeyPatch, where: str, cwd: str, batch: str, only: set[int] | None
) -> None:
    monkeypatch.chdir(survey / cwd)
    target = find_target(where)
    assert target.batch.batch_id == batch
    assert target.only == (None if only is None else frozenset(only))
    assert [target.takes(item) for item in target.batch.items] == [only is None or n in only for n in range(4)]


def test_find_targets_when_several_are_of_one_batch_then_they_are_joined(survey: Path) -> None:
    (target,) = find_targets(["line1/td1", "line2"])
    assert target.only == frozenset({0, 2})
    (target,) = find_targets(["line1/td1", NEWER])
    assert target.only is None
    (target,) = find_targets([])
    assert (target.batch.batch_id, target.only) == (NEWER, None)
    assert [one.batch.batch_id for one in find_targets([OLDER, "line1"])] == [OLDER, NEWER]


def test_current_targets_when_nothing_is_named_then_the_unfinished_and_the_newest(survey: Path) -> None:
    older, newer = (Batch(str(survey / ".crh-batch" / name)) for name in (OLDER, NEWER))
    make_names(newer, *(f"{number}.collected" for number in range(4)))
    make_names(older, "0.collected", "1.fail.001.input", "2.done", "3.collected")
    assert [one.batch.batch_id for one in current_targets("")] == [OLDER, NEWER]
    make_names(older, "2.collected")
    assert [one.batch.batch_id for one in current_targets("")] == [NEWER]
    assert [one.batch.batch_id for one in current_targets(OLDER)] == [OLDER]


def test_find_tomodir_when_it_is_registered_then_the_batch_of_its_crh(survey: Path) -> None:
    older = Batch(str(survey / ".crh-batch" / OLDER))
    register(str(survey / "line2/td2"), older.paths, 2, this_process(), "inv")
    batch, item_id = find_tomodir("line2/td2")
    assert (batch.batch_id, item_id) == (OLDER, 2)
    target = find_target("line2/td2")
    assert (target.batch.batch_id, target.only) == (OLDER, frozenset({2}))


def test_find_tomodir_when_it_is_not_registered_then_the_newest_batch_that_has_it(survey: Path) -> None:
    make_named_batch(survey, "20271122-101500-cccc", ["line1/td1"])
    assert find_tomodir("line2/td2")[0].batch_id == NEWER
    assert find_tomodir("line1/td1/")[0].batch_id == "20271122-101500-cccc"


def test_find_tomodir_when_it_was_copied_with_its_crh_then_it_is_not_taken_for_the_original(survey: Path) -> None:
    """``cancel copy`` would give the original up."""
    newer = Batch(str(survey / ".crh-batch" / NEWER))
    register(str(survey / "line1/td1"), newer.paths, 0, this_process(), "inv")
    shutil.copytree(survey / "line1/td1", survey / "line1/copy")
    shutil.copy(survey / "line1/td1.crh", survey / "line1/copy.crh")
    with pytest.raises(BatchNotFound, match="copy"):
        find_tomodir("line1/copy")


def test_find_tomodir_when_its_batch_is_half_made_then_no_other_one_is_taken_for_it(survey: Path) -> None:
    """Its number there means another tomodir in every other batch."""
    half = make_named_batch(survey, "20271122-101500-half", PATHS)
    register(str(survey / "line1/td1"), half.paths, 2, this_process(), "inv")
    os.unlink(half.paths.items)
    batch, item_id = find_tomodir("line1/td1")
    assert (batch.batch_id, item_id) == (NEWER, 0)


@pytest.mark.parametrize("content", [b"", b"garbage"])
def test_find_tomodir_when_the_crh_says_nothing_then_the_newest_batch_that_has_it(survey: Path, content: bytes) -> None:
    (survey / "line1/td10.crh").write_bytes(content)
    batch, item_id = find_tomodir("line1/td10")
    assert (batch.batch_id, item_id) == (NEWER, 1)


def test_find_tomodir_when_no_batch_has_it_then_it_says_so(survey: Path) -> None:
    make_tomodir(survey / "new")
    with pytest.raises(BatchNotFound, match="new: no batch") as caught:
        find_tomodir("new")
    assert "crh-batch check" in caught.value.next_step


# ---------------------------------------------------------------- groups


def of_groups(root: Path, *groups: str) -> Batch:
    return make_batch(root, [replace(make_item(number), group=group) for number, group in enumerate(groups)])


def test_group_when_no_batch_is_named_then_all_that_have_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = of_groups(tmp_path, "north", "south", "", "north")
    of_groups(tmp_path, "south")
    third = of_groups(tmp_path, "", "north")
    monkeypatch.chdir(tmp_path)
    found = [(one.batch.batch_id, one.only) for one in find_targets((), "north")]
    assert found == [(first.batch_id, frozenset({0, 3})), (third.batch_id, frozenset({1}))]
    assert find_one_target("", "north").batch.batch_id == third.batch_id
    assert [one.only for one in current_targets(first.paths.directory, "north")] == [frozenset({0, 3})]


def test_group_when_nothing_has_it_then_the_known_ones_are_named(tmp_path: Path) -> None:
    batch = of_groups(tmp_path, "south", "north", "")
    with pytest.raises(BatchNotFound, match="There are: north, south"):
        find_targets((batch.paths.directory,), "nort")
