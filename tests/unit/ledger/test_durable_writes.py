"""Files that are whole or not there, before and after a crash."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from crh_batch.ledger import durable
from crh_batch.ledger.durable import create_exclusively, publish_exclusively, sync_directory, sync_many, write_durable
from unit.ledger.making import failing

BreakCall = Callable[[str, Callable[..., object]], None]


def short_write(descriptor: int, data: memoryview) -> int:
    return os.write(descriptor, data[:3])


@pytest.fixture
def recorded(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The calls of the ledger in their order; an fsync says of what."""
    made: list[str] = []

    def record(name: str, describe: Callable[..., str]) -> None:
        real = getattr(durable.calls, name)

        def call(*arguments: object, **keywords: object) -> object:
            made.append(describe(*arguments))
            return real(*arguments, **keywords)

        monkeypatch.setattr(durable.calls, name, call)

    def place(descriptor: int) -> str:
        path = os.readlink(f"/proc/self/fd/{descriptor}")
        return "directory" if os.path.isdir(path) else "file"

    record("write", lambda descriptor, data: "write")
    record("fsync", lambda descriptor: f"fsync {place(descriptor)}")
    record("replace", lambda source, target: "replace")
    record("link", lambda source, target: "link")
    record("unlink", lambda path: "unlink")
    return made


def test_write_durable_when_done_then_content_was_synced_before_the_name_and_the_name_after(
    tmp_path: Path, recorded: list[str]
) -> None:
    write_durable(str(tmp_path / "batch.json"), b"new")
    assert recorded == ["write", "fsync file", "replace", "fsync directory"]
    assert (tmp_path / "batch.json").read_bytes() == b"new"
    assert os.listdir(tmp_path) == ["batch.json"]


def test_write_durable_when_the_file_exists_then_it_is_replaced(tmp_path: Path) -> None:
    (tmp_path / "f").write_bytes(b"old and longer")
    write_durable(str(tmp_path / "f"), b"new")
    assert (tmp_path / "f").read_bytes() == b"new"


