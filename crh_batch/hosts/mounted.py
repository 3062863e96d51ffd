"""A machine behind SSH that sees this machine's files under other paths."""

from __future__ import annotations

import os
import time
from collections.abc import Sequence

from crh_batch.errors import HostError
from crh_batch.hosts.base import FarHost
from crh_batch.hosts.far_commands import FarCommands

# A network filesystem may show what was made here a little later there (docs/protocol.md, "Caches").
_SEEN_WITHIN_S = 60.0
_PAUSE_S = 1.0


_stays_here = False


def stay_here(stays: bool = True) -> None:
    """Say, for this whole process, that this machine's schedulers are those which were reached over SSH before.

    On the login node itself, that is.
    """
    global _stays_here
    _stays_here = stays


def stays_here() -> bool:
    """Return whether the user said so."""
    return _stays_here


def translated(path: str, pairs: Sequence[tuple[str, str]]) -> str | None:
    """Return a path of this machine as the other one knows it; None if it lies below no common directory.

    Args:
        pairs: directories here and there, the longest one here first.
    """
    whole = os.path.abspath(path)
    for here, there in pairs:
        below = os.path.relpath(whole, here)
        if below == ".":
            return there
        if not below.startswith(".." + os.sep) and below != "..":
            return os.path.join(there, below)
    return None


class MountedHost(FarCommands):
    """Runs commands there, about files that both machines see.

    Args:
        pairs: the profile's ``root_pairs``.
    """

    def __init__(self, far: FarHost, pairs: Sequence[tuple[str, str]]) -> None:
        super().__init__(far)
        self.pairs = pairs

    def there(self, path: str) -> str:
        """Return the absolute path by which that machine knows a file or directory of this one.

        Raises:
            HostError: it lies below no common directory.
        """
        found = translated(path, self.pairs)
        if found is None:
            known = ", ".join(here for here, _ in self.pairs) or "none"
            raise HostError(
                f"{self.name}: {path}: not below a directory that both machines see ({known})",
                'Name one in the profile, roots = ["/path/here:/path/there"], or leave roots out: the survey is sent '
                "there then.",
                self.name,
            )
        return found

    def bring(self, path: str) -> None:
        """Wait until that machine sees a file or directory of this one.

        Raises:
            HostError: it doesn't, so the two directories are not the same.
        """
        place = self.there(path)
        deadline = time.monotonic() + _SEEN_WITHIN_S
        while not self.far.ask("exists", paths=[place])["exists"][0]:
            if time.monotonic() >= deadline:
                raise HostError(
                    f"{self.name}: {place}: isn't there, though {path} is here",
                    "The two directories of roots in the profile must be the same one: mend it there.",
                    self.name,
                )
            time.sleep(_PAUSE_S)
