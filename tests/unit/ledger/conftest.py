from __future__ import annotations

from collections.abc import Callable

import pytest

from crh_batch.ledger import durable

pytest.register_assert_rewrite("unit.ledger.making")


@pytest.fixture
def sleeps(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """How long the ledger would have slept; it doesn't."""
    slept: list[float] = []
    monkeypatch.setattr(durable.calls, "sleep", slept.append)
    return slept


@pytest.fixture
def break_call(monkeypatch: pytest.MonkeyPatch) -> Callable[[str, Callable[..., object]], None]:
    """Put a function in the place of a system call of the ledger."""

    def break_call(name: str, function: Callable[..., object]) -> None:
        monkeypatch.setattr(durable.calls, name, function)

    return break_call
