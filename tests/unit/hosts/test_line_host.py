"""Requests and files over a line that breaks, falls silent, or says what nobody expects."""

from __future__ import annotations

import errno
import io
import os
import queue
import signal
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from clusters.waiting import wait_until
from crh_batch.errors import ConnectionLost, HostError
from crh_batch.hosts import line_host, remote_side
from crh_batch.hosts.base import FarHost
from unit.hosts.pipe_host import PipeHost

SIZE = 3_000_000


@pytest.fixture
def far() -> Iterator[PipeHost]:
    host = PipeHost()
    yield host
    host.close()


@pytest.fixture
def big(tmp_path: Path) -> Path:
    path = tmp_path / "big"
    path.write_bytes(os.urandom(SIZE))
    return path


def nothing(count: int) -> None:
    pass


# ---- requests


def test_ask_when_the_line_breaks_once_then_nobody_notices(far: PipeHost, tmp_path: Path) -> None:
    far.ask("ping")
    for cut in range(30):
        far.break_after(cut)
        assert far.ask("exists", paths=[str(tmp_path)]) == {"exists": [True]}
    assert far.lines == 31


def test_ask_when_the_line_breaks_and_stays_down_then_connection_lost(far: PipeHost) -> None:
    far.ask("ping")
    far.break_after(5, stays_down=True)
    with pytest.raises(ConnectionLost, match="far: can't be reached"):
        far.ask("ping")
    with pytest.raises(HostError) as caught:
        far.ask("ping")
    assert not isinstance(caught.value, ConnectionLost), "nothing can have been done"


def test_run_when_the_line_breaks_then_it_is_not_run_again(far: PipeHost, tmp_path: Path) -> None:
    far.ask("ping")
    notes = tmp_path / "notes"
    argv = ["sh", "-c", 'echo run >> "$0"', str(notes)]
    lost = 0
    for cut in (0, 10, 150, 500):
        notes.write_text("")
        far.break_after(cut)
        try:
            far.run(argv)
        except ConnectionLost:
            lost += 1
        far.close()  # and its processes have ended
        assert notes.read_text() in ("", "run\n")
        far.ask("ping")
    assert lost == 3


