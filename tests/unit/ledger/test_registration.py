"""Registrations: one batch a tomodir, whatever the .crh file turns out to hold."""

from __future__ import annotations

import dataclasses
import errno
import json
import os
import shutil
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from crh_batch.errors import TomodirError
from crh_batch.ledger.batch import Batch, counts
from crh_batch.ledger.identity import this_process
from crh_batch.ledger.registration import Registration, read_registration, register, remove_registration
from unit.ledger.making import ELSEWHERE, failing, make_batch

BreakCall = Callable[[str, Callable[..., object]], None]


@pytest.fixture
def batch(tmp_path: Path) -> Batch:
    return make_batch(tmp_path, 3)


@pytest.fixture
def tomodir(tmp_path: Path) -> Path:
    directory = tmp_path / "line1" / "td07"
    directory.mkdir(parents=True)
    return directory


def crh(tomodir: Path) -> Path:
    return tomodir.with_name(tomodir.name + ".crh")


def test_register_when_the_tomodir_is_free_then_the_file_has_cr_hydras_keys_and_ours(
    batch: Batch, tomodir: Path
) -> None:
    assert register(str(tomodir), batch.paths, 2, ELSEWHERE, "mod+inv") is None
    text = crh(tomodir).read_text()
    assert text.endswith("}\n") and text.count("\n") == 1
    data = json.loads(text)
    assert len(data.pop("datetime_init")) == len("2026-11-22 10:15:00")
    assert data == {
        "source_computer": "elsewhere",
        "sim_type": "mod+inv",
        "crh_file": str(crh(tomodir)),
        "username": "somebody",
        "sim_id": 2,
        "schema": 1,
        "batch": batch.batch_id,
        "batch_dir": f"../.crh-batch/{batch.batch_id}",
        "id": 2,
        "registrant": {
            "host": "elsewhere",
            "boot_id": "another-boot",
            "pid": 4711,
            "started": 99,
            "user": "somebody",
            "namespace": "pid:[1]",
        },
    }
    assert os.listdir(tomodir) == [], "nothing is written into the tomodir"


def test_read_registration_when_one_was_made_then_it_says_whose(batch: Batch, tomodir: Path) -> None:
    register(str(tomodir), batch.paths, 2, ELSEWHERE, "inv")
    found = read_registration(str(tomodir))
    assert found is not None
    assert (found.batch_id, found.item_id, found.registrant, found.flaw) == (batch.batch_id, 2, ELSEWHERE, "")
    assert found.batch_directory == batch.paths.directory
    assert "somebody on elsewhere, process 4711" in found.describe()
    assert batch.batch_id in found.describe()


def test_read_registration_when_there_is_none_then_none(tomodir: Path) -> None:
    assert read_registration(str(tomodir)) is None


def test_register_when_somebody_has_it_then_their_registration(batch: Batch, tomodir: Path) -> None:
    register(str(tomodir), batch.paths, 0, ELSEWHERE, "inv")
    before = crh(tomodir).read_bytes()
    found = register(str(tomodir), batch.paths, 0, this_process(), "inv")
    assert found is not None and found.registrant == ELSEWHERE
    assert crh(tomodir).read_bytes() == before


def test_register_when_link_works_and_reports_that_it_exists_then_it_is_ours(
    batch: Batch, tomodir: Path, break_call: BreakCall
) -> None:
    """RACE: a retransmitted call on NFS reports EEXIST for one's own success."""

    def link(source: str, target: str) -> None:
        os.link(source, target)
        raise FileExistsError(errno.EEXIST, "File exists")

    break_call("link", link)
    assert register(str(tomodir), batch.paths, 1, this_process(), "inv") is None


def test_register_when_the_same_tomodir_comes_under_two_numbers_then_the_second_is_refused(
    batch: Batch, tomodir: Path
) -> None:
    """A tomodir that is found by two ways (a symbolic link above it) must not become two items of one batch."""
    who = this_process()
    assert register(str(tomodir), batch.paths, 0, who, "inv") is None
    found = register(str(tomodir), batch.paths, 1, who, "inv")
    assert found is not None and found.item_id == 0


