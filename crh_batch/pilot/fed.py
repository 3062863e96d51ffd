"""A pilot that is told which tomodir to run next, by whoever chooses for many pilots.

It claims as any pilot does, so who chooses can be wrong, late or dead without any harm: what is taken is turned away,
and when nobody chooses any more the pilot goes on by itself.
"""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass
from enum import Enum
from typing import Any, Protocol

from crh_batch.ledger.names import StateName, states
from crh_batch.pilot.chooser import Candidate
from crh_batch.pilot.loop import Pilot
from crh_batch.tomodir.inv_ctr import read_curve


class Came(Enum):
    """What came of an order.

    DONE, FAILED: an attempt was made here. TAKEN: it isn't ready, or somebody else's. UNFIT: this pilot can't take it:
    too little time is left, or it is about to leave.
    """

    DONE = "done"
    FAILED = "failed"
    TAKEN = "taken"
    UNFIT = "unfit"


@dataclass(frozen=True)
class Answer:
    """What a pilot says to an order.

    Args:
        attempt: its number, 0 if none was made.
        failure: the class of the failure, empty if there was none.
        seconds: how long it took here.
    """

    came: Came
    attempt: int = 0
    failure: str = ""
    seconds: float = 0.0


class Feed(Protocol):
    """Where orders come from."""

    def serve(self, pilot: FedPilot) -> bool:
        """Hand orders to ``pilot.run_item``, from as many threads as it has slots, until there will be no more.

        Returns:
            Whether the pilot is to go on by itself.
        """
        ...

    def drain(self) -> None:
        """Take no more orders, and let ``serve`` return soon; may be called again and again, from any thread."""
        ...


class FedPilot(Pilot):
    """One life of a pilot that is fed.

    Args:
        feed: where orders come from.
        others: what ``Pilot`` takes.
    """

    def __init__(self, feed: Feed, *others: Any) -> None:
        super().__init__(*others)
        self._feed = feed

    def run_item(self, item_id: int) -> Answer:
        """Run one tomodir, if it can be claimed; called from any thread."""
        began = time.monotonic()
        answer = Answer(Came.UNFIT)
        with self._lock:
            self._slots_at_work += 1
        with self._leaving():
            answer = self._run_item(item_id)
        return Answer(answer.came, answer.attempt, answer.failure, round(time.monotonic() - began, 3))

    def curves(self) -> list[tuple[str, list[tuple[int, float]]]]:
        """Return how far running inversions are: for each path the RMS by iteration."""
        files = [(one.item.path, one.progress_file) for one in self._running()]
        return [(path, read_curve(file)) for path, file in files if file]

    @property
    def is_busy(self) -> bool:
        """Whether attempts are under way."""
        return bool(self._running())

    def _run_item(self, item_id: int) -> Answer:
        lane = self._lanes.lane_of(item_id)
        if self._time.stopping or lane is None:
            return Answer(Came.UNFIT)
        _, state = next(iter(states(self._batch.paths, [item_id], self._batch.settings)))
        if state.name is not StateName.READY:
            return Answer(Came.TAKEN)
        offer = lane.offer(Candidate(item_id, state.attempt, state.memory_failures))
        if offer is None:
            return Answer(Came.UNFIT)
        ticket = self._lanes.claim_this(lane, offer, self._win)
        if ticket is None:
            return Answer(Came.TAKEN)
        result = self._run_claim(ticket)
        if result is None:
            return Answer(Came.TAKEN)
        failure = result.failure.value if result.failure is not None else ""
        return Answer(Came.FAILED if failure else Came.DONE, state.attempt, failure)

    def _start_slots(self) -> list[threading.Thread]:
        with self._lock:
            self._slots_at_work += 1
        feeding = threading.Thread(target=self._be_fed, name="feed")
        feeding.start()
        return [feeding]

    def _be_fed(self) -> None:
        with self._leaving():
            alone = self._feed.serve(self)
            if alone and not self._time.stopping:
                self._session.append("alone")
                for slot in super()._start_slots():
                    slot.join()

    def _stop_claiming(self) -> None:
        super()._stop_claiming()
        self._feed.drain()
