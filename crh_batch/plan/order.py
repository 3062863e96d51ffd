"""The order of a batch: classes of equal width, widest first; inside a class the longest first.

Longest first keeps the makespan within 4/3 of the optimum (Graham 1969, "Bounds on multiprocessing timing anomalies").
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from crh_batch.ledger.batch import Item, ItemClass
from crh_batch.plan.memory import peak_bytes
from crh_batch.plan.threads import threads_for
from crh_batch.plan.walltime import estimate_s
from crh_batch.tomodir.stage import Description, StageName, StageNeed

PROGRAMS = {StageName.MODELLING: "CRMod", StageName.INVERSION: "CRTomo"}
_JUDGES = {StageName.MODELLING: "crmod", StageName.INVERSION: "crtomo"}


@dataclass(frozen=True)
class Planned:
    """A tomodir with its sizes; ``path`` is relative to the root of the batch-to-be."""

    path: str
    description: Description
    threads: int
    omp_threads: int
    estimate_s: float
    memory_bytes: int


def plan_tomodir(path: str, description: Description, most_threads: int) -> Planned:
    """Size one tomodir that needs work."""
    threads = threads_for(max(stage.wavenumbers for stage in description.stages), most_threads)
    seconds = 0.0
    memory = 0
    for stage in description.stages:
        inversion = stage.name is StageName.INVERSION
        seconds += estimate_s(stage.size, stage.wavenumbers, threads.cores, inversion=inversion)
        memory = max(memory, peak_bytes(stage.size, stage.wavenumbers, threads.cores, inversion=inversion))
    return Planned(path, description, threads.cores, threads.omp_threads, seconds, memory)


def in_order(planned: Iterable[Planned]) -> list[Planned]:
    """Sort for running: widest first, then longest, then by path so that the order can be foretold."""
    return sorted(planned, key=lambda one: (-one.threads, -one.estimate_s, one.path))


def classes_of(ordered: list[Planned]) -> tuple[ItemClass, ...]:
    """Return the id ranges of equal width; ids are places in ``ordered``."""
    classes: list[ItemClass] = []
    for item_id, one in enumerate(ordered):
        if classes and classes[-1].threads == one.threads:
            classes[-1] = ItemClass(one.threads, classes[-1].first, item_id + 1)
        else:
            classes.append(ItemClass(one.threads, item_id, item_id + 1))
    return tuple(classes)


def item_of(item_id: int, one: Planned) -> Item:
    """Return a planned tomodir as the ledger's item."""
    return Item(
        item_id,
        one.path,
        one.threads,
        one.omp_threads,
        one.estimate_s,
        one.memory_bytes,
        tuple(_stage_json(stage) for stage in one.description.stages),
    )


def _stage_json(stage: StageNeed) -> dict[str, object]:
    return {
        "stage": stage.name.value,
        "program": PROGRAMS[stage.name],
        "judge": _JUDGES[stage.name],
        "directory": "exe",
        "dims": stage.dims,
        "wavenumbers": stage.wavenumbers,
        "inputs": list(stage.inputs),
        "make_dirs": list(stage.make_dirs),
        "result": stage.result,
        "inv_dirs": list(stage.inv_dirs),
    }
