"""Which tomodirs of a tree are meant: by their numbers in the list of all, and at most so many."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from crh_batch.errors import UsageError

_HINT = "Write numbers and slices with commas, as Python has them: 0:100,140,-1 (crh-batch check shows the numbers)."
_PART = re.compile(
    r"\s*(?:(?P<one>-?[0-9]{1,9})|(?P<start>-?[0-9]{1,9})?:(?P<stop>-?[0-9]{1,9})?(?::(?P<step>-?[0-9]{1,9})?)?)\s*\Z"
)


@dataclass(frozen=True)
class Selection:
    """Numbers and slices, as Python's, of a list that is sorted by path.

    Args:
        parts: a number each, or a slice; empty for all.
        text: as the user wrote it.
    """

    parts: tuple[int | slice, ...] = ()
    text: str = ""

    def of(self, paths: Sequence[str]) -> list[tuple[int, str]]:
        """Return number and path of those that are meant, by ascending number.

        Raises:
            UsageError: a single number is none of the list's; slices may reach beyond its ends, as Python's do.
        """
        if not self.parts:
            return list(enumerate(paths))
        numbers: set[int] = set()
        for part in self.parts:
            if isinstance(part, slice):
                numbers.update(range(*part.indices(len(paths))))
            elif -len(paths) <= part < len(paths):
                numbers.add(part % len(paths))
            else:
                raise UsageError(f"--select {self.text}: there is no number {part} among {len(paths)} tomodirs", _HINT)
        return [(number, paths[number]) for number in sorted(numbers)]


EVERYTHING = Selection()


def parse_selection(text: str) -> Selection:
    """Read ``0:100,140``.

    Raises:
        UsageError: it isn't of this form.
    """
    return Selection(tuple(_part(text, part) for part in text.split(",")), text)


def _part(text: str, part: str) -> int | slice:
    match = _PART.match(part)
    if match is None:
        raise UsageError(f"--select {text}: {part.strip()!r} is neither a number nor a slice", _HINT)
    if match["one"] is not None:
        return int(match["one"])
    start, stop, step = (int(match[key]) if match[key] else None for key in ("start", "stop", "step"))
    if step == 0:
        raise UsageError(f"--select {text}: a step of 0 leads nowhere", _HINT)
    return slice(start, stop, step)
