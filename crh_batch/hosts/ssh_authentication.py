"""Logging in as ssh does: by the agent's keys, by key files, by answers to the server's questions, by a password.

No password, passphrase or answer is kept: each is asked for when it is needed, once a connection, and forgotten.
"""

from __future__ import annotations

import base64
import contextlib
import os
from collections.abc import Generator, Iterator, Sequence

import paramiko

from crh_batch.errors import HostError
from crh_batch.hosts.base import Asker
from crh_batch.hosts.ssh_options import SshOptions

# A person looks for a second factor meanwhile.
_AUTHENTICATION_S = 120.0


def log_in(transport: paramiko.Transport, options: SshOptions, ask: Asker) -> None:
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
