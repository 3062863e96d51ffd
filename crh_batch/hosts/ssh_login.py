"""Reaching a host as ssh does: through jump hosts or a program, with known host keys alone, logged in as the user."""

from __future__ import annotations

import contextlib
import logging
import socket
import subprocess
from collections.abc import Sequence
from typing import Any

import paramiko

from crh_batch.errors import HostError
from crh_batch.hosts.base import Asker
from crh_batch.hosts.ssh_authentication import log_in
from crh_batch.hosts.ssh_keys import check_key, known_keys, plain_type
from crh_batch.hosts.ssh_options import SshOptions, read_options

_MOST_JUMPS = 8
_PROXY_END_S = 5.0
# What goes wrong is said once, by an error; without a handler Python prints what paramiko logs, with tracebacks.
logging.getLogger("paramiko").addHandler(logging.NullHandler())


def nobody(prompt: str, *, secret: bool) -> str | None:
    """Answer nothing: there is no terminal."""
    return None


class Connection:
    """One connection to a host, with those that it goes through."""

    def __init__(self, options: SshOptions, transports: Sequence[paramiko.Transport]) -> None:
        self.options = options
        self.transport = transports[-1]
        self._transports = transports

    @property
    def is_alive(self) -> bool:
        """Whether it still stands."""
        return all(one.is_active() for one in self._transports)

    def close(self) -> None:
        """End it, and those that it goes through."""
        for one in reversed(self._transports):
            _close(one)


def _close(transport: paramiko.Transport) -> None:
    stream: object = transport.sock
    transport.close()
    if isinstance(stream, paramiko.ProxyCommand):
        # paramiko sends it a signal, from two threads, and leaves the rest to chance.
        transport.join(_PROXY_END_S)
        with contextlib.suppress(subprocess.TimeoutExpired):
            stream.process.wait(timeout=_PROXY_END_S)
        if stream.process.returncode is None:
            stream.process.kill()
            stream.process.wait()
        for pipe in (stream.process.stdin, stream.process.stdout, stream.process.stderr):
            if pipe is not None:
                pipe.close()


def connect(name: str, ask: Asker = nobody, *, config_file: str = "") -> Connection:
    """Connect to a host.

    Args:
        name: a Host of ~/.ssh/config, or ``[user@]host[:port]``.

    Raises:
        HostError: it can't be reached, its key isn't known, or it doesn't let the user in.
    """
    options = read_options(name, config_file=config_file)
    way = [*_way_to(options, config_file), options]
    transports: list[paramiko.Transport] = []
    try:
        for one in way:
            transports.append(_connect_one(one, transports[-1] if transports else None))
            log_in(transports[-1], one, ask)
    except BaseException:
        for transport in reversed(transports):
            _close(transport)
        raise
    return Connection(options, transports)


def _way_to(options: SshOptions, config_file: str, depth: int = 0) -> list[SshOptions]:
    """Return the hosts to go through; the first of them may have jumps of its own (ssh_config(5), "ProxyJump")."""
    way: list[SshOptions] = []
    for number, jump in enumerate(options.jumps):
        if depth >= _MOST_JUMPS:
            raise HostError(
                f"{options.name}: more than {_MOST_JUMPS} jump hosts, or a circle of them", "", options.name
            )
        found = read_options(jump, config_file=config_file)
        if number == 0:
            way += _way_to(found, config_file, depth + 1)
        way.append(found)
    return way


def _connect_one(options: SshOptions, before: paramiko.Transport | None) -> paramiko.Transport:
    known = known_keys(options)
    where = f"{options.user}@{options.hostname}:{options.port}"
    try:
        transport = paramiko.Transport(_stream(options, before))
    except (OSError, ValueError, paramiko.SSHException) as error:
        # ValueError: a name that no name server could be asked for.
        raise _unreachable(options, str(getattr(error, "strerror", None) or error)) from error
    try:
        transport.banner_timeout = options.connect_s
        # Those first of which a key is known: a server offers several, and another one would look unknown.
        types = [key.get_name() for key in known]
        security = transport.get_security_options()
        first = [one for one in security.key_types if plain_type(one) in types]
        security.key_types = first + [one for one in security.key_types if one not in first]
        transport.start_client(timeout=options.connect_s)
        check_key(options, transport.get_remote_server_key(), known)
        transport.set_keepalive(options.keepalive_s)
    except (paramiko.SSHException, EOFError, OSError) as error:
        _close(transport)
        raise _unreachable(options, f"{where}: {error or 'the connection was closed'}") from error
    except BaseException:
        _close(transport)
        raise
    return transport


def _stream(options: SshOptions, before: paramiko.Transport | None) -> Any:
    if before is not None:
        there = (options.hostname, options.port)
        return _Through(before.open_channel("direct-tcpip", there, ("127.0.0.1", 0), timeout=options.connect_s))
    if options.proxy_command:
        return paramiko.ProxyCommand(options.proxy_command)
    return socket.create_connection((options.hostname, options.port), timeout=options.connect_s)


class _Through:
    """A channel through a jump host in place of a socket; to close it never fails.

    paramiko closes it in a thread of its own. If the line to the jump host breaks just then, that thread would end with
    a traceback on the user's terminal, and with waiters that nobody wakes.
    """

    def __init__(self, channel: paramiko.Channel) -> None:
        self._channel = channel

    def __getattr__(self, name: str) -> Any:
        return getattr(self._channel, name)

    def close(self) -> None:
        with contextlib.suppress(paramiko.SSHException, EOFError, OSError):
            self._channel.close()


def _unreachable(options: SshOptions, why: str) -> HostError:
    return HostError(
        f"{options.name}: can't be reached: {why}",
        f"Is it up, and is your network (VPN)? Try `ssh {options.name}`, then run the command again. If only ssh gets "
        "there, ~/.ssh/config has an option that is not understood here.",
        options.name,
    )
