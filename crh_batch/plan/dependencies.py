"""Which planned tomodirs take results of others: what runs after what, and what can't run for that.

A .cfg may name another tomodir's result: the model that an inversion starts from, data and response of a reference
state, a modelled volt.dat. When the other one is to be run too, its result will be a new one, so the first waits for
it, whether an old file lies there or not. Directories are compared by their real paths.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace

from crh_batch.plan.graph import groups, shortest_cycle, topological
from crh_batch.plan.makers import Maker, PlannedMakers, RealPlaces, RegisteredMakers, above
from crh_batch.plan.order import Planned, SourcedInput, plan_tomodir
from crh_batch.plan.survey import Survey, describe_into
from crh_batch.tomodir.stage import Description, StageName, StageNeed

# How many tomodirs of a cycle a message names.
_SHOWN = 8


def look_again(survey: Survey, most_threads: int) -> None:
    """Describe those again that lacked a file of another tomodir: it may have been collected meanwhile."""
    lacking = {one.path for one in survey.planned if any(stage.absent for stage in one.description.stages)}
    survey.planned = [one for one in survey.planned if one.path not in lacking]
    for path in sorted(lacking):
        describe_into(survey, path, most_threads)


def link(survey: Survey, most_threads: int) -> None:
    """Find out which planned tomodirs take results of others, and note it in them.

    Those that can't run for that go from ``planned`` to ``problems``: a file that nobody makes, a cycle, a source that
    can't run. Those whose source an older batch has go to ``waiting``. All that are connected get the widest width
    among them, so that the pilots of one class can run them all.

    Args:
        most_threads: cores that one tomodir may get.
    """
    if not any(stage.outside for one in survey.planned for stage in one.description.stages):
        return
    linking = _Linking(survey)
    linking.find_sources()
    linking.refuse_cycles()
    linking.spread()
    survey.planned = _sized([one for one in survey.planned if one.path not in linking.out], linking, most_threads)
    survey.problems += linking.problems.items()
    survey.waiting += linking.waiting.items()


@dataclass
class _Linking:
    """Who takes what of whom, and who is out for which reason."""

    survey: Survey
    sources: dict[str, list[SourcedInput]] = field(default_factory=dict)
    problems: dict[str, str] = field(default_factory=dict)
    waiting: dict[str, str] = field(default_factory=dict)

    @property
    def out(self) -> frozenset[str]:
        """The paths of those that don't run."""
        return frozenset(self.problems) | frozenset(self.waiting)

    @property
    def graph(self) -> dict[str, list[str]]:
        """For each planned tomodir the paths of those that it takes results of."""
        return {one.path: [source.maker for source in self.sources.get(one.path, ())] for one in self.survey.planned}

    def find_sources(self) -> None:
        """Look for the maker of each file outside; who lacks one that nobody makes has a problem."""
        root = self.survey.root
        makers = PlannedMakers(root, self.survey.planned)
        registered = RegisteredMakers(root)
        places = RealPlaces(root)
        broken = {places.directory(path): (path, why) for path, why in self.survey.problems}
        for one in self.survey.planned:
            for name, absent in _outside(one.description):
                maker = makers.find(one.path, name)
                if maker is not None:
                    self._note(one, name, maker)
                elif other := registered.find(one.path, name):
                    self.waiting.setdefault(
                        one.path, f"takes {name}, so it waits for {other}; submit it when that is collected"
                    )
                elif absent:
                    self.problems.setdefault(one.path, absent + _why_not(places.file(one.path, name), broken))

    def _note(self, one: Planned, name: str, maker: Maker) -> None:
        if name.startswith("/"):
            self.problems.setdefault(
                one.path,
                f"names {name}, which {maker.path} is about to make: an absolute path can't lead to a new result\n"
                "  Write it relative to exe/, as in ../../time0/inv/rho02.modl; or submit it when that is collected.",
            )
        else:
            self.sources.setdefault(one.path, []).append(SourcedInput(name, maker.path, maker.member))

    def refuse_cycles(self) -> None:
        """Give each member of a cycle the way round it."""
        graph = self.graph
        sorted_out = set(topological(graph))
        for path in graph:
            if path not in sorted_out and (way := shortest_cycle(graph, path)):
                self.problems[path] = (
                    f"waits for itself: {_arrows(way)}\n"
                    "  Each takes a result of the next one. Name a result that is there already in one of them."
                )

    def spread(self) -> None:
        """Take those out, too, that take results of who is out."""
        # Without what members of cycles take there is no cycle left.
        graph = {path: [] if path in self.problems else makers for path, makers in self.graph.items()}
        for path in topological(graph):
            if path in self.problems:
                continue
            for source in self.sources.get(path, ()):
                if source.maker in self.problems:
                    self.problems[path] = (
                        f"takes {source.name} of {source.maker}, which can't be run\n  Mend {source.maker} first."
                    )
                    break
                if source.maker in self.waiting:
                    self.waiting.setdefault(
                        path, f"takes {source.name} of {source.maker}, which {self.waiting[source.maker]}"
                    )
        self.waiting = {path: why for path, why in self.waiting.items() if path not in self.problems}


