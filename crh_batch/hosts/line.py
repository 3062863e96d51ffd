"""One line to the program at the other end: requests, answers and the bytes of files, until it breaks."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping
from typing import Any, BinaryIO, Protocol

from crh_batch.hosts.base import OnBytes
from crh_batch.hosts.other_end import program
from crh_batch.ledger.durable import random_word
from crh_batch.ledger.reading import parse_json, whole_number

_SIGN_OF_LIFE_S = 10.0
_START_S = 60.0
_BLOCK = 1 << 18
_AHEAD = 16
_LEAST_AHEAD = 1 << 16
_MOST_AHEAD = 4 << 20
_MOST_STARTING_BYTES = 1 << 20
# Answers are a few MB; what a scheduler says of a hundred thousand jobs is some ten.
_MOST_ANSWER_BYTES = 256 << 20


class LineBroken(Exception):
    """The line is no more."""


class NotStarted(LineBroken):
    """The program at the other end could not be started; says why."""


class Line(Protocol):
    """Bytes to and from the program at the other end."""

    def send(self, data: bytes, silence_s: float) -> None:
        """Send all of it.

        Args:
            silence_s: seconds that it may take without any progress or sign of life.

        Raises:
            LineBroken: it can't be sent.
        """
        ...

    def receive(self, timeout_s: float) -> bytes:
        """Return what has come, as soon as there is something; nothing when the other side has closed.

        Raises:
            LineBroken: the line broke, or nothing came within the time.
        """
        ...

    @property
    def has_news(self) -> bool:
        """Whether something has come that wasn't received yet."""
        ...

    @property
    def is_alive(self) -> bool:
        """Whether nothing speaks against using it."""
        ...

    def complaints(self) -> str:
        """Return what the other end said on stderr."""
        ...

    def close(self) -> None:
        """End it."""
        ...


class Conversation:
    """Requests and answers in turn, over one line. Its methods raise LineBroken; then it is of no more use.

    Args:
        silence_s: how long nothing may come, not even a sign of life, while an answer is awaited.

    Attributes:
        heard_at: when something came last (time.monotonic).
    """

    def __init__(self, line: Line, silence_s: float) -> None:
        self._line = line
        self._silence_s = silence_s
        self._unread = bytearray()
        self.heard_at = time.monotonic()

    @property
    def is_alive(self) -> bool:
        """Whether nothing speaks against using it."""
        return self._line.is_alive

    def close(self) -> None:
        """End it."""
        self._line.close()

    def start(self) -> None:
        """Start the program at the other end; login scripts may say what they like before it.

        Raises:
            NotStarted: it isn't there, or says why it can't.
            LineBroken: the line ended, or fell silent, without a word.
        """
        mark = f"crh-batch-{random_word(16)}"
        said: list[str] = []
        try:
            self._line.send(program(mark, min(_SIGN_OF_LIFE_S, self._silence_s / 4)), _START_S)
            while sum(map(len, said)) < _MOST_STARTING_BYTES:
                text = self._read_line(_START_S, _START_S).decode(errors="replace").rstrip("\r")
                if text.endswith(mark):
                    return
                said.append(text)
            raise LineBroken("it goes on talking")
        except LineBroken as error:
            complaints = self._line.complaints().strip().splitlines()
            words = " ".join(complaints[-3:] or said[-3:])
            if not words:
                raise
            raise NotStarted(words) from error

    def answer(self, request: Mapping[str, Any], timeout_s: float) -> dict[str, Any]:
        """Return the answer to a request.

        Args:
            timeout_s: seconds for all of it, though the other end be alive.
        """
        self._say(request)
        return self._read_answer(timeout_s)

    def send_file(self, request: Mapping[str, Any], stream: BinaryIO, length: int, went: OnBytes) -> dict[str, Any]:
        """Send a request with bytes of a file after it; return the answer.

        One with an ``error`` may come before all is sent. This conversation must end then.

        Raises:
            EOFError: the file is shorter.
        """
        self._say(request)
        sent = arrived = 0
        while True:
            # What is on its way when the line breaks is lost, so it is a small part of what this line has brought.
            ahead = min(max(arrived // _AHEAD, _LEAST_AHEAD), _MOST_AHEAD)
            count = min(length - sent, arrived + ahead - sent, _BLOCK)
            answer = self._answer_at_hand() if count > 0 else self._read_answer()
            if answer is None:
                block = stream.read(count)
                if not block:
                    raise EOFError
                self._line.send(block, self._silence_s)
                sent += len(block)
                went(len(block))
            elif "at" in answer:
                arrived = _count(answer["at"], arrived + 1, sent)
            else:
                return answer

    def receive_file(self, request: Mapping[str, Any], came: Callable[[bytes], None]) -> dict[str, Any]:
        """Send a request whose answer is at most ``length`` bytes of a file; return what was said after them."""
        self._say(request)
        missing = int(request["length"])
        while "bytes" in (answer := self._read_answer()):
            left = _count(answer["bytes"], 1, missing)
            missing -= left
            while left:
                if not self._unread:
                    self._read_more(self._silence_s)
                block = bytes(self._unread[:left])
                del self._unread[: len(block)]
                left -= len(block)
                came(block)
        return answer

    def _say(self, request: Mapping[str, Any]) -> None:
        self._line.send(json.dumps(request).encode() + b"\n", self._silence_s)

    def _read_answer(self, timeout_s: float | None = None) -> dict[str, Any]:
        until = None if timeout_s is None else time.monotonic() + timeout_s
        while True:
            left = self._silence_s if until is None else until - time.monotonic()
            # An empty line is a sign of life.
            if text := self._read_line(min(left, self._silence_s), left):
                return _parsed(text)

    def _answer_at_hand(self) -> dict[str, Any] | None:
        """Return an answer that is here already."""
        while self._line.has_news or b"\n" in self._unread:
            if b"\n" not in self._unread:
                self._read_more(self._silence_s)
            elif text := self._cut(self._unread.index(b"\n")):
                return _parsed(text)
        return None

    def _read_line(self, silence_s: float, timeout_s: float) -> bytes:
        until = time.monotonic() + timeout_s
        searched = 0
        while (end := self._unread.find(b"\n", searched)) < 0:
            searched = len(self._unread)
            left = until - time.monotonic()
            if left <= 0:
                raise LineBroken("no answer in time")
            self._read_more(min(silence_s, left))
            if len(self._unread) > _MOST_ANSWER_BYTES:
                raise LineBroken("the other end says more than any answer holds")
        return self._cut(end)

    def _cut(self, end: int) -> bytes:
        text = bytes(self._unread[:end])
        del self._unread[: end + 1]
        return text

    def _read_more(self, timeout_s: float) -> None:
        received = self._line.receive(timeout_s)
        if not received:
            raise LineBroken("closed by the other side")
        self.heard_at = time.monotonic()
        self._unread += received


def _count(value: Any, least: int, most: int) -> int:
    try:
        return whole_number(value, least, most)
    except ValueError as error:
        raise LineBroken("the other end counts wrongly") from error


def _parsed(text: bytes) -> dict[str, Any]:
    try:
        answer = parse_json(text)
        if not isinstance(answer, dict):
            raise ValueError("no answer")
        return answer
    except ValueError as error:
        raise LineBroken("the other end said what is no answer") from error