def test_register_when_another_client_comes_between_check_and_creation_then_one_has_it(
    batch: Batch, tomodir: Path, tmp_path: Path, break_call: BreakCall
) -> None:
    """Both have looked and found nothing (cr_hydra's error 3); the other one is a moment earlier."""
    other = make_batch(tmp_path / "line1", 1)
    answers: list[Registration | None] = []

    def link(source: str, target: str) -> None:
        if not answers:
            answers.append(Registration("under way"))
            answers[0] = register(str(tomodir), other.paths, 0, ELSEWHERE, "inv")
        os.link(source, target)

    break_call("link", link)
    found = register(str(tomodir), batch.paths, 1, this_process(), "inv")
    assert answers == [None]
    assert found is not None and found.batch_id == other.batch_id


@pytest.mark.parametrize("links", [True, False])
def test_register_when_many_clients_want_one_tomodir_then_one_gets_it(
    batch: Batch, tomodir: Path, break_call: BreakCall, links: bool
) -> None:
    if not links:
        break_call("link", failing(errno.EPERM))
    barrier = threading.Barrier(8)
    answers: list[Registration | None] = []

    def want(number: int) -> None:
        barrier.wait()
        who = dataclasses.replace(ELSEWHERE, pid=number)
        answers.append(register(str(tomodir), batch.paths, 0, who, "inv"))

    threads = [threading.Thread(target=want, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(answers) == 8
    assert answers.count(None) == 1


@pytest.mark.parametrize(
    "name", ["td\n07", "td \u00e4\u4e2d\U0001f30b", os.fsdecode(b"td\xff"), "td'\"$(x)", "x" * 251]
)
def test_register_when_a_name_is_odd_then_it_works_all_the_same(batch: Batch, tmp_path: Path, name: str) -> None:
    tomodir = tmp_path / name
    tomodir.mkdir()
    assert register(str(tomodir), batch.paths, 0, this_process(), "inv") is None
    found = read_registration(str(tomodir))
    assert found is not None and found.item_id == 0
    assert remove_registration(found)
    assert not crh(tomodir).exists()


def test_register_when_a_name_leaves_no_room_for_the_suffix_then_a_tomodir_error(batch: Batch, tmp_path: Path) -> None:
    tomodir = tmp_path / ("x" * 255)
    tomodir.mkdir()
    with pytest.raises(TomodirError, match="File name too long") as caught:
        register(str(tomodir), batch.paths, 0, this_process(), "inv")
    assert caught.value.path == str(tomodir)
    assert "leave room for .crh" in caught.value.next_step


@pytest.mark.parametrize("call", ["open", "write", "link"])
def test_register_when_there_is_no_space_then_a_tomodir_error_and_nothing_is_left(
    batch: Batch, tomodir: Path, break_call: BreakCall, call: str
) -> None:
    break_call(call, failing(errno.ENOSPC))
    with pytest.raises(TomodirError, match="No space left"):
        register(str(tomodir), batch.paths, 0, this_process(), "inv")
    assert not crh(tomodir).exists()
    assert os.listdir(os.path.dirname(batch.paths.registering(0))) == []


def test_register_when_the_path_ends_in_a_slash_then_the_file_stands_beside_the_tomodir(
    batch: Batch, tomodir: Path
) -> None:
    assert register(f"{tomodir}/", batch.paths, 0, this_process(), "inv") is None
    assert crh(tomodir).is_file()


@pytest.mark.parametrize(
    ("content", "flaw"),
    [
        (b"", "empty"),
        (b"\n", "not JSON"),
        (b"running\n", "not JSON"),
        (b'{"schema": 1, "batch": "20261122-10', "not JSON"),
        (b"[]", "not JSON"),
        (b"\xff\xfe\x00", "not JSON"),
        (b"[" * 60_000, "not JSON"),
        (b'{"schema": 2}', "schema 2"),
        # As cr_hydra 0.4.0 writes them.
        (
            b'{"datetime_init": "20230101_1200", "source_computer": "mara", "sim_type": "inv", '
            b'"crh_file": "/home/u/td07.crh", "username": "u", "sim_id": 17}',
            "not made by crh-batch",
        ),
        (b'{"schema": 1, "batch": 5, "batch_dir": "x", "id": 1}', "not made by crh-batch"),
        (b'{"schema": 1, "batch": "b", "batch_dir": "x", "id": "1"}', "not made by crh-batch"),
        (b'{"schema": 1, "batch": "b", "id": 1}', "not made by crh-batch"),
        (b" " * 70_000, "too large"),
    ],
)
def test_read_registration_when_the_file_is_no_registration_then_its_flaw_says_why(
    tomodir: Path, content: bytes, flaw: str
) -> None:
    crh(tomodir).write_bytes(content)
    found = read_registration(str(tomodir))
    assert found is not None
    assert flaw in found.flaw
    assert found.describe() == found.flaw
    assert found.half_made is (content == b"")
    assert crh(tomodir).read_bytes() == content


def _make_directory(path: Path) -> None:
    path.mkdir()


def _make_fifo(path: Path) -> None:
    os.mkfifo(path)


def _make_link_to_nowhere(path: Path) -> None:
    path.symlink_to("nowhere")


def _make_link_to_file(path: Path) -> None:
    (path.parent / "precious").write_bytes(b"precious")
    path.symlink_to("precious")


NOT_PLAIN = [_make_directory, _make_fifo, _make_link_to_nowhere, _make_link_to_file]


@pytest.mark.parametrize("make", NOT_PLAIN)
def test_read_registration_when_something_else_stands_there_then_it_is_a_flaw(
    tomodir: Path, make: Callable[[Path], None]
) -> None:
    make(crh(tomodir))
    found = read_registration(str(tomodir))
    assert found is not None and "not a plain file" in found.flaw


@pytest.mark.timeout(20)
@pytest.mark.parametrize("make", NOT_PLAIN)
def test_remove_registration_when_something_else_stands_there_then_it_stays(
    tomodir: Path, make: Callable[[Path], None]
) -> None:
    """Asked for by ``submit --force``; a pipe must not be waited for, and a directory is no reason to crash."""
    make(crh(tomodir))
    found = read_registration(str(tomodir))
    assert found is not None
    assert remove_registration(found) is False
    assert os.path.lexists(crh(tomodir))


def test_register_when_something_else_stands_there_then_it_is_refused_with_the_flaw(
    batch: Batch, tomodir: Path
) -> None:
    crh(tomodir).mkdir()
    found = register(str(tomodir), batch.paths, 0, this_process(), "inv")
    assert found is not None and "not a plain file" in found.flaw


def test_remove_registration_when_it_is_as_read_then_it_goes(batch: Batch, tomodir: Path) -> None:
    register(str(tomodir), batch.paths, 0, this_process(), "inv")
    found = read_registration(str(tomodir))
    assert found is not None
    assert remove_registration(found) is True
    assert not crh(tomodir).exists()
    assert remove_registration(found) is True, "somebody else has removed it"


def test_remove_registration_when_it_is_another_one_by_now_then_it_stays(
    batch: Batch, tomodir: Path, tmp_path: Path
) -> None:
    register(str(tomodir), batch.paths, 0, this_process(), "inv")
    found = read_registration(str(tomodir))
    assert found is not None
    crh(tomodir).unlink()
    other = make_batch(tmp_path / "line1", 1)
    register(str(tomodir), other.paths, 0, ELSEWHERE, "inv")
    assert remove_registration(found) is False
    now = read_registration(str(tomodir))
    assert now is not None and now.batch_id == other.batch_id


def test_read_registration_when_the_tree_was_moved_then_it_still_leads_to_its_batch(
    batch: Batch, tomodir: Path, tmp_path: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    register(str(tomodir), batch.paths, 2, this_process(), "inv")
    moved = tmp_path_factory.mktemp("elsewhere") / "survey"
    shutil.move(tmp_path, moved)
    found = read_registration(str(moved / "line1" / "td07"))
    assert found is not None
    assert found.batch_directory == str(moved / ".crh-batch" / batch.batch_id)
    assert counts(found.batch_directory)
