"""A reader of what others may have written, as the table of them holds it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Reader:
    """A reader and what it may answer.

    Attributes:
        corpus: real examples.
        read: called with the bytes that stand in the file, or that a command printed.
        errors: what may be raised; anything else is a defect.
        covers: the functions of the package that it calls, by the names that test_table.py finds.
    """

    name: str
    corpus: Sequence[bytes]
    read: Callable[[bytes], object]
    errors: tuple[type[Exception], ...]
    covers: tuple[str, ...] = field(default=())
