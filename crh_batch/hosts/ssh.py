"""A machine behind SSH: the same interface as this machine's, over one connection for all."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import stat
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import paramiko

from crh_batch.errors import HostError
from crh_batch.hosts import remote_side
from crh_batch.hosts.base import Completed, RemoteEntry
from crh_batch.hosts.ssh_login import Asker, Connection, connect, nobody
from crh_batch.ledger.durable import random_word

_START_S = 60.0
_BLOCK = 1 << 18
# The text that is started: python3 reads its program from its input, so no quote stands within a quote. A login shell,
# because modules and schedulers are put on PATH by /etc/profile at many sites.
_START = "exec bash -lc 'exec python3 -c \"import sys; exec(sys.stdin.buffer.read(int(sys.stdin.buffer.readline())))\"'"


class SshHost:
    """Runs commands on another machine, and moves files there and back.

    Args:
        name: a Host of ~/.ssh/config, or ``[user@]host[:port]``.
        ask: for passphrases, passwords and second factors.
    """

    def __init__(self, name: str, ask: Asker = nobody, *, config_file: str = "") -> None:
        self.name = name
        self._ask = ask
        self._config_file = config_file
        self._connection: Connection | None = None
        self._channel: paramiko.Channel | None = None
        self._unread = b""
        self._lock = threading.Lock()
        self._sftp: paramiko.SFTPClient | None = None
        self._has: dict[str, bool] = {}

    # ---- commands

    def has(self, program: str) -> bool:
        """Return whether a program is on PATH there.

        Raises:
            HostError: the machine can't be reached.
        """
        if program not in self._has:
            self._has[program] = bool(self._request({"do": "has", "program": program})["has"])
        return self._has[program]

    def run(self, argv: Sequence[str], *, timeout_s: float = 60.0) -> Completed:
        """Run a command to its end, without a shell.

        Raises:
            HostError: the machine can't be reached, or the command can't be started there.
        """
        answer = self._request({"do": "run", "argv": list(argv), "timeout_s": timeout_s}, timeout_s + 30)
        if "error" in answer:
            raise HostError(
                f"{self.name}: {argv[0]}: can't be started there: {answer['error']}", "Is it on PATH there?", self.name
            )
        return Completed(tuple(argv), answer["status"], answer["stdout"], answer["stderr"])

    # ---- files

    def list(self, path: str) -> list[RemoteEntry] | None:
        """Return what is in a directory, by name; None if it isn't there.

        Raises:
            HostError: it can't be listed.
        """
        answer = self._request({"do": "list", "path": path})
        self._refuse(path, answer)
        return None if answer["entries"] is None else [RemoteEntry(*one) for one in answer["entries"]]

    def put(self, local: str, path: str, on_bytes: Callable[[int], None] = lambda count: None) -> int:
        """Send a file, going on where an earlier try broke off; return how many bytes went over the line.

        The file appears whole or not at all, and is known by its sha256: one that is there already isn't sent.

        Raises:
            HostError: it could not be sent; what has arrived is kept for the next try.
            OSError: the file here can't be read.
        """
        size, whole = _digest(local)
        there = self._digest(path)
        if there == (size, whole):
            return 0
        part = f"{path}.{whole[:16]}.part"
        begun, _ = self._digest(part, 0)
        start = min(max(begun, 0), size)
        if start and self._digest(part, start)[1] != _digest(local, start)[1]:
            start = 0
        with self._files(path) as files, open(local, "rb") as stream:
            stream.seek(start)
            with files.open(part, "r+b" if begun >= 0 else "wb") as target:
                target.set_pipelined(True)
                target.truncate(start)
                target.seek(start)
                while block := stream.read(_BLOCK):
                    target.write(block)
                    on_bytes(len(block))
        arrived = self._digest(part)
        if arrived != (size, whole):
            raise HostError(
                f"{self.name}: {path}: arrived with {arrived[0]} bytes instead of {size}, or with others",
                "Run the command again; is the disk there full (quota)?",
                self.name,
            )
        self._refuse(path, self._request({"do": "publish", "part": part, "path": path}))
        return size - start

    def get(self, path: str, local: str, on_bytes: Callable[[int], None] = lambda count: None) -> int:
        """Fetch a file, going on where an earlier try broke off; return how many bytes came over the line.

        Raises:
            HostError: it could not be fetched; what has arrived is kept for the next try.
            OSError: the file here can't be written.
        """
        size, whole = self._digest(path)
        if size < 0:
            raise HostError(f"{self.name}: {path}: no such file", "Was it removed there?", self.name)
        if os.path.exists(local) and _digest(local) == (size, whole):
            return 0
        part = f"{local}.{whole[:16]}.part"
        start = os.path.getsize(part) if os.path.exists(part) else 0
        if start and (start > size or _digest(part)[1] != self._digest(path, start)[1]):
            start = 0
        with self._files(path) as files, open(part, "r+b" if start else "wb") as target:
            target.truncate(start)
            target.seek(start)
            with files.open(path, "rb") as stream:
                stream.seek(start)
                stream.prefetch(size)
                while block := stream.read(_BLOCK):
                    target.write(block)
                    on_bytes(len(block))
            target.flush()
            os.fsync(target.fileno())
        if _digest(part) != (size, whole):
            raise HostError(f"{self.name}: {path}: changed while it was fetched", "Run the command again.", self.name)
        os.replace(part, local)
        return size - start

    def make_directories(self, path: str) -> None:
        """Make a directory and those above it, readable by their owner alone, if they aren't there.

        Raises:
            HostError: that can't be done.
        """
        done = self.run(["mkdir", "-p", "-m", "700", "--", path])
        if done.exit_status != 0:
            raise HostError(f"{self.name}: {path}: {done.stderr.strip()}", "Check that you may write there.", self.name)

    def facts(self) -> Mapping[str, str]:
        """Return what the machine is: home, python, host, user.

        Raises:
            HostError: it can't be reached.
        """
        return self._request({"do": "facts"})

    def close(self) -> None:
        """End the connection."""
        with self._lock:
            self._drop()

    # ---- the connection

    def _digest(self, path: str, length: int | None = None) -> tuple[int, str]:
        answer = self._request({"do": "digest", "path": path, "length": length}, 3600.0)
        self._refuse(path, answer)
        return answer["size"], answer["sha256"]

    def _refuse(self, path: str, answer: Mapping[str, Any]) -> None:
        if "error" in answer:
            raise HostError(
                f"{self.name}: {path}: {answer['error']}", "Check that you may read and write there.", self.name
            )

    @contextlib.contextmanager
    def _files(self, path: str) -> Iterator[paramiko.SFTPClient]:
        try:
            with self._lock:
                if self._connection is None or not self._connection.is_alive:
                    self._open()
                assert self._connection is not None
                if self._sftp is None:
                    self._sftp = paramiko.SFTPClient.from_transport(self._connection.transport)
            assert self._sftp is not None
            yield self._sftp
        except (paramiko.SSHException, EOFError, OSError) as error:
            is_answer = isinstance(error, OSError) and self._connection is not None and self._connection.is_alive
            if not is_answer:
                self.close()
            raise HostError(
                f"{self.name}: {path}: " + (str(error) if is_answer else f"the connection broke: {error or 'closed'}"),
                "Is the disk full there, or over its quota?"
                if is_answer
                else "Run the command again: it goes on there.",
                self.name,
            ) from error

    def _request(self, request: Mapping[str, Any], timeout_s: float = 60.0) -> dict[str, Any]:
        with self._lock:
            try:
                if self._channel is None or self._connection is None or not self._connection.is_alive:
                    self._open()
                assert self._channel is not None
                self._channel.settimeout(timeout_s)
                self._channel.sendall(json.dumps(request).encode() + b"\n")
                return dict(json.loads(self._line()))
            except (paramiko.SSHException, EOFError, OSError, ValueError) as error:
                self._drop()
                raise _broken(self.name, error) from error
            except BaseException:
                # An answer that comes later would be taken for the next one's.
                self._drop()
                raise

    def _open(self) -> None:
        self._drop()
        self._connection = connect(self.name, self._ask, config_file=self._config_file)
        mark = f"crh-batch-{random_word(16)}"
        source = f"MARK = {mark!r}\n".encode() + _without_annotations().encode()
        self._channel = self._connection.transport.open_session(timeout=self._connection.options.connect_s)
        self._channel.settimeout(_START_S)
        self._channel.exec_command(_START)
        self._channel.sendall(b"%d\n" % len(source) + source)
        said: list[str] = []
        try:
            while (line := self._line().decode(errors="replace").rstrip("\r\n")) != mark:
                said.append(line)
        except EOFError:
            complaint = self._channel.recv_stderr(4096).decode(errors="replace").strip() or " ".join(said[-3:])
            raise HostError(
                f"{self.name}: python3 can't be started there: {complaint or 'it said nothing'}",
                "It takes bash and Python 3.6 or later on the login node (`module load python` in ~/.bash_profile).",
                self.name,
            ) from None

    def _line(self) -> bytes:
        assert self._channel is not None
        while b"\n" not in self._unread:
            received = self._channel.recv(65536)
            if not received:
                raise EOFError("closed by the other side")
            self._unread += received
        line, _, self._unread = self._unread.partition(b"\n")
        return line

    def _drop(self) -> None:
        self._sftp = None
        self._channel = None
        self._unread = b""
        if self._connection is not None:
            self._connection.close()
            self._connection = None


def _broken(name: str, error: Exception) -> HostError:
    return HostError(
        f"{name}: the connection broke: {error or 'no answer in time'}",
        "Run the command again: it goes on where this one stopped.",
        name,
    )


def _without_annotations() -> str:
    """Return the other side's program for Python 3.6, which does not know ``from __future__ import annotations``."""
    return Path(remote_side.__file__).read_text(encoding="utf-8").replace("from __future__ import annotations\n", "", 1)


def _digest(path: str, length: int | None = None) -> tuple[int, str]:
    """Return a local file's size, and the sha256 of its first ``length`` bytes."""
    found = hashlib.sha256()
    with open(path, "rb") as stream:
        facts = os.fstat(stream.fileno())
        if not stat.S_ISREG(facts.st_mode):
            raise OSError(22, "not a regular file", path)
        left = facts.st_size if length is None else length
        while left > 0 and (block := stream.read(min(left, 1 << 20))):
            found.update(block)
            left -= len(block)
    return facts.st_size, found.hexdigest()
