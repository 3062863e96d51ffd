"""New batches that run on clusters behind SSH: on a filesystem that both machines see, or sent there."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Sequence

from crh_batch.engines.clusters import Cluster, ClustersEngine
from crh_batch.engines.programs import find_program, freeze_programs
from crh_batch.errors import HostError, ProfileError
from crh_batch.hosts.base import FarHost
from crh_batch.hosts.mounted import MountedHost, translated
from crh_batch.hosts.transfers import transferring
from crh_batch.ledger.items import Item
from crh_batch.ledger.paths import BatchPaths
from crh_batch.ledger.settings import Settings
from crh_batch.mirror.make import Part, make_stages
from crh_batch.mirror.programs import ProgramThere, find_programs_there, found_there
from crh_batch.mirror.references import unfit_for_staging
from crh_batch.plan.order import Planned
from crh_batch.plan.shares import Work, split
from crh_batch.profile import Profile

Say = Callable[[str], None]


class Mounted:
    """On a cluster that sees this machine's files, with the programs that are there.

    Args:
        say: for what the user should know.
    """

    def __init__(self, host: MountedHost, say: Say) -> None:
        self._far = host.far
        self._pairs = host.pairs
        self._say = say
        self._found: dict[str, ProgramThere | str] = {}

    def unfit(self, root: str, one: Planned) -> str:
        """Return why a tomodir can't run there: it names a file by a path that is another one there."""
        for stage in one.description.stages:
            for name in stage.inputs:
                if name.startswith("/") and translated(name, self._pairs) not in (None, name):
                    return (
                        f"names {name}, which is {translated(name, self._pairs)} on {self._far.name}: "
                        "name it relative to the tomodir"
                    )
        return ""

    def find_programs(self, names: Sequence[str], profile: Profile) -> None:
        """Find the programs there, else here: in the profile, on PATH, or in their package.

        Raises:
            ProgramMissing: one isn't there, or can't be executed.
            HostError: the cluster can't be reached.
        """
        for name in names:
            there = found_there(self._far, name, profile)
            self._found[name] = there or find_program(name, Profile())
            if there is None:
                self._say(f"{name}: none on {self._far.name}; this machine's is taken, {self._found[name]}")

    def freeze(self, paths: BatchPaths) -> dict[str, dict[str, str]]:
        """Copy the programs into ``bin/``, which the cluster sees; return what batch.json keeps of them.

        Raises:
            HostError: the cluster can't be reached.
        """
        frozen = {}
        for name, found in self._found.items():
            if isinstance(found, str):
                frozen.update(freeze_programs(paths, {name: found}))
            elif not found.sha256:
                frozen[name] = {"path": found.path, "sha256": "", "source": found.source}
            else:
                fetched = os.path.join(paths.programs, f".{name}.fetched")
                size = int(self._far.ask("digest", path=found.path)["size"])
                with transferring(f"fetching {name}") as transfer:
                    transfer.expect(size)
                    self._far.fetch_tail(found.path, fetched, size, transfer.add)
                frozen.update(freeze_programs(paths, {name: fetched}))
                frozen[name]["source"] = found.source
                os.unlink(fetched)
        return frozen

    def prepare(self, paths: BatchPaths, settings: Settings, items: Sequence[Item]) -> None:
        """Make sure that the cluster sees the batch.

        Raises:
            HostError, ProfileError: it doesn't.
        """
        there = translated(paths.settings, self._pairs)
        if there is None:
            raise ProfileError(f"{paths.directory}: below none of the profile's roots", "Name its root.", "", "roots")


class Staged:
    """Sent to clusters that don't see this machine's files, with the programs that are there, or this machine's."""

    def __init__(self, engine: ClustersEngine, say: Say) -> None:
        self._engine = engine
        self._say = say
        self._programs: list[dict[str, ProgramThere]] = []
        self._links: list[str] = []

    def unfit(self, root: str, one: Planned) -> str:
        """Return why a tomodir can't run on another filesystem; empty if it can."""
        made = {source.name for source in one.sources}
        inputs = (name for stage in one.description.stages for name in stage.inputs if name not in made)
        return unfit_for_staging(root, one.path, inputs)

    def find_programs(self, names: Sequence[str], profile: Profile) -> None:
        """Find the programs on each cluster; where there are none, this machine's are sent there, once.

        Raises:
            ProgramMissing: there are none here either, or they can't run there.
            ProfileError: two of the clusters would be at work in the same directory.
            HostError: a cluster can't be reached, or its disk is full.
        """
        bases = Counter((one.far.name, one.base) for one in self._engine.clusters)
        shared = [place for place, many in bases.items() if many > 1]
        if shared:
            host, base = shared[0]
            raise ProfileError(
                f"two clusters of --on are {host}, with the same directory for stages, {base}",
                "Give one of the two profiles another stage, or name the partitions of both in one profile.",
                "",
                "stage",
            )
        # Asked for first: a scheduler that doesn't answer must show before anything is written down.
        _ = self._engine.shares
        for one in self._engine.clusters:
            one.far.ask("make_directories", paths=[one.base], mode=0o700)
            self._links.append(str(one.far.ask("links", directory=one.base)["links"]))
            self._programs.append(self._programs_on(one, names))

    def _programs_on(self, one: Cluster, names: Sequence[str]) -> dict[str, ProgramThere]:
        return find_programs_there(
            one.far, names, one.profile, one.base, find_here=lambda name: find_program(name, Profile()), say=self._say
        )

    def freeze(self, paths: BatchPaths) -> dict[str, dict[str, str]]:
        """Copy nothing; return what batch.json here keeps of the programs: those of the first cluster."""
        found = self._programs[0]
        return {name: {"path": one.path, "sha256": one.sha256, "source": one.source} for name, one in found.items()}

    def prepare(self, paths: BatchPaths, settings: Settings, items: Sequence[Item]) -> None:
        """Write down which tomodirs go to which cluster; nothing is sent yet."""
        works = [Work(one.item_id, one.estimate_s, one.threads, one.after) for one in items]
        clusters = self._engine.clusters
        parts = []
        for number, ids in enumerate(split(works, self._engine.shares)):
            one, rule = clusters[number], self._engine.memory_rules[number]
            if ids:
                parts.append(
                    Part(
                        on=one.on,
                        host=one.far.name,
                        scheduler=one.scheduler.name,
                        base=one.base,
                        links=self._links[number],
                        programs=self._programs[number],
                        profile=one.profile,
                        ids=ids,
                        job_mb=rule.job_mb,
                        most_mb=rule.most_mb,
                    )
                )
        make_stages(paths, settings, items, parts)


def sees(far: FarHost, pairs: Sequence[tuple[str, str]], root: str) -> bool:
    """Return whether a cluster sees a survey, by what the profile says.

    Raises:
        HostError: it should, and doesn't.
    """
    there = translated(root, pairs)
    if there is None:
        return False
    if not far.ask("exists", paths=[there])["exists"][0]:
        raise HostError(
            f"{far.name}: {there}: isn't there, though {root} is here",
            "Mend roots in the profile; without roots the survey is sent there.",
            far.name,
        )
    return True
