"""A machine behind SSH: one connection for all that is asked of it."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Iterator

import paramiko

from crh_batch.errors import HostError
from crh_batch.hosts.base import Asker
from crh_batch.hosts.line import Line, LineBroken
from crh_batch.hosts.line_host import SILENCE_S, LineHost
from crh_batch.hosts.other_end import START_TEXT
from crh_batch.hosts.ssh_login import Connection, connect, nobody

_RECEIVE_BYTES = 1 << 18
_LOOK_S = 5.0
# A home on a filesystem that hangs keeps a login waiting; so long it may.
_ANSWER_S = 60.0
# Signs of life and how far a file has arrived: some bytes each.
_MOST_EARLY_BYTES = 16 << 20


class SshHost(LineHost):
    """Runs commands on another machine, and moves files there and back.

    Args:
        name: a Host of ~/.ssh/config, or ``[user@]host[:port]``.
        ask: for passphrases, passwords and second factors.
        config_file: instead of ~/.ssh/config and the system's.
        silence_s: how long it may say nothing while it is to answer; then the connection counts as broken.
    """

    def __init__(self, name: str, ask: Asker = nobody, *, config_file: str = "", silence_s: float = SILENCE_S) -> None:
        super().__init__(name, silence_s=silence_s)
        self._asker = ask
        self._config_file = config_file

    def _connect(self) -> Line:
        connection = connect(self.name, self._asker, config_file=self._config_file)
        try:
            channel = connection.transport.open_session(timeout=connection.options.connect_s)
            with _ended_after(connection, _ANSWER_S):
                channel.exec_command(START_TEXT)
        except (paramiko.SSHException, EOFError, OSError) as error:
            connection.close()
            raise HostError(
                f"{self.name}: lets nobody run a command: {error or 'the connection was closed'}",
                f"Does `ssh {self.name} true` work?",
                self.name,
            ) from error
        except BaseException:
            connection.close()
            raise
        return _SshLine(connection, channel)


@contextlib.contextmanager
def _ended_after(connection: Connection, seconds: float) -> Iterator[None]:
    """End a connection whose other side doesn't answer; paramiko waits for some answers for ever."""
    timer = threading.Timer(seconds, connection.close)
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()


class _SshLine:
    """A channel of a connection that is its own."""

    def __init__(self, connection: Connection, channel: paramiko.Channel) -> None:
        self._connection = connection
        self._channel = channel
        self._came_early = b""

    def send(self, data: bytes, silence_s: float) -> None:
        view = memoryview(data)
        alive_at = time.monotonic()
        while view:
            self._channel.settimeout(min(_LOOK_S, silence_s))
            try:
                # paramiko copies what it can send; a slice of it keeps that short.
                count = self._channel.send(bytes(view[:_RECEIVE_BYTES]))
                if not count:
                    raise LineBroken("closed by the other side")
                view = view[count:]
                alive_at = time.monotonic()
            except TimeoutError as error:
                while self._channel.recv_ready():
                    if len(self._came_early) > _MOST_EARLY_BYTES:
                        raise LineBroken("the other end talks while it is to listen") from error
                    self._came_early += self._channel.recv(_RECEIVE_BYTES)
                    alive_at = time.monotonic()
                if time.monotonic() - alive_at > silence_s:
                    raise LineBroken(f"nothing came for {silence_s:.0f} s") from error
            except (paramiko.SSHException, EOFError, OSError) as error:
                raise LineBroken(str(error) or "closed") from error

    def receive(self, timeout_s: float) -> bytes:
        early, self._came_early = self._came_early, b""
        if early:
            return early
        self._channel.settimeout(timeout_s)
        try:
            return self._channel.recv(_RECEIVE_BYTES)
        except TimeoutError as error:
            raise LineBroken(f"nothing came for {timeout_s:.0f} s") from error
        except (paramiko.SSHException, EOFError, OSError) as error:
            raise LineBroken(str(error) or "closed") from error

    @property
    def has_news(self) -> bool:
        return bool(self._came_early) or self._channel.recv_ready()

    @property
    def is_alive(self) -> bool:
        return self._connection.is_alive and not self._channel.closed and not self._channel.eof_received

    def complaints(self) -> str:
        self._channel.settimeout(_LOOK_S)
        with contextlib.suppress(paramiko.SSHException, EOFError, OSError):
            return self._channel.recv_stderr(1 << 16).decode(errors="replace")
        return ""

    def close(self) -> None:
        self._connection.close()
