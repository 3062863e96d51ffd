"""Which tomodir a pilot begins next: the widest that fits, down to the last core.

Wide ones come first, so narrow ones fill what they leave. A wide one that finds no place because narrow ones came first
is overtaken as long as it will take itself, but at least PATIENCE_S; then cores are kept for it as they become free.
The same holds for memory. docs/decisions/0013-wide-first-and-patience.md has the reasons.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from typing import NamedTuple, Protocol

from crh_batch.ledger.items import Item
from crh_batch.pilot.chooser import Candidate
from crh_batch.pilot.room import Room

# A wide tomodir is overtaken for at least so long before cores stand idle for its sake.
PATIENCE_S = 60.0
# More than this many that wait are of no use to anybody.
_REMEMBERED = 256


class Offer(NamedTuple):
    """A tomodir that may be begun, and what it occupies in this pilot."""

    candidate: Candidate
    item: Item
    width: int
    memory_bytes: int


class OffersOneWidth(Protocol):
    """Tomodirs of one width, in the order in which they should be run."""

    @property
    def width(self) -> int:
        """Cores that each of them occupies."""

    @property
    def is_open(self) -> bool:
        """Whether there may be any."""

    @property
    def short_runs(self) -> bool:
        """Whether their programs end so soon that an idle core costs more than a claim that waits."""

    def find(self, fits: Callable[[Offer], bool], *, look_on: bool) -> tuple[Offer | None, Offer | None]:
        """Return the first that fits, taken out, and the one before it that would be next but doesn't fit.

        Args:
            look_on: whether others may fit where the next one doesn't.
        """

    def put_back(self, offer: Offer) -> None:
        """Take back what ``find`` gave."""


class Choice(NamedTuple):
    """What to claim next; ``has_room`` is False for one that is claimed and staged ahead."""

    lane: int
    offer: Offer
    has_room: bool


class Packing:
    """Decides what goes where; neither claims nor waits, and is not safe for several threads at once.

    Args:
        clock: seconds, monotonic.
        lock: guards the room, and is held for moments only.
    """

    def __init__(self, room: Room, clock: Callable[[], float], lock: AbstractContextManager[object]) -> None:
        self.room = room
        self._clock = clock
        self._lock = lock
        #: Staged ahead, waiting for a place; first come first.
        self.line: list[Offer] = []
        self._refused: dict[int, float] = {}

    def choose(self, lanes: Sequence[OffersOneWidth], *, may_go_ahead: bool) -> Choice | None:
        """Return what to claim next, taken out of its lane; None if nothing fits now.

        Args:
            lanes: widest first.
            may_go_ahead: whether one may be claimed for which there is no place yet.
        """
        with self._lock:
            if self._next_in_line() is not None or any(self._is_overdue(one) for one in self.line):
                return None
        for number, lane in enumerate(lanes):
            if not lane.is_open or not self.room.free_cores:
                continue
            offer, refused = lane.find(self.fits, look_on=lane.width <= self.room.free_cores)
            if refused is not None and self._is_overdue(refused):
                if offer is not None:
                    lane.put_back(offer)
                return None
            if offer is not None:
                self._refused.pop(offer.candidate.item_id, None)
                return Choice(number, offer, has_room=True)
        for number, lane in enumerate(lanes):
            if may_go_ahead and lane.short_runs and lane.is_open:
                offer, _ = lane.find(lambda _: True, look_on=False)
                if offer is not None:
                    return Choice(number, offer, has_room=False)
        return None

    def fits(self, offer: Offer) -> bool:
        """Return whether there is a place for it now."""
        return self.room.fits(offer.width, offer.memory_bytes)

    def may_begin(self, offer: Offer) -> bool:
        """Return whether one that waits in line is the next to get a place."""
        if self._next_in_line() is not offer:
            return False
        self._refused.pop(offer.candidate.item_id, None)
        return True

    def _next_in_line(self) -> Offer | None:
        for offer in self.line:
            if self.fits(offer):
                return offer
            if self._is_overdue(offer):
                return None
        return None

    def _is_overdue(self, offer: Offer) -> bool:
        """Return whether one that doesn't fit has been overtaken long enough."""
        if self.fits(offer):
            return False
        with self._lock:
            now = self._clock()
            if len(self._refused) >= _REMEMBERED:
                del self._refused[next(iter(self._refused))]
            since = self._refused.setdefault(offer.candidate.item_id, now)
            if now - since < max(PATIENCE_S, offer.item.estimate_s):
                return False
            # Where one of its size runs, it gets that place next: nobody has overtaken it.
            return not self.room.holds(offer.width, offer.memory_bytes)
