"""Reaching a host as ssh does: through jump hosts, with known host keys alone, by key, agent, or what the server asks.

No password, passphrase or answer is kept: each is asked for when it is needed, once a connection, and forgotten.
An unknown host key is shown and refused; nothing is ever added to known_hosts.
"""

from __future__ import annotations

import base64
import contextlib
import hashlib
import logging
import os
import socket
import subprocess
from collections.abc import Generator, Iterator, Sequence
from typing import Any

import paramiko

from crh_batch.errors import HostError
from crh_batch.hosts.base import Asker
from crh_batch.hosts.ssh_options import SshOptions, read_options

# A person looks for a second factor meanwhile.
_AUTHENTICATION_S = 120.0
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
            _log_in(transports[-1], one, ask)
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


# ---- the connection and the host's key


def _connect_one(options: SshOptions, before: paramiko.Transport | None) -> paramiko.Transport:
    known = _known_keys(options)
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
        first = [one for one in security.key_types if _plain_type(one) in types]
        security.key_types = first + [one for one in security.key_types if one not in first]
        transport.start_client(timeout=options.connect_s)
        _check_key(options, transport.get_remote_server_key(), known)
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


def _plain_type(algorithm: str) -> str:
    return "ssh-rsa" if algorithm.startswith("rsa-sha2-") else algorithm


def _known_keys(options: SshOptions) -> list[paramiko.PKey]:
    found: list[paramiko.PKey] = []
    for file in options.known_hosts:
        keys = paramiko.HostKeys()
        for line in _lines(file):
            # Lines that paramiko doesn't know (@revoked, @cert-authority) or can't read say nothing of this host.
            with contextlib.suppress(paramiko.SSHException, ValueError, IndexError):
                entry = None if line.startswith("@") else paramiko.hostkeys.HostKeyEntry.from_line(line)
                if entry is not None and entry.key is not None:
                    for name in entry.hostnames:
                        keys.add(name, entry.key.get_name(), entry.key)
        found += list((keys.lookup(options.key_name) or {}).values())
    return found


def fingerprint(key: paramiko.PKey) -> str:
    """Return a key's fingerprint as ssh-keygen -l prints it."""
    digest = base64.b64encode(hashlib.sha256(key.asbytes()).digest()).decode().rstrip("=")
    return f"{key.get_name()} SHA256:{digest}"


def _check_key(options: SshOptions, key: paramiko.PKey, known: Sequence[paramiko.PKey]) -> None:
    if key.asbytes() in _revoked(options):
        raise HostError(
            f"{options.name}: its host key {fingerprint(key)} was revoked (known_hosts)",
            "Don't use this host; ask its administrators.",
            options.name,
        )
    if any(one.asbytes() == key.asbytes() for one in known):
        return
    if known:
        kept = "; ".join(fingerprint(one) for one in known)
        raise HostError(
            f"{options.name}: its host key is another than the known one: {fingerprint(key)} instead of {kept}",
            "Somebody may be listening in. Ask the cluster's administrators; if the key was changed: "
            f"`ssh-keygen -R '{options.key_name}'`, then `ssh {options.name}` once.",
            options.name,
        )
    raise HostError(
        f"{options.name}: its host key is not known: {fingerprint(key)}",
        f"Compare it with what the cluster's administrators publish, then accept it: `ssh {options.name}` once.",
        options.name,
    )


def _revoked(options: SshOptions) -> set[bytes]:
    found = set()
    for file in options.known_hosts:
        for line in _lines(file):
            words = line.split()
            if len(words) >= 4 and words[0] == "@revoked":
                with contextlib.suppress(ValueError):
                    found.add(base64.b64decode(words[3]))
    return found


def _lines(file: str) -> list[str]:
    with contextlib.suppress(OSError), open(file, encoding="utf-8", errors="replace") as stream:
        return [text for line in stream if (text := line.strip()) and not text.startswith("#")]
    return []


# ---- who we are


def _log_in(transport: paramiko.Transport, options: SshOptions, ask: Asker) -> None:
    """Log in with what the server accepts, in ssh's order: agent, key files, its questions, a password."""
    transport.auth_timeout = _AUTHENTICATION_S
    tried: list[str] = []
    try:
        allowed = _allowed(transport, options.user)
        while not transport.is_authenticated():
            further = _next_step(transport, options, allowed, ask, tried)
            if further is None:
                raise _refused(options, allowed, tried)
            allowed = further
    except paramiko.AuthenticationException as error:
        raise _refused(options, [], [*tried, str(error)]) from error
    except (paramiko.SSHException, EOFError, OSError) as error:
        raise HostError(
            f"{options.name}: the connection ended while logging in as {options.user}: {error or 'closed'}",
            "The server may limit the number of keys tried: name one with IdentityFile and IdentitiesOnly yes.",
            options.name,
        ) from error


def _allowed(transport: paramiko.Transport, user: str) -> list[str]:
    try:
        transport.auth_none(user)
    except paramiko.BadAuthenticationType as error:
        return list(error.allowed_types)
    return []


