"""What several processes find out about a filesystem together: on one machine or on several, by one path or by two.

They meet in a directory and know each other's tokens. What each saw and won is put together afterwards
(report/filesystem_words.py); nothing here judges. No step compares clocks of two machines: delays are measured as there
and back by the clock of one.
"""

from __future__ import annotations

import contextlib
import errno
import os
import time
from collections.abc import Sequence
from typing import Any, Callable

from crh_batch.errors import LedgerError
from crh_batch.ledger import durable
from crh_batch.ledger.durable import FILE, SYMLINK, calls
from crh_batch.ledger.identity import this_process

# What another has made may stay out of sight before that is a failure.
CREATED = "created"
# Names as links, names as files, and what both fall back on: files made with O_EXCL.
RACES = (SYMLINK, FILE, CREATED)
ANSWER_S = durable.VISIBILITY_WAIT_S
PATIENCE_S = 45.0
_HEATS = 10
_HEAT_NAMES = 15
_CHAIN_S = 0.8
_CHAIN_LINKS = 100
_REPLACE_S = 0.5
# On GlusterFS one look in 50 finds a file that is being replaced gone, so two in a row do now and then (seen).
_LOOKS = 10
_APPENDED = 5
_CONTENT_BYTES = 1 << 16
_POLL_S = 0.002
_SLOWEST_POLL_S = 0.1
_POKE_EVERY_S = 0.5
# How something is looked for.
_WAYS = ("listed", "asked", "content")


class _StaleError(Exception):
    """A name still meant a file that another node has replaced: ESTALE, of NFS and GlusterFS."""


