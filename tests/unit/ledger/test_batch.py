"""Batches on disk: from nothing to usable, found again, read when damaged."""

from __future__ import annotations

import errno
import json
import os
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from crh_batch.errors import BatchNotFound, LedgerError, NewerSchema
from crh_batch.ledger import batch as batch_module
from crh_batch.ledger.batch import Batch, batches_of, counts, find_batches, new_batch, open_batch
from crh_batch.ledger.items import Item, Items, write_items
from crh_batch.ledger.names import RetryPolicy
from crh_batch.ledger.paths import BatchPaths
from crh_batch.ledger.settings import ItemClass, Settings, read_settings, write_settings
from unit.ledger.making import failing, make_batch, make_item

BreakCall = Callable[[str, Callable[..., object]], None]


def batch_of_name(root: Path, name: str, *, items: str = '{"id":0,"path":"td0"}\n') -> Path:
    """A batch's directory of a chosen name."""
    directory = root / ".crh-batch" / name
    directory.mkdir(parents=True)
    settings = {
        "schema": 1,
        "links": "symlink",
        "classes": [],
        "programs": {},
        "charged_attempts": 3,
        "walltime_attempts": 5,
    }
    (directory / "batch.json").write_text(json.dumps(settings))
    if items:
        (directory / "items.jsonl").write_text(items)
    return directory


def test_new_batch_when_made_then_it_has_its_directories_and_does_not_count_yet(tmp_path: Path) -> None:
    paths = new_batch(str(tmp_path), 1001)
    assert os.path.dirname(paths.directory) == str(tmp_path / ".crh-batch")
    assert sorted(os.listdir(paths.directory)) == ["bin", "jobs", "logs", "names", "packs", "registering", "sessions"]
    assert sorted(os.listdir(paths.names)) == ["000", "001"]
    assert os.stat(paths.directory).st_mode & 0o077 == 0, "others can't read or write it"
    assert not counts(paths.directory)
    assert batches_of(str(tmp_path)) == []
    assert paths.root == str(tmp_path)


def test_new_batch_when_there_are_too_many_tomodirs_then_a_ledger_error(tmp_path: Path) -> None:
    with pytest.raises(LedgerError, match="1000001 tomodirs"):
        new_batch(str(tmp_path), 1_000_001)
    assert os.listdir(tmp_path) == []


def test_new_batch_when_the_directory_cannot_be_made_then_a_ledger_error_names_it(tmp_path: Path) -> None:
    (tmp_path / ".crh-batch").write_text("in the way")
    with pytest.raises(LedgerError, match=r"\.crh-batch") as caught:
        new_batch(str(tmp_path), 1)
    assert caught.value.path.startswith(str(tmp_path))


def test_settings_when_written_and_read_then_the_same(tmp_path: Path) -> None:
    settings = Settings(
        links="file",
        classes=(ItemClass(5, 0, 3), ItemClass(1, 3, 10)),
        programs={"CRMod": {"file": "CRMod-0123", "sha256": "01"}},
        policy=RetryPolicy(2, 7),
        scratch="$TMPDIR",
        extra={"version": "0.1.0", "profile": {"partition": "work"}},
    )
    paths = new_batch(str(tmp_path), 10)
    write_settings(paths, settings)
    assert read_settings(paths) == settings
    data = json.loads(Path(paths.settings).read_text())
    assert data["schema"] == 1
    assert data["classes"] == [[5, 0, 3], [1, 3, 10]]
    assert data["version"] == "0.1.0"


@pytest.mark.parametrize(
    "text", ["", "garbage", "[]", "5", "null", "{}", '{"schema": 1, "links": "symlink"}', '{"schema": 1, "classes": 5}']
)
def test_read_settings_when_batch_json_is_damaged_then_a_ledger_error_names_it(tmp_path: Path, text: str) -> None:
    directory = batch_of_name(tmp_path, "20261122-101500-k3f9")
    (directory / "batch.json").write_text(text)
    with pytest.raises(LedgerError) as caught:
        Batch(str(directory))
    assert caught.value.path == str(directory / "batch.json")


def test_read_settings_when_the_schema_is_newer_then_both_versions_are_named(tmp_path: Path) -> None:
    directory = batch_of_name(tmp_path, "20261122-101500-k3f9")
    (directory / "batch.json").write_text('{"schema": 7, "whatever": true}')
    with pytest.raises(NewerSchema) as caught:
        Batch(str(directory))
    assert (caught.value.found, caught.value.known) == (7, 1)


def test_read_settings_when_there_is_no_batch_json_then_it_is_no_batch(tmp_path: Path) -> None:
    with pytest.raises(BatchNotFound, match="not a batch"):
        Batch(str(tmp_path))


def test_item_when_written_and_read_then_the_same_and_its_id_stands_first() -> None:
    item = make_item(17, "line1/td\n\u00e4" + os.fsdecode(b"\xff"), threads=5)
    line = item.to_line()
    assert line.startswith(b'{"id":17,"path":')
    assert line.endswith(b"}\n") and line.count(b"\n") == 1
    assert Item.from_line(line) == item


