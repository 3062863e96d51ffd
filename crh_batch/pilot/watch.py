"""Looking after attempts that run: how far inversions are, and whether their claims still stand."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterable

from crh_batch.ledger.batch import Batch
from crh_batch.ledger.names import Failure, fail_mark
from crh_batch.ledger.session import Session
from crh_batch.pilot.stages import Attempt
from crh_batch.tomodir.outcome import read_progress


class Watcher:
    """Looks at a pilot's attempts from time to time; used by one thread."""

    def __init__(self, batch: Batch, session: Session) -> None:
        self._batch = batch
        self._session = session
        self._shown: dict[tuple[int, int], tuple[int | None, float | None]] = {}

    def look_at(self, attempts: Iterable[Attempt]) -> None:
        """Record how far running inversions are; end attempts whose claim was taken away or cancelled."""
        for attempt in attempts:
            key = (attempt.item.item_id, attempt.number)
            for failure in (Failure.CANCELLED, Failure.LOST):
                if os.path.lexists(self._batch.paths.name(key[0], fail_mark(key[1], failure))):
                    attempt.end(failure)
            if attempt.progress_file:
                self._record_progress(attempt, key)

    def _record_progress(self, attempt: Attempt, key: tuple[int, int]) -> None:
        progress = read_progress(attempt.progress_file)
        now = (progress.iteration, progress.rms)
        if now == (None, None) or self._shown.get(key) == now:
            return
        self._shown[key] = now
        # Of use to readers only: a full disk shows itself where results are written.
        with contextlib.suppress(OSError):
            self._session.append(
                "progress", id=key[0], attempt=key[1], stage=attempt.stage, iteration=now[0], rms=now[1]
            )