class Party:
    """One of several processes that try a filesystem together.

    Args:
        directory: where they meet, as this one sees it; empty at the start but for what they make.
        token: this one's.
        others: all the others'.
        answer_s: seconds until something that another makes must be seen here.
        patience_s: seconds to wait for what may be seen late, there and back.
    """

    def __init__(
        self,
        directory: str,
        token: str,
        others: Sequence[str],
        *,
        answer_s: float = ANSWER_S,
        patience_s: float = PATIENCE_S,
    ) -> None:
        self._directory = directory
        self._token = token
        self._all = sorted([token, *others])
        self._place = self._all.index(token)
        self._answer_s = answer_s
        self._patience_s = patience_s

    def look(self, links: str = SYMLINK) -> dict[str, Any]:
        """Take all steps; ``error`` says which one could not be ended.

        Args:
            links: the kind of exclusive names that a batch would use.
        """
        found: dict[str, Any] = {"token": self._token, "boot_id": this_process().boot_id}
        found.update(patience_s=self._patience_s, error="")
        try:
            self._meet("begin")
            found["there_and_back_s"] = self._ping()
            for kind in RACES:
                found[f"race_{kind}"] = self._race(kind)
            self._meet("chain")
            found["held"] = self._chain(links)
            found["replaced"] = self._replace()
            found["appended"] = self._append()
            self._meet("end")
        except (OSError, LedgerError) as error:
            found["error"] = error.message if isinstance(error, LedgerError) else str(error)
        return found

    # ---- meeting

    def _path(self, name: str) -> str:
        return os.path.join(self._directory, name)

    def _make(self, name: str, data: bytes = b"") -> None:
        descriptor = calls.open(self._path(name), os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o644)
        try:
            durable.write_all(descriptor, data)
        finally:
            os.close(descriptor)

    def _put(self, name: str, data: bytes) -> None:
        """Replace a file as a whole; not durably, for that is not what is tried."""
        self._make(f"{name}.{self._token}.part", data)
        calls.replace(self._path(f"{name}.{self._token}.part"), self._path(name))

    def _meet(self, step: str, *others: str, answer_s: float = 0.0) -> None:
        """Wait until all, or some, are at this step."""
        self._make(f"{step}.at.{self._token}")
        wanted = {f"{step}.at.{token}" for token in others or self._all}
        self._wait(lambda: wanted <= set(os.listdir(self._directory)), f"the others' {step}", answer_s)

    def _wait(self, is_there: Callable[[], bool], what: str, answer_s: float = 0.0) -> None:
        """Wait until something that another makes is seen here.

        Raises:
            TimeoutError: it isn't in time.
        """
        answer_s = answer_s or self._answer_s
        deadline = time.monotonic() + answer_s
        next_poke = time.monotonic() + _POKE_EVERY_S
        pause = _POLL_S
        while not is_there():
            if time.monotonic() > deadline:
                raise TimeoutError(f"{what} was not seen within {answer_s:.0f} s")
            if time.monotonic() > next_poke:
                self._poke()
                next_poke = time.monotonic() + _POKE_EVERY_S
            time.sleep(pause)
            pause = min(pause * 1.3, _SLOWEST_POLL_S)

    def _poke(self) -> None:
        """Change the directory: the answer tells an NFS client that others have changed it, too."""
        name = f"poke.{self._token}"
        self._make(name)
        calls.unlink(self._path(name))

    # ---- how late something is seen

    def _ping(self) -> dict[str, float]:
        """Return, in seconds there and back, how late three things are seen; the second one answers, others wait.

        ``listed``: a new name, by listing. ``asked``: a name that was asked for before it was there. ``content``: a
        replaced file that was read before. What was not seen in time is left out. Each has a directory of its own,
        since listing one tells a client about names that it would otherwise be wrong about.
        """
        times = {}
        if self._place < 2:
            mine, theirs = ("ping", "pong") if self._place == 0 else ("pong", "ping")
            other = self._all[1 - self._place]
            if self._place == 0:
                # By one: of two that make a directory at once, GlusterFS may tell both that it exists and take it back.
                for way in _WAYS:
                    os.mkdir(self._path(way))
            self._meet("ways", other)
            self._put(f"content/{mine}", b"old")
            self._meet("made", other)
            # What is known here from now on is out of date when the other one has made it.
            self._wait(lambda: self._read(f"content/{theirs}") == b"old", "the other's first content")
            os.path.lexists(self._path(f"asked/{theirs}"))
            self._meet("looked", other)
            began = time.monotonic()
            if self._place == 0:
                for way in _WAYS:
                    self._send(way, mine)
            times = self._answers(mine, theirs, began)
        # The others have waited for these two all the time.
        self._meet("pinged", answer_s=self._answer_s + self._patience_s)
        return times

    def _answers(self, mine: str, theirs: str, began: float) -> dict[str, float]:
        """Wait for the other's, and answer each as it comes; return when each came to the one that asked."""
        times = {}
        waiting = list(_WAYS)
        while waiting:
            for way in list(waiting):
                if self._has_come(way, theirs):
                    waiting.remove(way)
                    times[way] = round(time.monotonic() - began, 4)
                    if self._place == 1:
                        self._send(way, mine)
            if time.monotonic() - began > self._patience_s:
                break
            time.sleep(_POLL_S)
        return times if self._place == 0 else {}

    def _send(self, way: str, name: str) -> None:
        if way == "content":
            self._put(f"content/{name}", b"new")
        else:
            self._make(f"{way}/{name}")

    def _has_come(self, way: str, name: str) -> bool:
        if way == "listed":
            return name in os.listdir(self._path(way))
        if way == "asked":
            return os.path.lexists(self._path(f"{way}/{name}"))
        return self._read(f"{way}/{name}") == b"new"

    def _read(self, name: str) -> bytes:
        """Return a file's content; nothing if it isn't there, or can't be had now."""
        with contextlib.suppress(FileNotFoundError, _StaleError):
            return self._read_once(name)
        return b""

    def _read_once(self, name: str) -> bytes:
        try:
            with open(self._path(name), "rb") as stream:
                return stream.read()
        except OSError as error:
            if error.errno == errno.ESTALE:
                raise _StaleError from None
            raise

    # ---- exclusive names

    def _race(self, kind: str) -> dict[str, Any]:
        """Try for names that all others try for, too; return those that were won.

        All begin a few names together, then meet again: who is ahead would win all the rest undisturbed.
        """
        won: list[int] = []
        tried, took_s, error = 0, 0.0, ""
        for heat in range(_HEATS):
            self._meet(f"heat-{kind}-{heat}")
            began = time.monotonic()
            for number in range(tried, tried + _HEAT_NAMES):
                try:
                    if not error and self._win(f"race-{kind}.{number:03d}", kind):
                        won.append(number)
                except (OSError, LedgerError) as failure:
                    error = failure.message if isinstance(failure, LedgerError) else str(failure)
            tried += _HEAT_NAMES
            took_s += time.monotonic() - began
        return {"tried": tried, "won": won, "took_s": round(took_s, 4), "error": error}

    def _win(self, name: str, kind: str) -> bool:
        if kind == CREATED:
            return durable.create_exclusively(self._path(name), self._token.encode())
        return durable.win_name(self._path(name), f"../{self._token}", kind, wait_s=self._answer_s)

    def _chain(self, links: str) -> list[tuple[int, float, float]]:
        """Hold one number after the other, as clients hold a batch's custody; return each with its span of time.

        Who makes a number holds it until it has made its end; only then may the next number be made.
        """
        held: list[tuple[int, float, float]] = []
        began = time.monotonic()
        while time.monotonic() - began < _CHAIN_S and len(held) < _CHAIN_LINKS:
            names = set(os.listdir(self._directory))
            number = max(
                (int(name[6:]) for name in names if name.startswith("chain.") and name[6:].isdigit()), default=0
            )
            if number and f"chain.{number}.end" not in names:
                time.sleep(_POLL_S)
                continue
            if durable.win_name(self._path(f"chain.{number + 1}"), f"../{self._token}", links, wait_s=self._answer_s):
                since = time.monotonic()
                time.sleep(_POLL_S)
                until = time.monotonic()
                held.append((number + 1, since, until))
                durable.win_name(self._path(f"chain.{number + 1}.end"), f"../{self._token}", links)
        return held

    # ---- contents

    def _replace(self) -> dict[str, int]:
        """One replaces a file all the time, the others read it all the time; count what a reader sees.

        ``blinks``: it was not there, and at another look it was. ``stale``: the file that was replaced was still meant
        (ESTALE). ``missing``: not there at any of the looks. ``partial``: neither the old content nor the new.
        """
        if self._place == 0:
            self._put("turned", bytes([1]) * _CONTENT_BYTES)
        self._meet("turning")
        counts = {"replaced": 0, "read": 0, "blinks": 0, "stale": 0, "missing": 0, "partial": 0}
        deadline = time.monotonic() + _REPLACE_S
        while time.monotonic() < deadline:
            if self._place == 0:
                counts["replaced"] += 1
                self._put("turned", bytes([counts["replaced"] % 255 + 1]) * _CONTENT_BYTES)
            else:
                counts["read"] += 1
                kind = self._look_at_turned()
                if kind != "whole":
                    counts[kind] += 1
        return counts

    def _look_at_turned(self) -> str:
        kind = "whole"
        for _ in range(_LOOKS):
            try:
                content = self._read_once("turned")
                return kind if len(content) == _CONTENT_BYTES and len(set(content)) == 1 else "partial"
            except _StaleError:
                return "stale"
            except FileNotFoundError:
                kind = "blinks"
                time.sleep(_POLL_S)
        return "missing"

    def _append(self) -> dict[str, int]:
        """Append to one file in turn, as clients do to submissions.jsonl; count the lines that are there."""
        for token in self._all:
            self._meet(f"turn-{token}")
            if token == self._token:
                for number in range(_APPENDED):
                    self._append_line(f"{token} {number}\n".encode())
        self._meet("appended")
        wanted = {f"{token} {number}".encode() for token in self._all for number in range(_APPENDED)}
        with contextlib.suppress(TimeoutError):
            self._wait(lambda: wanted <= set(self._read("journal").split(b"\n")), "what others appended")
        lines = self._read("journal").splitlines()
        return {"lines": len(lines), "lost": len(wanted - set(lines))}

    def _append_line(self, line: bytes) -> None:
        descriptor = calls.open(self._path("journal"), os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o644)
        try:
            durable.write_all(descriptor, line)
            calls.fsync(descriptor)
        finally:
            os.close(descriptor)
