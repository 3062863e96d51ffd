"""Where a new batch will run, on this machine's filesystem or elsewhere, and what that means for making it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol

from crh_batch.engines.programs import find_program, freeze_programs
from crh_batch.ledger.items import Item
from crh_batch.ledger.paths import BatchPaths
from crh_batch.ledger.settings import Settings
from crh_batch.plan.order import Planned
from crh_batch.profile import Profile


class Place(Protocol):
    """Where the pilots of a new batch will be."""

    def unfit(self, root: str, one: Planned) -> str:
        """Return why a tomodir can't run there; empty if it can."""
        ...

    def find_programs(self, names: Sequence[str], profile: Profile) -> None:
        """Find the programs that will run; nothing of the batch is on disk yet.

        Raises:
            ProgramMissing: one isn't there, or can't be executed.
            HostError: the cluster can't be reached.
        """
        ...

    def freeze(self, paths: BatchPaths) -> dict[str, dict[str, str]]:
        """Freeze the programs that were found; return what batch.json keeps of them."""
        ...

    def prepare(self, paths: BatchPaths, settings: Settings, items: Sequence[Item]) -> None:
        """Write down what else pilots there need to know of a batch that is about to count."""
        ...


class Here:
    """On this machine's filesystem, with the programs of this machine."""

    def __init__(self) -> None:
        self._programs: dict[str, str] = {}
        self._inside: Mapping[str, bool] = {}

    def unfit(self, root: str, one: Planned) -> str:
        """Return nothing: it lies where pilots will be."""
        return ""

    def find_programs(self, names: Sequence[str], profile: Profile) -> None:
        """Find the programs in the profile, on PATH, or in their package.

        Raises:
            ProgramMissing: one isn't there, or can't be executed.
        """
        self._programs = {name: find_program(name, profile) for name in names}
        self._inside = profile.is_inside_container

    def freeze(self, paths: BatchPaths) -> dict[str, dict[str, str]]:
        """Copy the programs into ``bin/``; return what batch.json keeps of them."""
        return freeze_programs(paths, self._programs, self._inside)

    def prepare(self, paths: BatchPaths, settings: Settings, items: Sequence[Item]) -> None:
        """Do nothing: pilots read the batch itself."""
