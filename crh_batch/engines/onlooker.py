"""Keeping an eye on batches that run elsewhere while a command waits: a broken line is told once, and tried again."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

from crh_batch.errors import HostError
from crh_batch.ledger.batch import Batch
from crh_batch.mirror.refresh import refresh

# Between two looks at a cluster: each is a question or two over one connection, or a try to make one.
_EVERY_S = 5.0


class Onlooker:
    """Brings here what is new of batches with stages; does nothing for others.

    Args:
        on_silent: called once when a cluster can't be reached, and again only after it could.
    """

    def __init__(self, on_silent: Callable[[Batch, HostError], None]) -> None:
        self._on_silent = on_silent
        self._silent: set[str] = set()
        self._looked_at: float | None = None

    def look(self, batches: Sequence[Batch], *, at_once: bool = False) -> None:
        """Look at batches, if it is time.

        Args:
            at_once: whether or not it is time.
        """
        if not at_once and self._looked_at is not None and time.monotonic() - self._looked_at < _EVERY_S:
            return
        silent: set[str] = set()
        for batch in batches:
            for error in refresh(batch):
                silent.add(error.host)
                if error.host not in self._silent:
                    self._silent.add(error.host)
                    self._on_silent(batch, error)
        self._silent = silent
        self._looked_at = time.monotonic()