def test_run_when_the_line_was_silent_for_long_then_it_is_tried_first(
    far: PipeHost, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    far.ask("ping")
    monkeypatch.setattr(line_host, "_IDLE_S", -1.0)
    far.break_after(0)
    assert far.run(["echo", "once"]).stdout == "once\n"
    assert far.lines == 2
    far.break_after(0, stays_down=True)
    with pytest.raises(HostError) as caught:
        far.run(["echo"])
    assert not isinstance(caught.value, ConnectionLost), "nothing can have been run"


def test_ask_when_many_threads_ask_then_each_gets_its_answer(far: PipeHost) -> None:
    answers: dict[int, str] = {}

    def ask(number: int) -> None:
        for _ in range(10):
            answers[number] = far.run(["echo", str(number)]).stdout

    threads = [threading.Thread(target=ask, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert answers == {number: f"{number}\n" for number in range(8)}
    assert far.lines == 1


def test_run_when_it_takes_longer_than_silence_may_then_signs_of_life_keep_the_line(tmp_path: Path) -> None:
    far = PipeHost(silence_s=2.0)
    gate = tmp_path / "gate"
    os.mkfifo(gate)
    answers = []
    thread = threading.Thread(target=lambda: answers.append(far.run(["cat", str(gate)]).stdout))
    thread.start()
    wait_until(lambda: far.lines == 1 and far.went > 0, 60, "the request is sent")
    asked = far.went
    wait_until(lambda: far.went >= asked + 6, 60, "signs of life came, for longer than a silence may take")
    gate.write_text("opened")
    thread.join()
    assert answers == ["opened"]
    assert far.lines == 1
    far.close()


def test_ask_when_the_other_end_falls_silent_then_connection_lost() -> None:
    far = PipeHost(silence_s=0.5)
    pid = int(far.run(["sh", "-c", "echo $PPID"]).stdout)
    os.kill(pid, signal.SIGSTOP)
    try:
        with pytest.raises(ConnectionLost, match="nothing came for"):
            far.run(["true"])
    finally:
        os.kill(pid, signal.SIGCONT)
    assert far.run(["echo", "again"]).stdout == "again\n"
    far.close()


def test_abandon_when_it_was_said_then_nothing_is_asked_any_more(far: PipeHost) -> None:
    far.ask("ping")
    far.abandon()
    with pytest.raises(HostError, match="far: interrupted"):
        far.ask("ping")
    assert far.lines == 1


# ---- how it starts


def _starter(tmp_path: Path, text: str) -> str:
    path = tmp_path / "python"
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)
    return str(path)


def test_start_when_login_scripts_talk_then_that_is_not_the_answer(tmp_path: Path) -> None:
    banner = 'printf \'Welcome!\\n\\n{"error": "no"}\\nno newline at the end: \''
    far = PipeHost(python=_starter(tmp_path, f'{banner}; exec python3 "$@"'))
    assert far.run(["echo", "x"]).stdout == "x\n"
    far.close()


def test_start_when_it_fails_then_one_line_says_what_the_other_side_said(tmp_path: Path) -> None:
    far = PipeHost(python=_starter(tmp_path, "echo Hello; echo 'python3: command not found' >&2; exit 127"))
    with pytest.raises(HostError) as caught:
        far.ask("ping")
    assert caught.value.message == "far: python3 can't be started there: python3: command not found"
    assert "module load python" in caught.value.next_step
    assert not isinstance(caught.value, ConnectionLost)
    far.close()


def test_start_when_the_line_ends_without_a_word_then_python_is_not_blamed(tmp_path: Path) -> None:
    far = PipeHost(python=_starter(tmp_path, "exit 0"))
    with pytest.raises(HostError, match="far: the connection broke before python3 had started there") as caught:
        far.ask("ping")
    assert caught.value.next_step.startswith("Run the command again.")
    assert not isinstance(caught.value, ConnectionLost), "nothing can have been done"
    far.close()


# ---- files


def test_put_when_it_broke_off_then_it_goes_on_where_it_was(far: PipeHost, big: Path, tmp_path: Path) -> None:
    there = tmp_path / "there"
    far.ask("ping")
    far.break_after(1_000_000, stays_down=True)
    with pytest.raises(ConnectionLost):
        far.put(str(big), str(there))
    assert not there.exists()
    far.is_down = False
    assert 1_900_000 < far.put(str(big), str(there)) < 2_100_000
    assert there.read_bytes() == big.read_bytes()
    assert sorted(os.listdir(tmp_path)) == ["big", "there"]
    assert far.put(str(big), str(there)) == 0, "what is there isn't sent"


def test_put_when_the_line_breaks_once_then_nobody_notices(far: PipeHost, big: Path, tmp_path: Path) -> None:
    counted: list[int] = []
    far.ask("ping")
    far.break_after(2_000_000)
    sent = far.put(str(big), str(tmp_path / "there"), counted.append)
    assert (tmp_path / "there").read_bytes() == big.read_bytes()
    assert sum(counted) == sent < 1.2 * SIZE


def test_put_when_the_part_there_is_another_files_then_all_is_sent(far: PipeHost, big: Path, tmp_path: Path) -> None:
    there = tmp_path / "there"
    far.break_after(0, stays_down=False)
    part = Path(f"{there}.{far.ask('digest', path=str(big))['sha256'][:16]}.part")
    part.write_bytes(b"another" * 1000)
    assert far.put(str(big), str(there)) == SIZE
    assert there.read_bytes() == big.read_bytes()


@pytest.mark.parametrize("content", [b"", b"x"])
def test_put_when_it_is_tiny_then_it_arrives(far: PipeHost, tmp_path: Path, content: bytes) -> None:
    (tmp_path / "f").write_bytes(content)
    assert far.put(str(tmp_path / "f"), str(tmp_path / "g")) == len(content)
    assert (tmp_path / "g").read_bytes() == content


def test_put_when_it_is_interrupted_then_the_part_is_kept(far: PipeHost, big: Path, tmp_path: Path) -> None:
    counted: list[int] = []

    def interrupt_later(count: int) -> None:
        counted.append(count)
        if sum(counted) > SIZE / 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        far.put(str(big), str(tmp_path / "there"), interrupt_later)
    assert far.run(["echo", "x"]).stdout == "x\n", "no rest of a file is taken for an answer or a request"
    rest = far.put(str(big), str(tmp_path / "there"))
    assert rest < SIZE
    assert (tmp_path / "there").read_bytes() == big.read_bytes()


def test_put_when_it_can_not_be_written_then_its_bytes_are_no_requests(far: PipeHost, tmp_path: Path) -> None:
    evil = tmp_path / "evil"
    request = b'{"do": "write", "path": "%s", "text": ""}\n' % str(tmp_path / "made").encode()
    evil.write_bytes(request * 40_000)
    for _ in range(3):
        with pytest.raises(HostError, match=r"none/there\.\w+\.part: No such file"):
            far.put(str(evil), str(tmp_path / "none" / "there"))
    far.close()
    assert not (tmp_path / "made").exists()


def test_put_when_the_file_here_is_missing_then_an_oserror(far: PipeHost, tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        far.put(str(tmp_path / "none"), str(tmp_path / "there"))


def test_fetch_tail_when_it_broke_off_then_it_goes_on_where_it_was(far: PipeHost, big: Path, tmp_path: Path) -> None:
    here = tmp_path / "here"
    far.ask("ping")
    far.break_after(1_000_000, stays_down=True)
    with pytest.raises(ConnectionLost):
        far.fetch_tail(str(big), str(here), 2_000_000)
    far.is_down = False
    had = here.stat().st_size
    assert 900_000 < had < 1_000_000
    counted: list[int] = []
    assert far.fetch_tail(str(big), str(here), 2_000_000, counted.append) == 2_000_000 - had == sum(counted)
    assert far.fetch_tail(str(big), str(here), 2_000_000) == 0
    assert far.fetch_tail(str(big), str(here), SIZE) == 1_000_000
    assert here.read_bytes() == big.read_bytes()


def test_fetch_tail_when_what_is_here_is_another_then_all_is_fetched(far: PipeHost, big: Path, tmp_path: Path) -> None:
    here = tmp_path / "here"
    here.write_bytes(b"x" * 1000)
    assert far.fetch_tail(str(big), str(here), SIZE) == SIZE
    assert here.read_bytes() == big.read_bytes()


def test_fetch_tail_when_the_file_there_is_shorter_or_gone_then_an_error(
    far: PipeHost, big: Path, tmp_path: Path
) -> None:
    with pytest.raises(HostError, match=f"ends at byte {SIZE}, and had {SIZE + 1} before"):
        far.fetch_tail(str(big), str(tmp_path / "here"), SIZE + 1)
    with pytest.raises(HostError, match=r"far: .*none: No such file"):
        far.fetch_tail(str(tmp_path / "none"), str(tmp_path / "here2"), 1)


def test_fetch_tail_when_it_can_not_be_written_here_then_the_line_is_of_use_after(far: PipeHost, big: Path) -> None:
    with pytest.raises(OSError, match="No space left"):
        far.fetch_tail(str(big), "/dev/full", SIZE)
    assert far.run(["echo", "x"]).stdout == "x\n"


@pytest.mark.parametrize("way", ["put", "fetch_tail"])
def test_files_when_the_line_breaks_at_any_byte_then_they_arrive_whole(far: PipeHost, tmp_path: Path, way: str) -> None:
    source = tmp_path / "source"
    source.write_bytes(os.urandom(2000))
    far.ask("ping")
    transfer: Callable[[FarHost, str], int] = {
        "put": lambda far, target: far.put(str(source), target),
        "fetch_tail": lambda far, target: far.fetch_tail(str(source), target, 2000),
    }[way]
    for cut in range(0, 3500, 97):
        target = tmp_path / f"target{cut}"
        far.break_after(cut)
        transfer(far, str(target))
        assert target.read_bytes() == source.read_bytes()
    assert not list(tmp_path.glob("*.part"))


# ---- what the other end says by itself


class _Bytes(io.BytesIO):
    def __init__(self) -> None:
        super().__init__()
        self.flushes: queue.Queue[bytes] = queue.Queue()

    def flush(self) -> None:
        self.flushes.put(self.getvalue())


def test_answers_when_nothing_is_asked_then_a_sign_now_and_then_finds_out_that_nobody_listens(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A laptop that was closed in the middle would else leave a process on the login node for hours."""
    monkeypatch.setattr(remote_side, "_IDLE_SIGN_S", 0.01)
    stream = _Bytes()
    answers = remote_side.Answers(stream, 3600.0)
    assert stream.flushes.get(timeout=60) == b"\n"
    assert stream.flushes.get(timeout=60) == b"\n\n"
    stream.close()
    answers.begin()


def test_run_when_a_command_that_took_too_long_can_not_be_ended_then_it_is_not_said_that_it_never_began(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A qsub that runs as another user: what is said to have failed would be sent again."""

    def refuse(group: int, number: int) -> None:
        raise PermissionError(errno.EPERM, os.strerror(errno.EPERM))

    monkeypatch.setattr(os, "killpg", refuse)
    answer = remote_side.run({"argv": ["sh", "-c", "echo begun; exec sleep 0.5"], "timeout_s": 0.1})
    assert (answer["status"], answer["stdout"]) == (None, "begun\n")
