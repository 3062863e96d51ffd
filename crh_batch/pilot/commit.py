"""Committing results in groups: pack durable, then the record durable, then the name.

A slot hands its result over and goes on to the next tomodir. One thread writes results out and makes them durable,
many at a time when they come fast: an fsync each would cost more than a small model. A crash before the name loses
only work that will be done again.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

from crh_batch.errors import CrhBatchError, LedgerError
from crh_batch.ledger.batch import Batch
from crh_batch.ledger.names import Failure, fail_mark
from crh_batch.ledger.pack import PackWriter
from crh_batch.ledger.session import Session
from crh_batch.pilot.stages import Result

# At most this often, so that fsync stays cheap beside models of some milliseconds; long runs don't notice it.
GROUP_S = 0.2


@dataclass(frozen=True)
class _Pending:
    item_id: int
    mark: str
    over: threading.Event


class Committer:
    """Turns results into packs, records and names.

    Args:
        on_error: called once, from the committing thread, when the ledger can't be written any more.
        on_result: called from that thread when a result has its name that others wait for.
    """

    def __init__(
        self,
        batch: Batch,
        session: Session,
        pack: PackWriter,
        scratch: str,
        on_error: Callable[[CrhBatchError], None],
        on_result: Callable[[], None] = lambda: None,
    ) -> None:
        self._batch = batch
        self._session = session
        self._pack = pack
        self._scratch = scratch
        self._on_error = on_error
        self._on_result = on_result
        self._awaited = frozenset(source for sources in batch.settings.after.values() for source in sources)
        self._pending: list[_Pending] = []
        self._condition = threading.Condition()
        self._closing = False
        self._broken = False
        self._thread = threading.Thread(target=self._work, name="committer")
        self._thread.start()

    def hand_over(self, result: Result) -> None:
        """Pack a result and have its name made soon.

        A failure's name is waited for: the tomodir may be ready again, and whoever looks next must see that.

        Raises:
            OSError: the pack can't be written; the attempt stays an open claim.
        """
        event = dict(result.event)
        if result.files:
            event["record"] = self._pack.append(result.files, self._scratch).to_json()
        number = int(event["attempt"])
        kind = "done" if result.failure is None else "fail"
        self._session.append(kind, **event)
        mark = "done" if result.failure is None else fail_mark(number, result.failure)
        entry = _Pending(int(event["id"]), mark, threading.Event())
        with self._condition:
            self._pending.append(entry)
            self._condition.notify()
        if result.failure is not None:
            entry.over.wait()

    def close(self) -> None:
        """Commit what is left and end the thread."""
        with self._condition:
            self._closing = True
            self._condition.notify()
        self._thread.join()

    def _work(self) -> None:
        while True:
            with self._condition:
                while not self._pending and not self._closing:
                    self._condition.wait()
                if not self._pending:
                    return
                closing = self._closing
            if not closing:
                time.sleep(GROUP_S)
            with self._condition:
                group, self._pending = self._pending, []
            if not self._broken:
                self._commit(group)
            for entry in group:
                entry.over.set()

    def _commit(self, group: list[_Pending]) -> None:
        try:
            # This order: a name must never speak of a record that a crash can still take away, nor a record of bytes.
            self._pack.sync()
            self._session.sync()
            for entry in group:
                self._session.win(entry.item_id, entry.mark, self._batch.settings.links)
            if any(entry.item_id in self._awaited for entry in group):
                self._on_result()
        except OSError as error:
            self._break(
                LedgerError(
                    f"{self._batch.paths.directory}: results can't be made durable: {error.strerror or error}",
                    "Mend the filesystem (space, quota), then submit again: what was not committed runs again.",
                    self._batch.paths.directory,
                )
            )
        except CrhBatchError as error:
            self._break(error)

    def _break(self, error: CrhBatchError) -> None:
        self._broken = True
        self._on_error(error)


def fail_without_result(session: Session, item_id: int, attempt: int, failure: Failure, links: str) -> None:
    """Give an attempt back at once, with nothing to pack."""
    session.append("fail", id=item_id, attempt=attempt, failure=failure.value, stages=[], error=failure.value)
    session.win(item_id, fail_mark(attempt, failure), links)
