"""Logging in as ssh does: by the agent's keys, by key files, by answers to the server's questions, by a password.

No password, passphrase or answer is kept: each is asked for when it is needed, once a connection, and forgotten.
"""

from __future__ import annotations

import contextlib
from collections.abc import Sequence

import paramiko

from crh_batch.errors import HostError
from crh_batch.hosts.base import Asker
from crh_batch.hosts.ssh_identities import identities
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
        with contextlib.closing(identities(options, ask, tried)) as keys:
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