def test_items_when_read_then_each_by_its_number(tmp_path: Path) -> None:
    batch = make_batch(tmp_path, 3)
    assert list(batch.items.ids) == [0, 1, 2]
    assert len(batch.items) == 3
    assert [batch.items[number].path for number in (2, 0, 1)] == ["td2", "td0", "td1"]
    assert [item.path for item in batch.items] == ["td0", "td1", "td2"]
    assert 2 in batch.items
    assert 3 not in batch.items
    assert -1 not in batch.items
    assert batch.tomodir(batch.items[1]) == str(tmp_path / "td1")


def test_items_when_some_numbers_are_missing_then_each_by_its_number(tmp_path: Path) -> None:
    """Tomodirs that somebody else registered meanwhile leave gaps."""
    batch = make_batch(tmp_path, [make_item(number) for number in (1, 4, 1000)])
    assert list(batch.items.ids) == [1, 4, 1000]
    assert [batch.items[number].path for number in (1000, 1, 4)] == ["td1000", "td1", "td4"]
    assert [item.item_id for item in batch.items] == [1, 4, 1000]
    assert 0 not in batch.items
    assert 4 in batch.items
    assert len(batch.items) == 3


@pytest.mark.parametrize(
    "line",
    [
        b"garbage\n",
        b"\n",
        b'{"path":"td1","id":1}\n',
        b'{"id":x,"path":"td1"}\n',
        b'{"id":1}\n',
        b'{"id":1 garbage\n',
        b'{"id":99999999999999999999999,"path":"td1"}\n',
        b'{"id":1,"path":"td1","stages":[]}',
    ],
)
def test_items_when_a_line_is_damaged_then_a_ledger_error_names_file_and_line(tmp_path: Path, line: bytes) -> None:
    batch = make_batch(tmp_path, 1)
    with open(batch.paths.items, "ab") as stream:
        stream.write(line)
    with pytest.raises(LedgerError, match=r"items\.jsonl: line 2 is damaged") as caught:
        list(Batch(batch.paths.directory).items)
    assert caught.value.path == batch.paths.items


@pytest.mark.parametrize("path", ["../td0", "/tmp", "a/../../b", "", "a//b", "a\0b"])
def test_items_when_a_path_leads_out_of_the_root_then_that_line_is_damaged(tmp_path: Path, path: str) -> None:
    batch = make_batch(tmp_path, [make_item(0), replace(make_item(1), path=path)])
    assert batch.items[0].path == "td0"
    with pytest.raises(LedgerError, match=r"items\.jsonl: line 2 is damaged"):
        batch.items[1]


@pytest.mark.parametrize(
    "line", [b'{"id":1,"path":\n', b'{"id":1,"path":"td1"}\n', b'{"id":1,"path":"td1","threads":"many"}\n']
)
def test_items_when_only_the_end_of_a_line_is_damaged_then_the_others_can_be_read(tmp_path: Path, line: bytes) -> None:
    batch = make_batch(tmp_path, 1)
    with open(batch.paths.items, "ab") as stream:
        stream.write(line)
    items = Batch(batch.paths.directory).items
    assert items[0].path == "td0"
    with pytest.raises(LedgerError, match="line 2 is damaged"):
        items[1]


def test_write_items_when_they_exist_then_they_stay(tmp_path: Path) -> None:
    batch = make_batch(tmp_path, 1)
    assert write_items(batch.paths, [make_item(5)]) is False
    assert list(Batch(batch.paths.directory).items.ids) == [0]


def test_write_items_when_an_empty_list_closed_the_batch_then_it_never_counts(tmp_path: Path) -> None:
    """A client takes over a half-made batch; the one that was only slow finds out here."""
    paths = new_batch(str(tmp_path), 1)
    assert write_items(paths, []) is True
    assert not counts(paths.directory)
    assert write_items(paths, [make_item(0)]) is False
    assert not counts(paths.directory)
    assert batches_of(str(tmp_path)) == []


@pytest.mark.parametrize("call", ["write", "fsync"])
def test_write_items_when_there_is_no_space_then_the_batch_does_not_count(
    tmp_path: Path, break_call: BreakCall, call: str
) -> None:
    paths = new_batch(str(tmp_path), 1)
    break_call(call, failing(errno.ENOSPC))
    with pytest.raises(OSError):
        write_items(paths, [make_item(0)])
    assert not os.path.exists(paths.items)
    assert not counts(paths.directory)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("20261122-101500-k3f9", True),
        ("20261122-101500-k3f9abcd", True),
        ("20261122-101500-k3", False),
        ("20261122-101500-K3F9", False),
        ("20261122-101500", False),
        ("20261122-101500-k3f9/", False),
        ("20261122-101500-k3f9\n", False),
        ("x20261122-101500-k3f9", False),
        ("", False),
    ],
)
def test_is_batch_id_when_asked_then_only_for_the_form_of_a_batch(name: str, expected: bool) -> None:
    assert batch_module.is_batch_id(name) is expected


