from __future__ import annotations

import pytest

from crh_batch.pilot.guard import Guard

pytest.register_assert_rewrite("unit.ledger.making")


class WatchedGuard(Guard):
    """Remembers what it is told, and starts no process."""

    def __init__(self) -> None:
        self.told: list[str] = []

    def add(self, group: int) -> None:
        self.told.append(f"+{group}")

    def remove(self, group: int) -> None:
        self.told.append(f"-{group}")


@pytest.fixture
def guard() -> WatchedGuard:
    """A guard that does nothing; the real one is tested in test_guard.py."""
    return WatchedGuard()
