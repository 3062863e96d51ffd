"""How far a transfer is, for whoever shows it; nobody does as a rule."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Protocol


class Transfer(Protocol):
    """Takes note of bytes that went over the line."""

    def expect(self, total: int) -> None:
        """Take note of how many more there will be."""
        ...

    def add(self, count: int) -> None:
        """Take note of some that went."""
        ...

    def tell(self, text: str) -> None:
        """Tell the user something about it, in one line."""
        ...


class _Unseen:
    def expect(self, total: int) -> None:
        """See Transfer."""

    def add(self, count: int) -> None:
        """See Transfer."""

    def tell(self, text: str) -> None:
        """See Transfer."""


Show = Callable[[str], AbstractContextManager[Transfer]]


def _show_nothing(what: str) -> AbstractContextManager[Transfer]:
    return nullcontext(_Unseen())


_show: Show = _show_nothing


def show_with(show: Show) -> None:
    """Say, for this whole process, how transfers are shown."""
    global _show
    _show = show


def transferring(what: str) -> AbstractContextManager[Transfer]:
    """Show a transfer as long as the context lasts.

    Args:
        what: what is going on, for people.
    """
    return _show(what)
