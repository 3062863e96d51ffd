"""Exclusive names: one winner each, whatever the filesystem says about it."""

from __future__ import annotations

import errno
import os
import re
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from crh_batch.errors import FilesystemUnfit, LedgerError
from crh_batch.ledger import durable
from crh_batch.ledger.durable import FILE, SYMLINK, find_link_kind, read_name, win_name
from unit.ledger.making import failing

BreakCall = Callable[[str, Callable[..., object]], None]
OURS = "../../sessions/ours.crh"
THEIRS = "../../sessions/theirs.crh"


def lying_symlink(number: int) -> Callable[[str, str], None]:
    """symlink(2) that does its work and reports an error, as on NFS after a retransmission."""

    def symlink(target: str, path: str) -> None:
        os.symlink(target, path)
        raise OSError(number, os.strerror(number))

    return symlink


def test_win_name_when_the_name_is_free_then_it_is_won(tmp_path: Path) -> None:
    assert win_name(str(tmp_path / "0.claim.001"), OURS, SYMLINK) is True
    assert os.readlink(tmp_path / "0.claim.001") == OURS


def test_win_name_when_somebody_has_the_name_then_it_is_lost_and_stays_theirs(tmp_path: Path) -> None:
    os.symlink(THEIRS, tmp_path / "0.claim.001")
    assert win_name(str(tmp_path / "0.claim.001"), OURS, SYMLINK) is False
    assert os.readlink(tmp_path / "0.claim.001") == THEIRS


@pytest.mark.parametrize("number", [errno.EEXIST, errno.EIO, errno.ESTALE, errno.ETIMEDOUT])
def test_win_name_when_symlink_works_and_reports_an_error_then_the_link_decides(
    tmp_path: Path, break_call: BreakCall, number: int
) -> None:
    break_call("symlink", lying_symlink(number))
    assert win_name(str(tmp_path / "0.done"), OURS, SYMLINK) is True


def test_win_name_when_symlink_fails_and_another_has_it_then_it_is_lost(tmp_path: Path, break_call: BreakCall) -> None:
    os.symlink(THEIRS, tmp_path / "0.done")
    break_call("symlink", failing(errno.EIO))
    assert win_name(str(tmp_path / "0.done"), OURS, SYMLINK) is False


def test_win_name_when_symlink_fails_and_nothing_is_there_then_the_error_names_the_path(
    tmp_path: Path, break_call: BreakCall, sleeps: list[float]
) -> None:
    path = str(tmp_path / "0.done")
    break_call("symlink", failing(errno.EIO))
    with pytest.raises(LedgerError, match="could not be made: Input/output error") as caught:
        win_name(path, OURS, SYMLINK)
    assert caught.value.path == path
    assert sleeps == [], "only an existing name is waited for"


def test_win_name_when_the_name_exists_but_is_not_visible_yet_then_it_waits(
    tmp_path: Path, break_call: BreakCall, sleeps: list[float]
) -> None:
    """Another node made the name; this one's cache says for some seconds that there is none."""
    answers: list[object] = [FileNotFoundError(errno.ENOENT, ""), OSError(errno.ESTALE, ""), THEIRS]

    def readlink(path: str) -> object:
        answer = answers.pop(0)
        if isinstance(answer, OSError):
            raise answer
        return answer

    break_call("symlink", failing(errno.EEXIST))
    break_call("readlink", readlink)
    assert win_name(str(tmp_path / "0.claim.001"), OURS, SYMLINK) is False
    assert sleeps == [0.01, 0.02]


def test_win_name_when_the_name_that_existed_is_taken_back_then_it_is_tried_for_again(
    tmp_path: Path, break_call: BreakCall, sleeps: list[float]
) -> None:
    """GlusterFS may refuse a name to all who want it at once, and remove what it had begun to make (seen)."""
    path = tmp_path / "0.claim.001"
    refused = [errno.EEXIST, errno.EEXIST]

    def symlink(target: str, link: str) -> None:
        if refused:
            raise OSError(refused.pop(), "")
        os.symlink(target, link)

    break_call("symlink", symlink)
    assert win_name(str(path), OURS, SYMLINK) is True
    assert os.readlink(path) == OURS
    assert sleeps == [0.01, 0.02]


def test_win_name_when_an_existing_name_never_becomes_visible_then_it_gives_up_after_its_time(
    tmp_path: Path, break_call: BreakCall, sleeps: list[float]
) -> None:
    break_call("symlink", failing(errno.EEXIST))
    break_call("readlink", failing(errno.ENOENT))
    with pytest.raises(LedgerError):
        win_name(str(tmp_path / "0.claim.001"), OURS, SYMLINK, wait_s=60.0)
    assert 60.0 <= sum(sleeps) < 63.0
    assert max(sleeps) == 2.0


def test_win_name_when_the_name_exists_and_cannot_be_read_then_a_ledger_error_comes(
    tmp_path: Path, break_call: BreakCall, sleeps: list[float]
) -> None:
    break_call("symlink", failing(errno.EEXIST))
    break_call("readlink", failing(errno.EIO))
    with pytest.raises(LedgerError, match=r"0\.claim\.001"):
        win_name(str(tmp_path / "0.claim.001"), OURS, SYMLINK)


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES])
def test_win_name_when_nothing_can_be_created_then_the_error_says_why_and_where(
    tmp_path: Path, break_call: BreakCall, sleeps: list[float], number: int
) -> None:
    path = str(tmp_path / "0.claim.001")
    break_call("symlink", failing(number))
    break_call("readlink", failing(errno.EIO))
    with pytest.raises(LedgerError) as caught:
        win_name(path, OURS, SYMLINK)
    assert os.strerror(number) in caught.value.message
    assert caught.value.message.startswith(path)
    assert caught.value.path == path
    assert "space" in caught.value.next_step


