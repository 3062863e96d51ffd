"""A machine behind a line that may break at any moment, whatever the line is made of.

What can be asked again without harm is asked once more over a new line; all else ends in ConnectionLost.
"""

from __future__ import annotations

import contextlib
import os
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, TypeVar

from crh_batch.errors import ConnectionLost, HostError
from crh_batch.hosts.base import Completed, OnBytes
from crh_batch.hosts.digests import digest_here
from crh_batch.hosts.expected import checked, is_refusal, understood
from crh_batch.hosts.line import Conversation, Line, LineBroken, NotStarted
from crh_batch.hosts.remote_side import REPEATABLE
from crh_batch.ledger.durable import sync, write_all

# A sign of life comes several times within it while a request is worked on.
SILENCE_S = 45.0
# A line that nothing came over for so long is tried before something is sent that can't be sent twice.
_IDLE_S = 15.0
# Reading a large file there takes its time.
_DIGEST_S = 3600.0

Result = TypeVar("Result")


class LineHost:
    """A FarHost over lines that a subclass makes.

    Args:
        name: what messages call it.
        silence_s: how long the other end may say nothing while it is to answer.
    """

    def __init__(self, name: str, *, silence_s: float = SILENCE_S) -> None:
        self.name = name
        self._silence_s = silence_s
        self._conversation: Conversation | None = None
        self._is_abandoned = False
        self._lock = threading.RLock()
        self._has: dict[str, bool] = {}
        self._facts: Mapping[str, str] = {}

    def _connect(self) -> Line:
        """Return a new line to what runs ``other_end.START_ARGV`` there.

        Raises:
            HostError: it can't be had.
        """
        raise NotImplementedError

    # ---- requests

    def has(self, program: str) -> bool:
        """Return whether a program is on PATH there.

        Raises:
            HostError: the machine can't be reached.
        """
        if program not in self._has:
            self._has[program] = bool(self.ask("has", program=program)["has"])
        return self._has[program]

    def facts(self) -> Mapping[str, str]:
        """Return what the machine is: home, python (its version), host, machine (uname -m), user (its number), stages.

        Raises:
            HostError: it can't be reached.
        """
        if not self._facts:
            self._facts = self.ask("facts")
        return self._facts

    def run(self, argv: Sequence[str], *, timeout_s: float = 60.0) -> Completed:
        """Run a command there to its end, without a shell.

        Raises:
            ConnectionLost: nobody knows whether it ran.
            HostError: the machine can't be reached, or the command can't be started there.
        """
        with self._lock:
            self._try_line()
            request = {"do": "run", "argv": list(argv), "timeout_s": timeout_s}
            answer = self._answer(request, timeout_s + 30)
        if "error" in answer:
            raise HostError(
                f"{self.name}: {argv[0]}: can't be started there: {answer['error']}",
                "Is it on PATH there? What modules it needs must be loaded at login (~/.bash_profile there).",
                self.name,
            )
        try:
            understood(self.name, request, answer)
        except HostError as error:
            # It may have run all the same.
            raise ConnectionLost(error.message, error.next_step, self.name) from error
        return Completed(tuple(argv), answer["status"], answer["stdout"], answer["stderr"])

    def ask(self, do: str, *, timeout_s: float = 60.0, **what: Any) -> dict[str, Any]:
        """Have one request answered by the program at the other end (remote_side.py).

        Args:
            do: a key of ``remote_side.REQUESTS``.
            timeout_s: seconds for all of it, though the other end be alive.
            what: its arguments.

        Raises:
            ConnectionLost: the connection broke; nobody knows whether it was done.
            HostError: the machine can't be reached, or can't do it; the message names the machine, the path and why.
        """
        request = {**what, "do": do}
        if do not in REPEATABLE:
            answer = self._answer(request, timeout_s)
        else:
            answer = self._twice(lambda: self._answer(request, timeout_s))
        return understood(self.name, request, checked(self.name, answer))

    # ---- files

    def put(self, local: str, path: str, on_bytes: OnBytes = lambda count: None) -> int:
        """Send a file, going on where an earlier try broke off; return how many bytes went over the line.

        The file appears whole or not at all, and is known by its sha256: one that is there already isn't sent. The part
        that has arrived is ``<path>.<sha256[:16]>.part``.

        Raises:
            HostError: it could not be sent; what has arrived is kept for the next try.
            OSError: the file here can't be read.
        """
        size, whole = digest_here(local)
        part = f"{path}.{whole[:16]}.part"
        sent = 0

        def went(count: int) -> None:
            nonlocal sent
            sent += count
            on_bytes(count)

        def put_rest() -> None:
            state = self.ask("begun", path=path, part=part, size=size, sha256=whole, timeout_s=_DIGEST_S)
            if state["there"]:
                return
            start = state["size"] if state["size"] <= size else 0
            if start and digest_here(local, start)[1] != state["digest"]:
                start = 0
            self._send_rest(local, part, start, size, went)
            arrived = self.ask("publish", part=part, path=path, size=size, sha256=whole, timeout_s=_DIGEST_S)
            if not arrived["published"]:
                raise HostError(
                    f"{self.name}: {path}: arrived with {arrived['size']} bytes instead of {size}, or with others",
                    f"Did {local} change meanwhile? Run the command again.",
                    self.name,
                )

        self._twice(put_rest)
        return sent

    def _send_rest(self, local: str, part: str, start: int, size: int, went: OnBytes) -> None:
        request = {"do": "receive", "path": part, "offset": start, "length": size - start}
        with open(local, "rb") as stream, self._talking() as conversation:
            stream.seek(start)
            try:
                answer = conversation.send_file(request, stream, size - start, went)
            except EOFError:
                raise HostError(f"{local}: became shorter while it was sent", "Run it again.", self.name) from None
            if "error" in answer:
                # What is still on its way would be taken for the next request.
                self._drop()
        checked(self.name, answer)

    def fetch_tail(self, path: str, local: str, stop: int, on_bytes: OnBytes = lambda count: None) -> int:
        """Bring a file here that only grows there, from the byte that is here up to ``stop``; return the bytes fetched.

        What is here must be the beginning of what is there (compared by sha256); what isn't is fetched again. Nothing
        is compared, and nothing fetched, when ``stop`` bytes are here already.

        Raises:
            HostError: it could not be fetched; what has arrived is kept for the next try.
            OSError: the file here can't be written.
        """
        fetched = 0

        def came(block: bytes) -> None:
            nonlocal fetched
            write_all(descriptor, block)
            fetched += len(block)
            on_bytes(len(block))

        def fetch_rest() -> None:
            start = os.fstat(descriptor).st_size
            if start >= stop:
                return
            if start:
                here = digest_here(local, start)[1]
                if self.ask("digest", path=path, length=start, timeout_s=_DIGEST_S)["sha256"] != here:
                    start = 0
                    os.ftruncate(descriptor, 0)
            os.lseek(descriptor, start, os.SEEK_SET)
            request = {"do": "send", "path": path, "offset": start, "length": stop - start}
            with self._talking() as conversation:
                answer = conversation.receive_file(request, came)
            checked(self.name, answer)
            found = os.fstat(descriptor).st_size
            if found < stop:
                raise HostError(
                    f"{self.name}: {path}: ends at byte {found}, and had {stop} before",
                    "Was it changed or removed there?",
                    self.name,
                )
            sync(descriptor)

        descriptor = os.open(local, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        try:
            self._twice(fetch_rest)
        finally:
            os.close(descriptor)
        return fetched

    def close(self) -> None:
        """End the connection; the next request makes a new one."""
        with self._lock:
            self._drop()

    def abandon(self) -> None:
        """End the connection at once, whichever thread is using it, and make no other."""
        self._is_abandoned = True
        conversation = self._conversation
        if conversation is not None:
            conversation.close()

    # ---- the line

    def _twice(self, work: Callable[[], Result]) -> Result:
        """Do what may be done again; once more over a new line if the line breaks."""
        try:
            return work()
        except ConnectionLost as error:
            try:
                return work()
            except HostError as second:
                if isinstance(second, ConnectionLost) or is_refusal(second):
                    raise
                # There is no way back, and what was asked first may have been done.
                raise ConnectionLost(second.message, second.next_step, self.name) from error

    def _try_line(self) -> None:
        """Find out whether a line that was silent for long still stands, before what can't be sent twice is sent.

        A machine that slept has a dead connection and doesn't know.
        """
        if self._conversation is not None and time.monotonic() - self._conversation.heard_at > _IDLE_S:
            with contextlib.suppress(ConnectionLost):
                self._answer({"do": "ping"}, self._silence_s)

    def _answer(self, request: Mapping[str, Any], timeout_s: float) -> dict[str, Any]:
        with self._talking() as conversation:
            return conversation.answer(request, timeout_s)

    @contextlib.contextmanager
    def _talking(self) -> Iterator[Conversation]:
        """Give the conversation, to one thread at a time; it ends if an answer is still on its way in the end."""
        with self._lock:
            self._check_wanted()
            if self._conversation is not None and not self._conversation.is_alive:
                self._drop()
            conversation = self._conversation or self._open()
            try:
                yield conversation
            except LineBroken as error:
                self._drop()
                raise ConnectionLost(
                    f"{self.name}: the connection broke: {error}",
                    "Run the command again: it goes on where this one stopped.",
                    self.name,
                ) from error
            except BaseException:
                # An answer that comes later would be taken for the next one's.
                self._drop()
                raise

    def _open(self) -> Conversation:
        conversation = self._conversation = Conversation(self._connect(), self._silence_s)
        try:
            self._check_wanted()
            conversation.start()
        except NotStarted as error:
            self._drop()
            raise HostError(
                f"{self.name}: python3 can't be started there: {error}",
                "It takes bash and Python 3.6 or later on the login node (`module load python` in ~/.bash_profile).",
                self.name,
            ) from error
        except LineBroken as error:
            self._drop()
            raise HostError(
                f"{self.name}: the connection broke before python3 had started there: {error}",
                f"Run the command again. If it says the same, try `ssh {self.name} bash -lc 'python3 --version'`.",
                self.name,
            ) from error
        except BaseException:
            self._drop()
            raise
        return conversation

    def _check_wanted(self) -> None:
        if self._is_abandoned:
            raise HostError(f"{self.name}: interrupted", "Run the command again: it goes on from there.", self.name)

    def _drop(self) -> None:
        conversation, self._conversation = self._conversation, None
        if conversation is not None:
            conversation.close()
