"""The order of a batch: classes of equal width, widest first; inside a class higher priority, then longest first.

Longest first keeps the makespan within 4/3 of the optimum (Graham 1969, "Bounds on multiprocessing timing anomalies").
Where others wait for a result, the time of the longest chain of them behind it counts too, so the start of a long
chain is not left to the end.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TypeVar

from crh_batch.ledger.items import Item
from crh_batch.ledger.settings import ItemClass
from crh_batch.plan.graph import dependents, topological
from crh_batch.plan.memory import peak_bytes
from crh_batch.plan.threads import threads_for
from crh_batch.plan.walltime import estimate_s
from crh_batch.tomodir.stage import Description, StageName, StageNeed

Node = TypeVar("Node")

PROGRAMS = {StageName.MODELLING: "CRMod", StageName.INVERSION: "CRTomo"}
_JUDGES = {StageName.MODELLING: "crmod", StageName.INVERSION: "crtomo"}


@dataclass(frozen=True)
class SourcedInput:
    """An input that another tomodir of the same batch makes.

    Args:
        name: of the input, relative to the tomodir that reads it.
        maker: the path of the tomodir that makes it, as it is planned.
        member: the file's path inside the maker.
    """

    name: str
    maker: str
    member: str


@dataclass(frozen=True)
class Planned:
    """A tomodir with its sizes.

    Args:
        path: relative to the root of the batch-to-be.
        group: what the user calls the tomodirs that belong together; empty for none.
        priority: higher ones come first in their class.
        sources: which inputs others of the batch make.
        low_s, high_s: between these its time lies, most likely; 0 where nothing is said.
        is_measured: whether they are from past runs, and not a rule of thumb.
    """

    path: str
    description: Description
    threads: int
    omp_threads: int
    estimate_s: float
    memory_bytes: int
    group: str = ""
    priority: int = 0
    sources: tuple[SourcedInput, ...] = ()
    low_s: float = 0.0
    high_s: float = 0.0
    is_measured: bool = False

    @property
    def after(self) -> tuple[str, ...]:
        """The paths of those whose results it takes."""
        return tuple(dict.fromkeys(one.maker for one in self.sources))

    @property
    def reason(self) -> str:
        """Why it is to be run, and for whom it waits."""
        waits = f"; waits for {', '.join(self.after)}" if self.after else ""
        return self.description.reason + waits


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


def in_order(planned: Iterable[Planned], *, reverse: bool = False) -> list[Planned]:
    """Sort for running: widest first, then priority, then longest, then by path so that the order can be foretold.

    What others wait for is as urgent as the most urgent of them, and as long as the longest chain that it begins, so it
    comes before them if it is of their width.

    Args:
        reverse: shortest first inside width and priority, and of equal ones the last path; still no tomodir before one
            that it waits for.
    """
    many = list(planned)
    chains = _chains(many)

    def key(one: Planned) -> tuple[int, int, float, float]:
        chain = chains[one.path]
        if reverse:
            return (-one.threads, -chain.priority, -chain.length, one.estimate_s)
        return (-one.threads, -chain.priority, -chain.seconds, -chain.length)

    return sorted(sorted(many, key=lambda one: one.path, reverse=reverse), key=key)


@dataclass(frozen=True)
class _Chain:
    """What begins with a tomodir: highest priority, longest time and most steps of all that wait for it."""

    priority: int
    seconds: float
    length: int


def _chains(planned: list[Planned]) -> dict[str, _Chain]:
    by_path = {one.path: one for one in planned}
    chains = {one.path: _Chain(one.priority, one.estimate_s, 1) for one in planned}
    graph = {one.path: [path for path in one.after if path in by_path] for one in planned}
    behind = dependents(graph)
    for path in reversed(topological(graph)):
        waiting = [chains[other] for other in behind[path]]
        if waiting:
            chains[path] = _Chain(
                max(by_path[path].priority, *(one.priority for one in waiting)),
                by_path[path].estimate_s + max(one.seconds for one in waiting),
                1 + max(one.length for one in waiting),
            )
    return chains


def at_once(graph: Mapping[Node, Iterable[Node]]) -> int:
    """Return how many tomodirs are likely to be runnable at a time: the most that lie equally deep in their chains.

    Args:
        graph: for each tomodir those that it waits for.
    """
    depth: dict[Node, int] = {}
    known = {node: [one for one in sources if one in graph] for node, sources in graph.items()}
    for node in topological(known):
        depth[node] = 1 + max((depth[source] for source in known[node]), default=0)
    return max(Counter(depth.values()).values(), default=0)


def classes_of(ordered: list[Planned]) -> tuple[ItemClass, ...]:
    """Return the id ranges of equal width; ids are places in ``ordered``."""
    classes: list[ItemClass] = []
    for item_id, one in enumerate(ordered):
        if classes and classes[-1].threads == one.threads:
            classes[-1] = ItemClass(one.threads, classes[-1].first, item_id + 1)
        else:
            classes.append(ItemClass(one.threads, item_id, item_id + 1))
    return tuple(classes)


def ids_of(ordered: list[Planned]) -> dict[str, int]:
    """Return the ids by path: places in the order."""
    return {one.path: item_id for item_id, one in enumerate(ordered)}


def after_of(ordered: list[Planned]) -> dict[int, tuple[int, ...]]:
    """Return for each tomodir that takes results of others the ids of those; ids are places in ``ordered``."""
    ids = ids_of(ordered)
    return {item_id: _after(one, ids) for item_id, one in enumerate(ordered) if one.sources}


def _after(one: Planned, ids: Mapping[str, int]) -> tuple[int, ...]:
    return tuple(sorted(ids[path] for path in one.after))


def item_of(item_id: int, one: Planned, ids: Mapping[str, int] | None = None) -> Item:
    """Return a planned tomodir as the ledger's item.

    Args:
        ids: of all tomodirs of the batch, by path; needed where it takes results of others.
    """
    ids = ids or {}
    return Item(
        item_id,
        one.path,
        one.threads,
        one.omp_threads,
        one.estimate_s,
        one.memory_bytes,
        tuple(_stage_json(stage, one, ids) for stage in one.description.stages),
        one.group,
        one.priority,
        _after(one, ids),
        one.high_s if one.is_measured else 0.0,
    )


def _stage_json(stage: StageNeed, one: Planned, ids: Mapping[str, int]) -> dict[str, object]:
    sources = {source.name: [ids[source.maker], source.member] for source in one.sources if source.name in stage.inputs}
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
        "size": {key: value for key, value in vars(stage.size).items() if value},
        **({"sources": sources} if sources else {}),
    }
