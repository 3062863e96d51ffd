"""What a server may say to a user's terminal."""

from __future__ import annotations

import os
import pty
import select
import subprocess
import sys
from typing import Any

import click
import pytest

from crh_batch.cli import connections
from crh_batch.hosts import reach


def test_ask_when_a_server_s_question_would_steer_the_terminal_then_it_is_shown_as_text(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    asked: list[str] = []

    def prompt(text: str, **settings: Any) -> str:
        asked.append(text)
        return "answer"

    monkeypatch.setattr(click, "prompt", prompt)
    for stream in (sys.stdin, sys.stderr):
        monkeypatch.setattr(stream, "isatty", lambda: True, raising=False)
    connections.set_up()
    try:
        assert reach._ask("Please wait\nCode\x1b]52;c;x\x07\u202e: ", secret=True) == "answer"
    finally:
        reach.ask_with(lambda prompt, *, secret: None)
    assert asked == ["Please wait\nCode\\x1b]52;c;x\\x07\\u202e: "]


def test_ask_when_a_transfer_is_shown_then_nothing_is_drawn_over_the_question(monkeypatch: pytest.MonkeyPatch) -> None:
    """A connection is made, or made again, when a transfer has begun; its bar would hide what is asked."""
    seen = []

    def prompt(text: str, **settings: Any) -> str:
        seen.append((connections._drawn[0].live.is_started, sys.stderr is sys.__stderr__))
        return "answer"

    monkeypatch.setattr(click, "prompt", prompt)
    for stream in (sys.stdin, sys.stderr):
        monkeypatch.setattr(stream, "isatty", lambda: True, raising=False)
    with connections._shown("fetching results"):
        assert connections._ask("Passphrase: ", secret=True) == "answer"
        assert connections._drawn[0].live.is_started
    assert seen == [(False, True)]
    assert connections._drawn == []


_ASKING = """
from crh_batch.cli import connections
from crh_batch.hosts import reach, transfers
connections.set_up()
with transfers.transferring("fetching results") as transfer:
    transfer.expect(100)
    print("said:", reach._ask("Passphrase: ", secret={secret}))
"""


@pytest.mark.parametrize("secret", [True, False])
def test_ask_when_a_transfer_is_shown_then_the_question_is_seen(secret: bool) -> None:
    ours, theirs = pty.openpty()
    argv = [sys.executable, "-c", _ASKING.format(secret=secret)]
    process = subprocess.Popen(
        argv, stdin=theirs, stdout=theirs, stderr=theirs, env={**os.environ, "TERM": "xterm"}, start_new_session=True
    )
    os.close(theirs)
    try:
        screen = _read_until(ours, b"Passphrase: ")
        assert b"fetching results" in screen
        os.write(ours, b"open\n")
        _read_until(ours, b"said: open")
        _read_until(ours, b"")
        assert process.wait(timeout=60) == 0
    finally:
        process.kill()
        os.close(ours)


def _read_until(descriptor: int, wanted: bytes) -> bytes:
    """Return what a terminal shows up to some words; without words, all until its program has ended."""
    found = b""
    while not wanted or wanted not in found:
        assert select.select([descriptor], [], [], 60)[0], found
        try:
            block = os.read(descriptor, 65536)
        except OSError:  # the other side of a terminal has been closed
            block = b""
        if not block:
            assert not wanted, found
            return found
        found += block
    return found
