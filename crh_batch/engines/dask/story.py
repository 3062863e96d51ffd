"""What the page about tomodirs shows: how a batch has gone since its driver began. Plain numbers, no drawing."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

# Points of a curve; when there are more, every second one is dropped.
_MOST_POINTS = 2000
# Curves that are kept: those of what runs, and of what ran last.
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
        #: For each inversion its RMS by iteration; what was heard of last comes last.
        self.curves: dict[str, dict[int, float]] = {}
        self.running: frozenset[str] = frozenset()
        self._began: float | None = None

    def note(
        self,
        now: float,
        counts: Mapping[str, int],
        present: int,
        wanted: int,
        running: Iterable[tuple[str, Iterable[tuple[int, float]]]],
    ) -> None:
        """Take in one look.

        Args:
            now: seconds since 1970.
            counts: tomodirs by state.
            present, wanted: workers that have come, and all.
            running: of each running inversion its path, and the RMS by iteration.
        """
        self._began = now if self._began is None else self._began
        self.counts = dict(counts)
        self.present, self.wanted = present, wanted
        self.times_s.append(now - self._began)
        self.finished.append(sum(counts.get(name, 0) for name in FINISHED))
        if len(self.times_s) > _MOST_POINTS:
            self.times_s, self.finished = self.times_s[::2], self.finished[::2]
        heard = {str(path): {int(number): float(rms) for number, rms in points} for path, points in running}
        self.running = frozenset(heard)
        for path, points in heard.items():
            self.curves[path] = {**self.curves.pop(path, {}), **points}
        for path in list(self.curves)[: max(0, len(self.curves) - MOST_CURVES)]:
            del self.curves[path]

    def lines(self) -> list[tuple[str, list[int], list[float]]]:
        """Return path, iterations and RMS of each curve, in the order of the paths."""
        ordered = [(path, sorted(self.curves[path].items())) for path in sorted(self.curves)]
        return [(path, [number for number, _ in points], [rms for _, rms in points]) for path, points in ordered]
