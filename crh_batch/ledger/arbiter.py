"""Who decides about the exclusive names of a batch whose pilots run on another filesystem: that filesystem.

A batch with stages (docs/decisions/0028) has a copy of its names here. What only one process may do can't be decided
in a copy, so a name that pilots have a word in is made there first, and here afterwards. What concerns this side alone
(custody of the clients here, what is in place in the tomodirs here) is decided here as ever.
"""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, Callable

from crh_batch.errors import LedgerError
from crh_batch.ledger.paths import BatchPaths

if TYPE_CHECKING:
    from typing import Protocol

    from crh_batch.ledger.session import Session

    class Arbiter(Protocol):
        """Makes names where they are decided about, and copies them here."""

        def win(self, session: Session, marks: Sequence[tuple[int, str]]) -> list[bool]:
            """Make tomodirs' names for a session of this side; return for each whether it is the session's.

            The session's events so far are there before any of the names.

            Args:
                marks: id and mark of each, such as (17, "held.001").

            Raises:
                HostError: the other side can't be reached; nobody knows which names were made, and the next look tells.
                LedgerError: a name could not be made.
            """
            ...

        def win_for_batch(self, session: Session, mark: str) -> bool:
            """Make a name for the whole batch wherever it has pilots; return whether it is the session's everywhere.

            Raises:
                HostError, LedgerError: as for ``win``.
            """
            ...

        def bring_news(self) -> None:
            """Bring here what others have made meanwhile.

            Raises:
                HostError, LedgerError: as for ``win``.
            """
            ...


Finder = Callable[[BatchPaths], "Arbiter | None"]

# What clients of this side settle among themselves.
_OURS = re.compile(r"collected\Z|custody\.")


def _nobody(paths: BatchPaths) -> Arbiter | None:
    return None


_find: Finder = _nobody


def arbitrate(find: Finder) -> None:
    """Say, for this whole process, how to find who decides about a batch's names.

    Args:
        find: called with a batch's paths; returns None for a batch whose names are decided about here.
    """
    global _find
    _find = find


def arbiter_of(paths: BatchPaths) -> Arbiter | None:
    """Return who decides about a batch's names; None if this filesystem does."""
    return _find(paths)


def see_news(paths: BatchPaths) -> None:
    """Make sure that names which others made until now are seen here, too; for who reads names after making some.

    Raises:
        HostError: the other side can't be reached.
        LedgerError: what is new can't be written here.
    """
    if (arbiter := arbiter_of(paths)) is not None:
        arbiter.bring_news()


def is_mirror(paths: BatchPaths) -> bool:
    """Return whether a batch's names are decided about elsewhere: its pilots run on other filesystems.

    Raises:
        OSError: that can't be found out.
    """
    try:
        os.stat(paths.stages)
    except (FileNotFoundError, NotADirectoryError):
        return False
    return True


def refuse_mirror(paths: BatchPaths) -> None:
    """Refuse a batch in which a pilot of this filesystem would claim what others claim elsewhere.

    Raises:
        LedgerError: it is one.
    """
    if is_mirror(paths):
        raise LedgerError(
            f"{paths.directory}: is the copy of a batch that runs on a cluster, so no pilot can run here",
            "crh-batch submit starts pilots where it runs; to run its tomodirs here, cancel it and submit them anew.",
            paths.directory,
        )


def is_ours(mark: str) -> bool:
    """Return whether a name concerns the clients of this side alone."""
    return _OURS.match(mark) is not None
