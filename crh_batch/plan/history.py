"""What similar tomodirs took before, and what that says about the next ones. Pure.

A run is judged by its ratio to what the formulas of ``plan/walltime.py`` and ``plan/memory.py`` say. Tomodirs of the
same sizes are expected to take what those took (the median); others the formula times the median ratio of the most
similar runs; where there are none, the formula alone. How far off this was is found by playing it through: each run is
predicted from those before it.
"""

from __future__ import annotations

import bisect
import math
import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from crh_batch.plan.memory import peak_bytes
from crh_batch.plan.order import Planned
from crh_batch.plan.walltime import estimate_s
from crh_batch.tomodir.stage import Size, StageName, StageNeed

# How many of the most similar runs are asked.
_NEAREST = 9
# Runs of the same sizes count up to this many, the last ones.
_SAME = 50
# So many predictions make quantiles worth stating.
_ENOUGH = 10
_LOW, _HIGH = 0.1, 0.9
# What a range is as long as too few predictions were made: low and high as factors of the estimate.
SAME, SIMILAR, FORMULA = "same", "similar", "formula"
_PRIOR = {SAME: (0.8, 1.3), SIMILAR: (0.5, 2.0), FORMULA: (0.2, 5.0)}


@dataclass(frozen=True)
class Run:
    """One stage that was run.

    Args:
        stage: ``modelling`` or ``inversion``.
        threads: cores that were used.
        wall_s: how long it took.
        peak_bytes: of the resident set; 0 if not measured.
    """

    stage: str
    dims: str
    wavenumbers: int
    threads: int
    size: Size
    wall_s: float
    peak_bytes: int = 0

    @property
    def key(self) -> tuple[Any, ...]:
        """What runs of the same sizes have in common."""
        return (self.stage, self.dims, self.wavenumbers, self.threads, *vars(self.size).values())

    @property
    def formula_s(self) -> float:
        """What the formula says without any history."""
        return _formula_s(self.stage, self.size, self.wavenumbers, self.threads)

    @property
    def formula_bytes(self) -> int:
        """What the formula says of the memory."""
        inversion = self.stage == StageName.INVERSION.value
        return peak_bytes(self.size, self.wavenumbers, self.threads, inversion=inversion)


def _formula_s(stage: str, size: Size, wavenumbers: int, threads: int) -> float:
    return estimate_s(size, wavenumbers, threads, inversion=stage == StageName.INVERSION.value)


@dataclass(frozen=True)
class Estimate:
    """How long a stage may take.

    Args:
        seconds: the most likely.
        low, high: eight of ten lie between.
        tier: what it is from: ``same``, ``similar`` or ``formula``.
        is_measured: whether the range is from predictions that were made, and not a rule of thumb.
    """

    seconds: float
    low: float
    high: float
    tier: str
    is_measured: bool = False


@dataclass(frozen=True)
class Accuracy:
    """How far off predictions were; factors of at least 1, whichever way.

    Args:
        runs: how many there were.
        median: half of them were off by less.
        worst: the largest.
    """

    runs: int
    median: float
    worst: float