def _outside(description: Description) -> Iterator[tuple[str, str]]:
    """Yield the files outside that a tomodir reads, with what is wrong with them where they are not there."""
    for stage in description.stages:
        absent = dict(stage.absent)
        for name in stage.outside:
            yield name, absent.get(name, "")


def _why_not(place: str, broken: dict[str, tuple[str, str]]) -> str:
    """Return a further line where the file would lie in a tomodir that can't be run itself."""
    for directory in above(place):
        if directory in broken:
            path, why = broken[directory]
            return f"\n  {path} can't be run itself: {why.splitlines()[0]}"
    return ""


def _arrows(way: list[str]) -> str:
    shown = way if len(way) <= _SHOWN else [*way[: _SHOWN - 1], f"... ({len(way) - _SHOWN} more) ...", way[-1]]
    return " -> ".join(shown)


def _sized(planned: list[Planned], linking: _Linking, most_threads: int) -> list[Planned]:
    """Note the sources of the remaining ones, size what was unknown without them, and make connected ones alike."""
    by_path = {one.path: one for one in planned}
    graph = {one.path: [source.maker for source in linking.sources.get(one.path, ())] for one in planned}
    for path in topological(graph):
        if graph[path]:
            by_path[path] = _with_sources(by_path, path, linking.sources[path], most_threads)
    for group in groups(graph):
        widest = max(by_path[path].threads for path in group)
        by_path.update((path, replace(by_path[path], threads=widest)) for path in group)
    return [by_path[one.path] for one in planned]


def _with_sources(by_path: dict[str, Planned], path: str, sources: list[SourcedInput], most_threads: int) -> Planned:
    one = by_path[path]
    stages = tuple(_measured(stage, by_path, sources) for stage in one.description.stages)
    if stages != one.description.stages:
        last = stages[-1]
        description = replace(one.description, stages=stages, wavenumbers=last.wavenumbers, size=last.size)
        again = plan_tomodir(path, description, most_threads)
        one = replace(again, group=one.group, priority=one.priority)
    return replace(one, sources=tuple(dict.fromkeys(sources)))


def _measured(stage: StageNeed, by_path: dict[str, Planned], sources: list[SourcedInput]) -> StageNeed:
    """Return a stage whose measurements another tomodir will model with their number and wavenumbers."""
    for source in sources:
        if source.name == stage.measurements:
            for made in by_path[source.maker].description.stages:
                if made.name is StageName.MODELLING and made.result == source.member:
                    wavenumbers = made.wavenumbers if stage.dims == made.dims else max(stage.wavenumbers, 1)
                    return replace(stage, wavenumbers=wavenumbers, size=replace(stage.size, data=made.size.data))
    return stage
