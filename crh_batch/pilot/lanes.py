"""Lets a pilot's slots claim tomodirs, run them and leave, as ``packing`` decides; a lane is one class (one width).

A slot may claim ahead of free cores only while runs are short: a claim that waits is a claim that nobody else can take.
One slot at a time looks for the next tomodir, since looking reads the shared filesystem; what becomes free meanwhile is
counted at once, under a lock that nobody holds for long.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

from crh_batch.ledger.batch import Batch
from crh_batch.ledger.items import Item
from crh_batch.ledger.settings import ItemClass
from crh_batch.pilot.chooser import Candidate, Chooser
from crh_batch.pilot.idling import Idling
from crh_batch.pilot.packing import Offer, Packing
from crh_batch.pilot.room import Place, Room

# Ready ones of one class that are looked at for one that fits into the memory that is free.
_LOOK_AT_MOST = 1000
# Something is ready and nothing runs, but it was not offered: its name is on its way through a network filesystem.
_LOOK_AGAIN_S = 1.0


class Lane:
    """One class of tomodirs, as one pilot works on it; used by one thread at a time, but for ``reopen``.

    Args:
        admit: whether this pilot may take a tomodir at all; asked once for each, for it is not offered again.
    """

    def __init__(
        self, batch: Batch, item_class: ItemClass, cores: int, admit: Callable[[Candidate, Item], bool]
    ) -> None:
        self.item_class = item_class
        self.width = min(item_class.threads, cores)
        self.chooser = Chooser(batch, item_class)
        self.short_runs = False
        self._batch = batch
        self._admit = admit
        self._exhausted = False
        self._reopened = False

    @property
    def is_open(self) -> bool:
        """Whether something may be ready."""
        return self._reopened or not self._exhausted

    def reopen(self) -> None:
        """Look again from the beginning, next time: something may be ready again. Any thread may call it."""
        self._reopened = True

    def find(self, fits: Callable[[Offer], bool], *, look_on: bool) -> tuple[Offer | None, Offer | None]:
        """Return the first that fits, taken out, and the one before it that would be next but doesn't fit.

        Args:
            look_on: whether others may fit where the next one doesn't.
        """
        if self._reopened:
            self._reopened = self._exhausted = False
            self.chooser.start_over()
        looked: list[Candidate] = []
        refused: Offer | None = None
        found: Offer | None = None
        while found is None and len(looked) < (_LOOK_AT_MOST if look_on else 1):
            offer = self._next()
            if offer is None:
                break
            if looked and offer.candidate.item_id in {one.item_id for one in looked}:
                # A new pass has begun, so all that were looked at are listed again.
                looked = [offer.candidate]
                break
            if fits(offer):
                found = offer
            else:
                refused = refused or offer
                looked.append(offer.candidate)
        self.chooser.put_back(looked)
        self._exhausted = found is None and not looked
        return found, refused

    def _next(self) -> Offer | None:
        while (candidate := self.chooser.next()) is not None:
            offer = self.offer(candidate)
            if offer is not None:
                return offer
            self.chooser.skip(candidate.item_id)
        return None

    def offer(self, candidate: Candidate) -> Offer | None:
        """Return what somebody else chose, None if this pilot can't take it."""
        item = self._batch.items[candidate.item_id]
        if not self._admit(candidate, item):
            return None
        return Offer(candidate, item, self.width, self._batch.need_bytes(item, candidate.memory_failures))

    def put_back(self, offer: Offer) -> None:
        """Take back what ``find`` gave."""
        self.chooser.put_back([offer.candidate])


@dataclass(eq=False)
class Ticket:
    """A claim that a slot has; ``place`` is None until there is one."""

    lane: Lane
    offer: Offer
    place: Place | None = None