class History:
    """Runs, oldest first, and what they teach."""

    def __init__(self, runs: Iterable[Run] = ()) -> None:
        self._same: dict[tuple[Any, ...], list[float]] = {}
        #: Of each stage and dims the runs as (log of the formula, ratio of time, ratio of memory), sorted.
        self._similar: dict[tuple[str, str], list[tuple[float, float, float]]] = {}
        #: Of each tier: what it took over what was predicted.
        self._ratios: dict[str, list[float]] = {SAME: [], SIMILAR: [], FORMULA: []}
        for run in runs:
            self._take_in(run)
        for ratios in self._ratios.values():
            ratios.sort()

    def _take_in(self, run: Run) -> None:
        if run.wall_s <= 0:
            return
        seconds, tier = self._predict(run.key, run.formula_s)
        self._ratios[tier].append(run.wall_s / seconds)
        self._same.setdefault(run.key, []).append(run.wall_s)
        memory = run.peak_bytes / run.formula_bytes
        similar = (math.log(run.formula_s), run.wall_s / run.formula_s, memory)
        bisect.insort(self._similar.setdefault((run.stage, run.dims), []), similar)

    def _predict(self, key: tuple[Any, ...], formula_s: float) -> tuple[float, str]:
        same = self._same.get(key)
        if same:
            return statistics.median(same[-_SAME:]), SAME
        nearest = self._nearest(key, formula_s)
        if nearest:
            return formula_s * statistics.median(ratio for _, ratio, _ in nearest), SIMILAR
        return formula_s, FORMULA

    def _nearest(self, key: tuple[Any, ...], formula_s: float) -> list[tuple[float, float, float]]:
        known = self._similar.get((key[0], key[1]), [])
        here = math.log(formula_s)
        place = bisect.bisect_left(known, (here,))
        window = known[max(0, place - _NEAREST) : place + _NEAREST]
        return sorted(window, key=lambda one: abs(one[0] - here))[:_NEAREST]

    def estimate(self, stage: StageNeed, threads: int) -> Estimate:
        """Return how long a stage may take."""
        return self.estimate_of(_asked(stage, threads))

    def estimate_of(self, run: Run) -> Estimate:
        """Return how long a stage of a run's sizes may take; what the run itself took is not looked at."""
        seconds, tier = self._predict(run.key, run.formula_s)
        ratios = self._ratios[tier]
        is_measured = len(ratios) >= _ENOUGH
        low, high = (_quantile(ratios, _LOW), _quantile(ratios, _HIGH)) if is_measured else _PRIOR[tier]
        return Estimate(seconds, seconds * min(low, 1.0), seconds * max(high, 1.0), tier, is_measured)

    def memory_bytes(self, stage: StageNeed, threads: int) -> int:
        """Return the peak memory to expect: the formula's, and more where similar runs took more."""
        run = _asked(stage, threads)
        ratios = [memory for _, _, memory in self._nearest(run.key, run.formula_s)]
        return int(run.formula_bytes * max([1.0, *ratios]))

    def accuracy(self) -> Accuracy | None:
        """Return how far off predictions from earlier runs were; None if there were none."""
        factors = sorted(max(ratio, 1 / ratio) for tier in (SAME, SIMILAR) for ratio in self._ratios[tier])
        return Accuracy(len(factors), statistics.median(factors), factors[-1]) if factors else None

    @property
    def runs(self) -> int:
        """How many runs it knows."""
        return sum(len(ratios) for ratios in self._ratios.values())


NO_HISTORY = History()


def _asked(stage: StageNeed, threads: int) -> Run:
    return Run(stage.name.value, stage.dims, stage.wavenumbers, threads, stage.size, 0.0)


def _quantile(ordered: Sequence[float], share: float) -> float:
    """Return a quantile of sorted numbers, between two of them where it lies so."""
    place = share * (len(ordered) - 1)
    below = int(place)
    above = min(below + 1, len(ordered) - 1)
    return ordered[below] + (ordered[above] - ordered[below]) * (place - below)


def estimated(planned: Iterable[Planned], history: History) -> list[Planned]:
    """Return tomodirs with what the history says of their time and memory."""
    return [_estimated(one, history) for one in planned]


def _estimated(one: Planned, history: History) -> Planned:
    stages = [history.estimate(stage, one.threads) for stage in one.description.stages]
    return replace(
        one,
        estimate_s=sum(stage.seconds for stage in stages),
        low_s=sum(stage.low for stage in stages),
        high_s=sum(stage.high for stage in stages),
        is_measured=all(stage.is_measured for stage in stages),
        memory_bytes=max(
            one.memory_bytes, *(history.memory_bytes(stage, one.threads) for stage in one.description.stages)
        ),
    )


def run_of(stage: Mapping[str, Any], threads: int, wall_s: float, peak: int) -> Run | None:
    """Return a run of a stage as items.jsonl describes it; None if that says no sizes.

    Args:
        peak: bytes; 0 if not measured.
    """
    sizes = stage.get("size")
    if not isinstance(sizes, Mapping) or wall_s <= 0:
        return None
    try:
        size = Size(**{str(key): value for key, value in sizes.items()})
        return Run(str(stage["stage"]), str(stage["dims"]), int(stage["wavenumbers"]), threads, size, wall_s, peak)
    except (KeyError, TypeError, ValueError):
        return None