def test_win_name_when_the_directory_is_missing_then_a_ledger_error_comes(tmp_path: Path) -> None:
    with pytest.raises(LedgerError, match="No such file or directory"):
        win_name(str(tmp_path / "000" / "0.done"), OURS, SYMLINK)


def test_win_name_when_names_are_files_then_the_content_says_whose_it_is(tmp_path: Path) -> None:
    path = tmp_path / "0.claim.001"
    assert win_name(str(path), OURS, FILE) is True
    assert path.read_text() == OURS
    assert not path.is_symlink()
    assert win_name(str(path), THEIRS, FILE) is False
    assert win_name(str(path), OURS, FILE) is True, "asked again after a retransmission"
    assert read_name(str(path)) == OURS


def test_win_name_when_a_file_name_has_no_content_yet_then_it_waits_for_it(
    tmp_path: Path, break_call: BreakCall
) -> None:
    """Its maker is between open(2) and write(2)."""
    path = tmp_path / "0.claim.001"
    path.touch()
    break_call("sleep", lambda seconds: path.write_text(THEIRS))
    assert win_name(str(path), OURS, FILE) is False


def test_win_name_when_its_maker_dies_before_writing_then_the_name_is_not_taken(
    tmp_path: Path, break_call: BreakCall
) -> None:
    """An empty name would be nobody's for ever: whose it is can be told by its content alone."""
    path = tmp_path / "0.claim.001"

    class DiedError(BaseException):
        pass

    def die(descriptor: int, data: bytes) -> int:
        break_call("unlink", lambda path: None)
        raise DiedError

    break_call("write", die)
    with pytest.raises(DiedError):
        win_name(str(path), OURS, FILE)
    assert not path.exists()


def test_win_name_when_a_file_name_cannot_be_written_then_it_is_not_left_empty(
    tmp_path: Path, break_call: BreakCall
) -> None:
    path = tmp_path / "0.claim.001"
    break_call("write", failing(errno.ENOSPC))
    with pytest.raises(LedgerError, match="No space left"):
        win_name(str(path), OURS, FILE)
    assert not path.exists()


def test_win_name_when_another_comes_at_the_last_moment_then_it_is_lost(tmp_path: Path, break_call: BreakCall) -> None:
    path = str(tmp_path / "0.claim.001")

    def symlink(target: str, link: str) -> None:
        # Whatever was looked at before: now the name is theirs.
        os.symlink(THEIRS, path)
        os.symlink(target, link)

    break_call("symlink", symlink)
    assert win_name(path, OURS, SYMLINK) is False
    assert os.readlink(path) == THEIRS


@pytest.mark.parametrize("kind", [SYMLINK, FILE])
def test_win_name_when_many_want_one_name_then_one_wins(tmp_path: Path, kind: str) -> None:
    barrier = threading.Barrier(8)
    won: list[str] = []

    def want(number: int) -> None:
        barrier.wait()
        target = f"../../sessions/{number}.crh"
        if win_name(str(tmp_path / "0.claim.001"), target, kind):
            won.append(target)

    threads = [threading.Thread(target=want, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert won == [read_name(str(tmp_path / "0.claim.001"))]


def test_read_name_when_there_is_none_then_none_at_once(tmp_path: Path, sleeps: list[float]) -> None:
    assert read_name(str(tmp_path / "0.done")) is None
    assert sleeps == []


def test_find_link_kind_when_symbolic_links_work_then_symlink_and_no_probe_is_left(tmp_path: Path) -> None:
    assert find_link_kind(str(tmp_path)) == "symlink"
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize("number", [errno.EPERM, errno.EOPNOTSUPP, errno.ENOSYS])
def test_find_link_kind_when_symbolic_links_are_refused_then_file(
    tmp_path: Path, break_call: BreakCall, sleeps: list[float], number: int
) -> None:
    break_call("symlink", failing(number))
    assert find_link_kind(str(tmp_path)) == "file"
    assert os.listdir(tmp_path) == []


def test_find_link_kind_when_symlink_replaces_silently_then_file(
    tmp_path: Path, break_call: BreakCall, sleeps: list[float]
) -> None:
    """A filesystem on which the second one wins too is not exclusive."""

    def symlink(target: str, path: str) -> None:
        if os.path.lexists(path):
            os.unlink(path)
        os.symlink(target, path)

    break_call("symlink", symlink)
    assert find_link_kind(str(tmp_path)) == "file"


def test_find_link_kind_when_neither_is_exclusive_then_the_filesystem_is_unfit(
    tmp_path: Path, break_call: BreakCall, sleeps: list[float]
) -> None:
    def open_anyway(path: str, flags: int, mode: int = 0o777) -> int:
        return os.open(path, flags & ~os.O_EXCL, mode)

    break_call("symlink", failing(errno.EPERM))
    break_call("link", failing(errno.EPERM))
    break_call("open", open_anyway)
    with pytest.raises(FilesystemUnfit) as caught:
        find_link_kind(str(tmp_path))
    assert caught.value.path == str(tmp_path)
    assert caught.value.exit_code == 3
    assert os.listdir(tmp_path) == []


def test_find_link_kind_when_the_directory_cannot_be_written_then_the_filesystem_is_unfit(tmp_path: Path) -> None:
    with pytest.raises(FilesystemUnfit):
        find_link_kind(str(tmp_path / "missing"))


def test_random_word_when_asked_then_fit_for_job_names_and_shell_text() -> None:
    words = {durable.random_word(10) for _ in range(100)}
    assert len(words) == 100
    assert all(re.fullmatch("[a-z2-9]{10}", word) for word in words)