class Lanes:
    """Admits slots; safe to use from several threads.

    Args:
        lanes: widest first.
        idling: how long to stay when nothing is ready that may be soon.
        has_news: whether clients have released or retried something since it was asked last; one thread at a time asks.
    """

    def __init__(
        self,
        lanes: list[Lane],
        room: Room,
        idling: Idling | None = None,
        has_news: Callable[[], bool] = lambda: False,
    ) -> None:
        self._lanes = lanes
        self._idling = idling or Idling(0)
        self._has_news = has_news
        self._choosing = threading.Lock()
        lock = threading.RLock()
        self._condition = threading.Condition(lock)
        self._packing = Packing(room, time.monotonic, lock)
        self._changes = 0
        self._stopped = False
        self._in_flight = 0
        self._ahead = 0

    @property
    def max_ahead(self) -> int:
        """How many tomodirs may be claimed and staged before there is a core for them."""
        return max(1, self._packing.room.cores // 4)

    def claim(self, win: Callable[[Offer], bool]) -> Ticket | None:
        """Wait until something may be claimed, and claim it; None when nothing is left or ``stop`` was called.

        Args:
            win: makes the claim; returns whether it is ours.
        """
        with self._choosing:
            while not self._stopped:
                seen = self._changes
                ticket = self._reserve()
                if ticket is None:
                    if not self._wait_for_change(seen):
                        return None
                elif self._win(ticket, win):
                    self._idling.work_came()
                    return ticket
        return None

    def _reserve(self) -> Ticket | None:
        choice = self._packing.choose(self._lanes, may_go_ahead=self._ahead < self.max_ahead)
        if choice is None:
            return None
        return self._ticket(self._lanes[choice.lane], choice.offer, has_room=choice.has_room)

    def _ticket(self, lane: Lane, offer: Offer, *, has_room: bool) -> Ticket:
        ticket = Ticket(lane, offer)
        with self._condition:
            self._in_flight += 1
            # RACE: one that waits in line may have taken the place just now; then this one is claimed ahead.
            if has_room and self._packing.fits(offer):
                ticket.place = self._take(offer)
            else:
                self._ahead += 1
        return ticket

    def lane_of(self, item_id: int) -> Lane | None:
        """Return the lane that a tomodir belongs to; None if this pilot takes none of its class."""
        inside = (one for one in self._lanes if one.item_class.first <= item_id < one.item_class.stop)
        return next(inside, None)

    def claim_this(self, lane: Lane, offer: Offer, win: Callable[[Offer], bool]) -> Ticket | None:
        """Claim what somebody else chose; None if it isn't ours. It begins when there is a place for it.

        Args:
            win: makes the claim; returns whether it is ours.
        """
        ticket = self._ticket(lane, offer, has_room=True)
        return ticket if self._made(ticket, win) else None

    def _made(self, ticket: Ticket, win: Callable[[Offer], bool]) -> bool:
        won = False
        try:
            won = win(ticket.offer)
        finally:
            if not won:
                self.end(ticket)
                self.leave(ticket)
        return won

    def _win(self, ticket: Ticket, win: Callable[[Offer], bool]) -> bool:
        won = self._made(ticket, win)
        if won:
            ticket.lane.chooser.won()
        else:
            ticket.lane.chooser.lost()
        return won

    def _wait_for_change(self, seen: int) -> bool:
        """Wait until something has become free or ready since ``seen``; return False if nothing can."""
        is_open = any(lane.is_open for lane in self._lanes)
        if not is_open and self._has_news():
            # A last look before this pilot leaves: something was released or retried since the listings were made.
            for lane in self._lanes:
                lane.reopen()
            return True
        # Reads the shared filesystem, so without the lock that others wait for.
        may_come = not is_open and any(lane.chooser.has_prospects() for lane in self._lanes)
        with self._condition:
            if self._changes != seen or self._stopped:
                return True
            if not self._in_flight and not is_open and not may_come:
                return False
            # An attempt that is under way may fail and be ready again, so this slot stays.
            pause_s = None if self._in_flight else _LOOK_AGAIN_S
            if may_come:
                pause_s = self._idling.pause(busy=self._in_flight > 0)
                if pause_s is None:
                    return False
            self._condition.wait(pause_s)
            if may_come and self._changes == seen:
                for lane in self._lanes:
                    lane.reopen()
        return True

    def begin(self, ticket: Ticket) -> Place:
        """Wait for the place of one that was claimed ahead; return it."""
        with self._condition:
            if ticket.place is None:
                self._packing.line.append(ticket.offer)
                while not self._packing.may_begin(ticket.offer):
                    self._condition.wait()
                self._packing.line.remove(ticket.offer)
                self._ahead -= 1
                ticket.place = self._take(ticket.offer)
                self._changed()
            return ticket.place

    def end(self, ticket: Ticket) -> None:
        """Free the place of one whose programs have ended, or that was given up."""
        with self._condition:
            if ticket.place is None:
                self._ahead -= 1
            else:
                self._packing.room.give_back(ticket.place)
            self._changed()

    def leave(self, ticket: Ticket) -> None:
        """Say that a slot is through with what it had claimed."""
        with self._condition:
            self._in_flight -= 1
            self._changed()

    def look_again(self) -> None:
        """Look through all lanes once more, for something may be ready again."""
        for lane in self._lanes:
            lane.reopen()
        with self._condition:
            self._changed()

    def stop(self) -> None:
        """Let nobody in any more."""
        with self._condition:
            self._stopped = True
            self._changed()

    def _take(self, offer: Offer) -> Place:
        return self._packing.room.take(offer.width, offer.memory_bytes)

    def _changed(self) -> None:
        self._changes += 1
        self._condition.notify_all()
