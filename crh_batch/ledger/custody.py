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
from crh_batch.ledger.session import Session, SessionHeader, holder_of, read_events, read_header

_LEFT = "left"
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
        self._is_gone = False
        self.session: Session
        #: Whether the holder before this one died with its work half done, or said so.
        self.follows_a_death = False

    def __enter__(self) -> Custody:
        number, ended = self._last()
        if number and not ended:
            self._check_holder(number)
            self.follows_a_death = True
        elif number:
            self.follows_a_death = self._left_work(number)
        self.session = Session.begin(self._paths, "client")
        self._number = number + 1
        if not self.session.win_for_batch(f"custody.{self._number:03d}", self._links):
            self.session.close()
            raise self._busy(self._number)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if not self._is_gone:
            self.session.win_for_batch(f"custody.{self._number:03d}.end", self._links)
        self.session.close()

    def leave_it_gone(self) -> None:
        """Say that the batch is about to be removed, so nothing is written into it any more."""
        self._is_gone = True

    def _last(self) -> tuple[int, bool]:
        held: set[int] = set()
        ended: set[int] = set()
        for name in os.listdir(self._paths.names):
            match = _CUSTODY.match(name)
            if match:
                (ended if match.group(2) else held).add(int(match.group(1)))
        last = max(held | ended, default=0)
        return last, last in ended

    def verdict(self) -> Verdict | None:
        """Return whether the client that has it lives, None if nobody has it; nothing is taken."""
        number, ended = self._last()
        if not number or ended:
            return None
        header = self._holder(number)
        return Verdict.UNKNOWN if header is None else self._judge(header)

    def is_left(self) -> bool:
        """Return whether its last holder died with it, or left work; nothing is taken."""
        number, ended = self._last()
        return self._left_work(number) if number and ended else self.verdict() is Verdict.DEAD

    def say_left(self, item_id: int) -> None:
        """Write down for the next holder that a collected tomodir's .crh file is still there."""
        self.session.append(_LEFT, id=item_id)

    def _left_work(self, number: int) -> bool:
        token = holder_of(self._paths.batch_name(f"custody.{number:03d}"))
        return token is not None and any(event["event"] == _LEFT for event in read_events(self._paths, token))

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
    """Return whether the last client with custody died in it, or could not remove a .crh file; takes nothing."""
    return Custody(batch.paths, batch.settings.links).is_left()
