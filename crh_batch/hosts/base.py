"""What a host is: something that runs an argv and tells how it went."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol


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


@dataclass(frozen=True)
class RemoteEntry:
    """One entry of a directory.

    Args:
        kind: f for a file, d for a directory, o for others.
    """

    name: str
    size: int
    mtime_ns: int
    kind: str


class Host(Protocol):
    """A machine on which commands can be run."""

    def has(self, program: str) -> bool:
        """Return whether a program is there."""
        ...

    def run(self, argv: Sequence[str], *, timeout_s: float = 60.0) -> Completed:
        """Run a command to its end, without a shell.

        Raises:
            HostError: it can't be started.
        """
        ...