def test_find_batches_when_they_lie_here_and_above_then_all_by_time(tmp_path: Path) -> None:
    below = tmp_path / "line1" / "deep"
    below.mkdir(parents=True)
    newest = batch_of_name(tmp_path, "20261122-101500-aaaa")
    oldest = batch_of_name(tmp_path / "line1", "20251122-101500-zzzz")
    middle = batch_of_name(tmp_path, "20260101-101500-mmmm")
    batch_of_name(tmp_path, "20271122-101500-half", items="")
    batch_of_name(tmp_path / "other", "20281122-101500-side")
    (tmp_path / ".crh-batch" / "notes.txt").touch()
    assert find_batches(str(below)) == [str(oldest), str(middle), str(newest)]


def test_open_batch_when_nothing_is_named_then_the_newest_at_or_above(tmp_path: Path) -> None:
    below = tmp_path / "line1"
    below.mkdir()
    newest = batch_of_name(tmp_path, "20261122-101500-aaaa")
    batch_of_name(below, "20251122-101500-zzzz")
    assert open_batch("", str(below)).paths.directory == str(newest)
    assert open_batch(str(below)).paths.directory == str(newest)


def test_open_batch_when_an_id_is_named_then_that_one(tmp_path: Path) -> None:
    older = batch_of_name(tmp_path, "20251122-101500-aaaa")
    batch_of_name(tmp_path, "20261122-101500-bbbb")
    assert open_batch("20251122-101500-aaaa", str(tmp_path)).paths.directory == str(older)
    assert open_batch(str(older), "/").paths.directory == str(older)
    assert open_batch(f"{older}/", "/").batch_id == "20251122-101500-aaaa"


@pytest.mark.parametrize("where", ["", "20261122-101500-aaaa", "missing", "."])
def test_open_batch_when_nothing_fits_then_batch_not_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, where: str
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(BatchNotFound) as caught:
        open_batch(where)
    assert caught.value.exit_code == 2
    assert (where or str(tmp_path)) in caught.value.message


def test_open_batch_when_a_half_made_one_is_newer_then_it_is_passed_over(tmp_path: Path) -> None:
    whole = batch_of_name(tmp_path, "20251122-101500-aaaa")
    half = batch_of_name(tmp_path, "20261122-101500-bbbb", items="")
    assert open_batch("", str(tmp_path)).paths.directory == str(whole)
    with pytest.raises(BatchNotFound):
        open_batch("20261122-101500-bbbb", str(tmp_path))
    assert open_batch(str(half)).paths.directory == str(whole), "a directory below the survey is a place in it"


def test_batch_when_its_tree_was_moved_then_it_works_from_there(tmp_path: Path) -> None:
    before = tmp_path / "before"
    before.mkdir()
    batch = make_batch(before, 2)
    shutil.move(before, tmp_path / "after")
    moved = open_batch("", str(tmp_path / "after"))
    assert moved.batch_id == batch.batch_id
    assert moved.tomodir(moved.items[1]) == str(tmp_path / "after" / "td1")


def test_items_when_a_hundred_thousand_are_indexed_then_they_are_not_all_in_memory(tmp_path: Path) -> None:
    """Sixteen bytes of index each."""
    lines = (json.dumps({"id": number, "path": "x" * 100}, separators=(",", ":")) for number in range(1000))
    (tmp_path / "items.jsonl").write_text("\n".join(lines) + "\n")
    items = Items(str(tmp_path / "items.jsonl"))
    held: dict[str, Any] = vars(items)
    sizes = [len(value) * value.itemsize for value in held.values() if hasattr(value, "itemsize")]
    assert sum(sizes) == 16_000
    assert len(items) == 1000


def test_paths_when_asked_then_the_layout_of_the_protocol() -> None:
    paths = BatchPaths("/s/.crh-batch/20261122-101500-k3f9")
    assert paths.batch_id == "20261122-101500-k3f9"
    assert paths.root == "/s"
    assert paths.name(17, "claim.001") == f"{paths.directory}/names/000/000017.claim.001"
    assert paths.name(123_456, "done") == f"{paths.directory}/names/123/123456.done"
    assert paths.session("t") == f"{paths.directory}/sessions/t.crh"
    assert paths.pack("t") == f"{paths.directory}/packs/t.pack"
    assert paths.batch_name("custody.001") == f"{paths.directory}/names/custody.001"


def test_new_batches_sort_after_all_earlier_ones_whatever_the_clock_says(tmp_path: Path) -> None:
    (tmp_path / ".crh-batch" / "20990101-000000-zzzz").mkdir(parents=True)
    made = [new_batch(str(tmp_path), 1).batch_id for _ in range(3)]
    assert [name[:15] for name in made] == ["20990101-000001", "20990101-000002", "20990101-000003"]
