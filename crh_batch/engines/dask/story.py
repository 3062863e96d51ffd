"""What the page about tomodirs shows: how a batch has gone since its driver began. Plain numbers, no drawing."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

# Points of a curve; when there are more, every second one is dropped.
_MOST_POINTS = 2000
# Curves of running inversions that are drawn.
MOST_CURVES = 40
FINISHED = ("done", "collected")


class Story:
    """Notes what a driver sees."""

    def __init__(self, batch_id: str) -> None:
        self.batch_id = batch_id
        #: Since the beginning, in seconds, and how many had finished then.
        self.times_s: list[float] = []
        self.finished: list[int] = []
        self.counts: dict[str, int] = {}
        self.present = 0
        self.wanted = 0
        #: For each running inversion its RMS by iteration.
        self.curves: dict[str, dict[int, float]] = {}
        self._began: float | None = None

    def note(
        self,
        now: float,
        counts: Mapping[str, int],
        present: int,
        wanted: int,
        running: Iterable[Sequence[Any]],
    ) -> None:
        """Take in one look.

        Args:
            now: seconds since 1970.
            counts: tomodirs by state.
            present, wanted: workers that have come, and all.
            running: path, iteration and RMS of running inversions.
        """
        self._began = now if self._began is None else self._began
        self.counts = dict(counts)
        self.present, self.wanted = present, wanted
        self.times_s.append(now - self._began)
        self.finished.append(sum(counts.get(name, 0) for name in FINISHED))
        if len(self.times_s) > _MOST_POINTS:
            self.times_s, self.finished = self.times_s[::2], self.finished[::2]
        curves: dict[str, dict[int, float]] = {}
        for path, iteration, rms in running:
            curves[str(path)] = {**self.curves.get(str(path), {}), int(iteration): float(rms)}
        self.curves = curves

    def lines(self) -> tuple[list[list[int]], list[list[float]], list[str]]:
        """Return iterations, RMS and path of each curve that is drawn, in the order of the paths."""
        paths = sorted(self.curves)[:MOST_CURVES]
        points = [sorted(self.curves[path].items()) for path in paths]
        return [[one for one, _ in each] for each in points], [[rms for _, rms in each] for each in points], paths
