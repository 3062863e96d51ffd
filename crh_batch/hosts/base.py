"""What a host is: something that runs an argv and tells how it went."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol


@dataclass(frozen=True)
class Completed:
    """A command's end.

    Args:
        exit_status: None if it did not end within its time.
    """

    argv: tuple[str, ...]
    exit_status: int | None
    stdout: str
    stderr: str


class Commands(Protocol):
    """A machine on which commands can be run."""

    @property
    def name(self) -> str:
        """What it is called: empty for this machine, else the name that SSH knows it by."""
        ...

    def has(self, program: str) -> bool:
        """Return whether a program is on PATH there.

        Raises:
            HostError: the machine can't be reached.
        """
        ...

    def run(self, argv: Sequence[str], *, timeout_s: float = 60.0) -> Completed:
        """Run a command there to its end, without a shell.

        Raises:
            ConnectionLost: nobody knows whether it ran.
            HostError: the machine can't be reached, or the command can't be started there.
        """
        ...


class Host(Commands, Protocol):
    """A machine whose commands read files that are this machine's, or were brought from it."""

    def there(self, path: str) -> str:
        """Return the absolute path by which that machine knows a file or directory of this one.

        Raises:
            HostError: it doesn't see it.
        """
        ...

    def bring(self, path: str) -> None:
        """Make sure that a small file (a job script) is there as it is here, or that a directory is there.

        Nothing is done where both machines see the same filesystem.

        Raises:
            HostError: it could not be brought there.
        """
        ...


class SameFiles:
    """What is so of a host that sees the same files under the same paths."""

    @property
    def name(self) -> str:
        """Empty: it is this machine."""
        return ""

    def there(self, path: str) -> str:
        """Return the absolute path."""
        return os.path.abspath(path)

    def bring(self, path: str) -> None:
        """Do nothing: what is here is there."""


class Asker(Protocol):
    """Asks the user; None where there is nobody to ask."""

    def __call__(self, prompt: str, *, secret: bool) -> str | None:
        """Return the answer."""
        ...


OnBytes = Callable[[int], None]


class FarHost(Commands, Protocol):
    """A machine behind a connection that may break at any moment; its paths are its own."""

    def ask(self, do: str, *, timeout_s: float = 60.0, **what: Any) -> dict[str, Any]:
        """Have one request answered by the program at the other end (remote_side.py).

        One that changes nothing is asked once more, over a new connection, if the connection breaks.

        Args:
            do: a key of ``remote_side.REQUESTS``.
            what: its arguments.

        Raises:
            ConnectionLost: the connection broke; nobody knows whether it was done.
            HostError: the machine can't be reached, or can't do it; the message names the machine, the path and why.
        """
        ...

    def put(self, local: str, path: str, on_bytes: OnBytes = ...) -> int:
        """Send a file, going on where an earlier try broke off; return how many bytes went over the line.

        The file appears whole or not at all, and is known by its sha256: one that is there already isn't sent.

        Raises:
            HostError: it could not be sent; what has arrived is kept for the next try.
            OSError: the file here can't be read.
        """
        ...

    def fetch_tail(self, path: str, local: str, stop: int, on_bytes: OnBytes = ...) -> int:
        """Bring a file here that only grows there, from the byte that is here up to ``stop``; return the bytes fetched.

        What is here must be the beginning of what is there (compared by sha256); what isn't is fetched again.

        Raises:
            HostError: it could not be fetched; what has arrived is kept for the next try.
            OSError: the file here can't be written.
        """
        ...

    def facts(self) -> Mapping[str, str]:
        """Return what the machine is: home, python (its version), host, user, stages (where stages go by default)."""
        ...

    def close(self) -> None:
        """End the connection; the next request makes a new one."""
        ...

    def abandon(self) -> None:
        """End the connection at once, whichever thread is using it, and make no other."""
        ...
