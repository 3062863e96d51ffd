"""A machine behind SSH for what needs no file: a scheduler's questions and answers."""

from __future__ import annotations

from collections.abc import Sequence

from crh_batch.errors import HostError
from crh_batch.hosts.base import Completed, FarHost


class FarCommands:
    """Runs commands there that know nothing of this machine's files."""

    def __init__(self, far: FarHost) -> None:
        self.far = far

    @property
    def name(self) -> str:
        """The name that SSH knows it by."""
        return self.far.name

    def has(self, program: str) -> bool:
        """Return whether a program is on PATH there.

        Raises:
            HostError: the machine can't be reached.
        """
        return self.far.has(program)

    def run(self, argv: Sequence[str], *, timeout_s: float = 60.0) -> Completed:
        """Run a command there to its end, without a shell.

        Raises:
            ConnectionLost: nobody knows whether it ran.
            HostError: the machine can't be reached, or the command can't be started there.
        """
        return self.far.run(argv, timeout_s=timeout_s)

    def there(self, path: str) -> str:
        """Refuse: it sees no file of this machine.

        Raises:
            HostError: always.
        """
        raise HostError(f"{self.name}: {path}: can't be seen there", "Log in there for this command.", self.name)

    def bring(self, path: str) -> None:
        """Refuse: nothing is brought there.

        Raises:
            HostError: always.
        """
        self.there(path)
