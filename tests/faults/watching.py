"""Reads the states of a batch from several mounts while it runs, and notes each that goes back."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType

from crh_batch.ledger.batch import Batch
from crh_batch.ledger.names import State, StateName, states

_POLL_S = 0.25
_NEVER = 1 << 30


def rank(state: State) -> tuple[int, int]:
    """Return how far a tomodir is: it may only ever grow."""
    if state.name is StateName.COLLECTED:
        return (_NEVER, 1)
    if state.name is StateName.DONE:
        return (_NEVER, 0)
    return (state.attempt, {StateName.RUNNING: 1, StateName.FAILED: 2}.get(state.name, 0))


class Watcher:
    """Polls one batch by one mount in a thread of its own; use it in a ``with`` statement.

    ``went_back`` holds what must never be; ``looks`` counts the looks, ``seen`` the states that were seen.
    """

    def __init__(self, directory: Path) -> None:
        self.went_back: list[str] = []
        self.looks = 0
        self.seen: Counter[StateName] = Counter()
        self._directory = directory
        self._last: dict[int, State] = {}
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._watch)

    def __enter__(self) -> Watcher:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop.set()
        self._thread.join()

    def _watch(self) -> None:
        try:
            batch = Batch(str(self._directory))
            ids = batch.items.ids
            while not self._stop.wait(_POLL_S):
                self._look(batch, ids)
            self._look(batch, ids)
        except BaseException as error:
            self.went_back.append(f"{self._directory}: {error!r}")
            raise

    def _look(self, batch: Batch, ids: Sequence[int]) -> None:
        self.looks += 1
        for item_id, state in states(batch.paths, ids, batch.settings):
            last = self._last.get(item_id)
            if last is not None and rank(state) < rank(last):
                self.went_back.append(f"{self._directory}: {item_id}: {last} then {state}")
            self._last[item_id] = state
            self.seen[state.name] += 1