def _next_step(
    transport: paramiko.Transport, options: SshOptions, allowed: Sequence[str], ask: Asker, tried: list[str]
) -> list[str] | None:
    """Take one step; return what the server wants then (nothing more if that was all), None if no step helped."""
    if "publickey" in allowed:
        with contextlib.closing(_keys(options, ask, tried)) as keys:
            for key, name in keys:
                with contextlib.suppress(paramiko.BadAuthenticationType, paramiko.AuthenticationException):
                    return list(transport.auth_publickey(options.user, key))
                _check_alive(transport)
                tried.append(name)
    if "keyboard-interactive" in allowed:
        with contextlib.suppress(paramiko.BadAuthenticationType, paramiko.AuthenticationException):
            return list(transport.auth_interactive(options.user, lambda *asked: _answer(options, ask, *asked)))
        _check_alive(transport)
        tried.append("answers to the server's questions")
    if "password" in allowed:
        password = ask(f"{options.user}@{options.hostname}'s password: ", secret=True)
        if password is not None:
            with contextlib.suppress(paramiko.BadAuthenticationType, paramiko.AuthenticationException):
                return list(transport.auth_password(options.user, password, fallback=False))
            tried.append("a password")
    return None


def _check_alive(transport: paramiko.Transport) -> None:
    if not transport.is_active():
        raise EOFError("the server closed the connection after too many tries")


def _keys(options: SshOptions, ask: Asker, tried: list[str]) -> Generator[tuple[paramiko.PKey, str]]:
    """Give keys one after another: of the agent those that are named as identities first, then files."""
    named = {public for path in options.identities if (public := _public_part(path))}
    seen = set()
    with _agent_keys(options) as agent_keys:
        for key in sorted(agent_keys, key=lambda key: key.asbytes() not in named):
            if key.asbytes() in named or not options.identities_only:
                seen.add(key.asbytes())
                yield key, f"{key.get_name()} of the agent"
    for path in options.identities:
        if _public_part(path) in seen:
            continue
        loaded = _load(path, options, ask, tried)
        if loaded is not None:
            yield loaded, path


@contextlib.contextmanager
def _agent_keys(options: SshOptions) -> Iterator[Sequence[paramiko.PKey]]:
    """Give the agent's keys, as long as it may be asked to sign with them; none if there is no agent."""
    agent = None
    if options.agent:
        with contextlib.suppress(paramiko.SSHException, OSError):
            agent = paramiko.Agent()
    try:
        yield agent.get_keys() if agent is not None else ()
    finally:
        if agent is not None:
            agent.close()


def _public_part(path: str) -> bytes:
    """Return what lies in the public half of a key file; empty if there is none."""
    with contextlib.suppress(OSError, ValueError, IndexError), open(path + ".pub", encoding="ascii") as stream:
        return base64.b64decode(stream.read().split()[1])
    return b""


def _load(path: str, options: SshOptions, ask: Asker, tried: list[str]) -> paramiko.PKey | None:
    for attempt in range(3):
        passphrase = ask(f"Passphrase for {path}: ", secret=True) if attempt else None
        if attempt and passphrase is None:
            tried.append(f"{path} (needs its passphrase, and there is no terminal: use an agent)")
            return None
        try:
            key = _read_key(path, passphrase)
        except paramiko.PasswordRequiredException:
            continue
        except (ValueError, TypeError, paramiko.SSHException, OSError) as error:
            # With a passphrase: a wrong one. Without: what paramiko and cryptography say of an encrypted key depends on
            # their versions and on the key's format.
            if attempt or any(word in str(error).lower() for word in ("passphrase", "password", "encrypted")):
                continue
            tried.append(f"{path} ({error})")
            return None
        certificate = path + "-cert.pub"
        if os.path.exists(certificate):
            with contextlib.suppress(ValueError, paramiko.SSHException):
                key.load_certificate(certificate)
        return key
    tried.append(f"{path} (wrong passphrase)")
    return None


def _read_key(path: str, passphrase: str | None) -> paramiko.PKey:
    """Return a private key of whichever type; PKey.from_path of paramiko 5.0 takes no passphrase that is text.

    Raises:
        PasswordRequiredException: it is encrypted.
        ValueError, TypeError, paramiko.SSHException, OSError: it can't be read, or the passphrase is wrong.
    """
    why: Exception = paramiko.SSHException("no key of a type that is known")
    for kind in (paramiko.Ed25519Key, paramiko.ECDSAKey, paramiko.RSAKey):
        try:
            return kind.from_private_key_file(path, passphrase)
        except paramiko.PasswordRequiredException:
            raise
        except (ValueError, TypeError, paramiko.SSHException) as error:
            why = error
    raise why


def _answer(
    options: SshOptions, ask: Asker, title: str, instructions: str, prompts: Sequence[tuple[str, bool]]
) -> list[str]:
    heading = " ".join(text.strip() for text in (title, instructions) if text.strip())
    answers = []
    for prompt, is_shown in prompts:
        answer = ask(f"{heading + ': ' if heading else ''}{prompt}", secret=not is_shown)
        if answer is None:
            raise HostError(
                f"{options.name}: the server asks {prompt.strip()!r}, and there is nobody to answer",
                "Run the command in a terminal.",
                options.name,
            )
        answers.append(answer)
    return answers


def _refused(options: SshOptions, allowed: Sequence[str], tried: Sequence[str]) -> HostError:
    ways = f" The server takes {', '.join(allowed)}." if allowed else ""
    missing = "".join(f" {path} doesn't exist." for path in options.missing_identities)
    return HostError(
        f"{options.name}: {options.user}@{options.hostname} was not let in; tried: {', '.join(tried) or 'nothing'}",
        f"Is {options.user} the right user (User in ~/.ssh/config, or USER@{options.name})?{ways}{missing}",
        options.name,
    )