def test_write_durable_when_the_path_is_relative_then_it_is_written_here(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    write_durable("f", b"new")
    assert (tmp_path / "f").read_bytes() == b"new"


def test_write_durable_when_write_takes_less_than_it_is_given_then_all_is_written(
    tmp_path: Path, break_call: BreakCall
) -> None:
    break_call("write", short_write)
    write_durable(str(tmp_path / "f"), b"0123456789")
    assert (tmp_path / "f").read_bytes() == b"0123456789"


@pytest.mark.parametrize("step", ["write", "fsync", "replace"])
def test_write_durable_when_a_step_fails_then_the_old_content_stays_and_no_temporary(
    tmp_path: Path, break_call: BreakCall, step: str
) -> None:
    (tmp_path / "f").write_bytes(b"old")
    break_call(step, failing(errno.ENOSPC))
    with pytest.raises(OSError, match="No space left"):
        write_durable(str(tmp_path / "f"), b"new")
    assert (tmp_path / "f").read_bytes() == b"old"
    assert os.listdir(tmp_path) == ["f"]


def test_write_durable_when_the_process_dies_before_the_rename_then_the_old_content_stays(
    tmp_path: Path, break_call: BreakCall
) -> None:
    """Nothing is cleared away then; what is left has a name that nobody takes for a file of the ledger."""
    (tmp_path / "f").write_bytes(b"old")
    break_call("replace", failing(errno.EINTR))
    break_call("unlink", lambda path: None)
    with pytest.raises(OSError):
        write_durable(str(tmp_path / "f"), b"new")
    assert (tmp_path / "f").read_bytes() == b"old"
    (left,) = {name for name in os.listdir(tmp_path) if name != "f"}
    assert left.startswith(".f.") and left.endswith(".part")


def test_write_durable_when_a_mode_is_asked_for_then_the_file_has_it(tmp_path: Path) -> None:
    old = os.umask(0o022)
    try:
        write_durable(str(tmp_path / "program"), b"", mode=0o777)
    finally:
        os.umask(old)
    assert (tmp_path / "program").stat().st_mode & 0o777 == 0o755


def test_create_exclusively_when_free_then_made_and_synced(tmp_path: Path, recorded: list[str]) -> None:
    assert create_exclusively(str(tmp_path / "f"), b"content") is True
    assert (tmp_path / "f").read_bytes() == b"content"
    assert recorded == ["write", "fsync file"]


def test_create_exclusively_when_it_exists_then_untouched(tmp_path: Path) -> None:
    (tmp_path / "f").write_bytes(b"theirs")
    assert create_exclusively(str(tmp_path / "f"), b"ours") is False
    assert (tmp_path / "f").read_bytes() == b"theirs"


@pytest.mark.parametrize("step", ["write", "fsync"])
def test_create_exclusively_when_a_step_fails_then_no_half_made_file_is_left(
    tmp_path: Path, break_call: BreakCall, step: str
) -> None:
    break_call(step, failing(errno.EDQUOT))
    with pytest.raises(OSError):
        create_exclusively(str(tmp_path / "f"), b"content")
    assert os.listdir(tmp_path) == []


def test_publish_exclusively_when_free_then_the_file_is_complete_from_its_first_moment(
    tmp_path: Path, break_call: BreakCall
) -> None:
    path = tmp_path / "td1.crh"
    seen: list[object] = []

    def link(source: str, target: str) -> None:
        seen.append((Path(source).read_bytes(), Path(target).exists()))
        os.link(source, target)
        seen.append(Path(target).read_bytes())

    break_call("link", link)
    break_call("write", short_write)
    assert publish_exclusively(str(path), b"one line\n", str(tmp_path / "temporary")) is True
    assert seen == [(b"one line\n", False), b"one line\n"]
    assert os.listdir(tmp_path) == ["td1.crh"]


def test_publish_exclusively_when_it_exists_then_false_and_untouched(tmp_path: Path) -> None:
    (tmp_path / "td1.crh").write_bytes(b"theirs")
    assert publish_exclusively(str(tmp_path / "td1.crh"), b"ours", str(tmp_path / "temporary")) is False
    assert (tmp_path / "td1.crh").read_bytes() == b"theirs"
    assert os.listdir(tmp_path) == ["td1.crh"]


@pytest.mark.parametrize("number", [errno.EPERM, errno.EXDEV, errno.EOPNOTSUPP, errno.EMLINK])
def test_publish_exclusively_when_hard_links_are_missing_then_it_is_created_in_place(
    tmp_path: Path, break_call: BreakCall, number: int
) -> None:
    break_call("link", failing(number))
    path = str(tmp_path / "td1.crh")
    assert publish_exclusively(path, b"ours", str(tmp_path / "temporary")) is True
    assert Path(path).read_bytes() == b"ours"
    assert publish_exclusively(path, b"theirs", str(tmp_path / "temporary")) is False
    assert Path(path).read_bytes() == b"ours"
    assert os.listdir(tmp_path) == ["td1.crh"]


def test_publish_exclusively_when_the_link_fails_otherwise_then_nothing_is_left(
    tmp_path: Path, break_call: BreakCall
) -> None:
    break_call("link", failing(errno.EIO))
    with pytest.raises(OSError, match="Input/output"):
        publish_exclusively(str(tmp_path / "td1.crh"), b"ours", str(tmp_path / "temporary"))
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize("links", [True, False])
@pytest.mark.parametrize("step", ["write", "fsync"])
def test_publish_exclusively_when_the_content_cannot_be_written_then_never_an_empty_file(
    tmp_path: Path, break_call: BreakCall, step: str, links: bool
) -> None:
    """An empty .crh blocks its tomodir until somebody forces it (cr_hydra's error 4)."""
    if not links:
        break_call("link", failing(errno.EPERM))
    break_call(step, failing(errno.ENOSPC))
    with pytest.raises(OSError):
        publish_exclusively(str(tmp_path / "td1.crh"), b"ours", str(tmp_path / "temporary"))
    assert os.listdir(tmp_path) == []


def test_publish_exclusively_when_two_use_one_temporary_name_then_neither_harms_the_other(
    tmp_path: Path, break_call: BreakCall
) -> None:
    """The second client comes while the first one is about to link."""
    inner: list[bool] = []

    def link(source: str, target: str) -> None:
        if not inner:
            inner.append(False)
            inner[0] = publish_exclusively(target, b"second", str(tmp_path / "temporary"))
        os.link(source, target)

    break_call("link", link)
    assert publish_exclusively(str(tmp_path / "td1.crh"), b"first", str(tmp_path / "temporary")) is False
    assert inner == [True]
    assert (tmp_path / "td1.crh").read_bytes() == b"second"


@pytest.mark.parametrize("number", [errno.EINVAL, errno.ENOTSUP])
def test_sync_directory_when_the_filesystem_has_no_fsync_of_directories_then_it_goes_on(
    tmp_path: Path, break_call: BreakCall, number: int
) -> None:
    break_call("fsync", failing(number))
    sync_directory(str(tmp_path))


def test_sync_directory_when_fsync_fails_then_it_says_so(tmp_path: Path, break_call: BreakCall) -> None:
    break_call("fsync", failing(errno.EIO))
    with pytest.raises(OSError, match="Input/output"):
        sync_directory(str(tmp_path))


@pytest.fixture
def filesystem(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Say what type of filesystem the test's directory lies on."""

    def be(kind: str) -> None:
        monkeypatch.setitem(durable._filesystem_types, os.lstat(tmp_path).st_dev, kind)

    return be


def test_sync_many_when_the_filesystem_is_local_then_one_call_does_it(
    tmp_path: Path, filesystem: Callable[[str], None], break_call: BreakCall
) -> None:
    filesystem("ext4")
    places: list[str] = []

    def sync_filesystem(path: str) -> bool:
        places.append(path)
        return True

    for number in range(3):
        (tmp_path / str(number)).touch()
    break_call("sync_filesystem", sync_filesystem)
    break_call("fsync", failing(errno.EIO))
    sync_many([str(tmp_path / "0"), str(tmp_path / "1"), str(tmp_path / "2")], [str(tmp_path)])
    assert places == [str(tmp_path / "0")]


@pytest.mark.parametrize("kind", ["nfs4", "lustre", "fuse.glusterfs", ""])
def test_sync_many_when_the_filesystem_is_not_known_as_local_then_each_is_synced(
    tmp_path: Path, filesystem: Callable[[str], None], break_call: BreakCall, kind: str
) -> None:
    filesystem(kind)
    (tmp_path / "a").touch()
    (tmp_path / "b").touch()
    synced: list[str] = []
    break_call("sync_filesystem", failing(errno.EIO))
    break_call("fsync", lambda descriptor: synced.append(os.readlink(f"/proc/self/fd/{descriptor}")))
    sync_many([str(tmp_path / "a"), str(tmp_path / "b")], [str(tmp_path)])
    assert sorted(synced) == [str(tmp_path), str(tmp_path / "a"), str(tmp_path / "b")]


def test_sync_many_when_syncfs_is_missing_then_each_is_synced(
    tmp_path: Path, filesystem: Callable[[str], None], break_call: BreakCall
) -> None:
    filesystem("xfs")
    (tmp_path / "a").touch()
    synced: list[str] = []
    break_call("sync_filesystem", lambda path: False)
    break_call("fsync", lambda descriptor: synced.append(os.readlink(f"/proc/self/fd/{descriptor}")))
    sync_many([str(tmp_path / "a")], [str(tmp_path)])
    assert sorted(synced) == [str(tmp_path), str(tmp_path / "a")]


def test_sync_many_when_syncing_fails_then_it_says_so(
    tmp_path: Path, filesystem: Callable[[str], None], break_call: BreakCall
) -> None:
    filesystem("nfs4")
    (tmp_path / "a").touch()
    break_call("fsync", failing(errno.EDQUOT))
    with pytest.raises(OSError, match="quota"):
        sync_many([str(tmp_path / "a")], [])


def test_sync_many_when_it_calls_the_real_syncfs_then_it_works(
    tmp_path: Path, filesystem: Callable[[str], None]
) -> None:
    filesystem("ext4")
    (tmp_path / "a").write_bytes(b"content")
    assert durable.calls.sync_filesystem(str(tmp_path / "a")) is True
    sync_many([str(tmp_path / "a")], [str(tmp_path)])
    assert (tmp_path / "a").read_bytes() == b"content"
