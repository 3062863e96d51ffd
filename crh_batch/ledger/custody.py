"""Custody of a batch: what only one client may do at a time (collect, remove registrations, take over, send jobs).

The names ``custody.NNN`` and ``custody.NNN.end`` below ``names/`` hold it: whoever made the highest one has it until
its ``.end`` exists or its holder is dead. A dead holder is followed by the next number, never removed, so there is no
lock to break and nobody can break a fresh one.
"""

from __future__ import annotations

import os
import re
from types import TracebackType
from typing import Callable

from crh_batch.errors import Busy
from crh_batch.ledger.batch import Batch
from crh_batch.ledger.identity import Verdict, verdict_here
from crh_batch.ledger.paths import BatchPaths
from crh_batch.ledger.session import Session, SessionHeader, holder_of, read_header

_CUSTODY = re.compile(r"custody\.(\d+)(\.end)?\Z")

Judge = Callable[[SessionHeader], Verdict]


def judge_here(header: SessionHeader) -> Verdict:
    """Judge a session by this machine alone."""
    return verdict_here(header.who)


class Custody:
    """Custody of one batch, as a context manager.

    Args:
        force: take it even when the holder can't be proven dead; the user has said that it is.

    Raises:
        Busy: somebody else has it, and isn't known to be dead.
    """

    def __init__(self, paths: BatchPaths, links: str, *, force: bool = False, judge: Judge = judge_here) -> None:
        self._paths = paths
        self._links = links
        self._force = force
        self._judge = judge
        self._number = 0
        self.session: Session
        #: Whether the holder before this one died with its work half done.
        self.follows_a_death = False

    def __enter__(self) -> Custody:
        number, ended = self._last()
        if number and not ended:
            self._check_holder(number)
            self.follows_a_death = True
        self.session = Session.begin(self._paths, "client")
        self._number = number + 1
        if not self.session.win_for_batch(f"custody.{self._number:03d}", self._links):
            self.session.close()
            raise self._busy(self._number)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.session.win_for_batch(f"custody.{self._number:03d}.end", self._links)
        self.session.close()

    def _last(self) -> tuple[int, bool]:
        held: set[int] = set()
        ended: set[int] = set()
        for name in os.listdir(self._paths.names):
            match = _CUSTODY.match(name)
            if match:
                (ended if match.group(2) else held).add(int(match.group(1)))
        last = max(held | ended, default=0)
        return last, last in ended

    def is_left(self) -> bool:
        """Return whether its last holder died with it; nothing is taken."""
        number, ended = self._last()
        header = self._holder(number) if number and not ended else None
        return header is not None and self._judge(header) is Verdict.DEAD

    def _check_holder(self, number: int) -> None:
        header = self._holder(number)
        verdict = Verdict.UNKNOWN if header is None else self._judge(header)
        if verdict is not Verdict.DEAD and not self._force:
            raise self._busy(number)

    def _holder(self, number: int) -> SessionHeader | None:
        token = holder_of(self._paths.batch_name(f"custody.{number:03d}"), wait_s=5.0)
        return None if token is None else read_header(self._paths, token)

    def _busy(self, number: int) -> Busy:
        header = self._holder(number)
        holder = str(header.who) if header else "a client that can't be identified"
        return Busy(
            f"batch {self._paths.batch_id}: {holder} is at work on it",
            "Wait until that is done. If it is surely dead (its machine is gone), repeat with --force.",
            self._paths.directory,
            holder,
        )


def custody_of(batch: Batch, *, force: bool = False) -> Custody:
    """Return the custody of a batch, to be entered."""
    return Custody(batch.paths, batch.settings.links, force=force)


def was_left_by_the_dead(batch: Batch) -> bool:
    """Return whether the last client with custody died in it, so that .crh files may be left over; takes nothing."""
    return Custody(batch.paths, batch.settings.links).is_left()
