"""Batches with a stage that nothing was sent of yet: a survey here, a directory for stages, a machine between them."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from crh_batch.ledger.batch import Batch, new_batch
from crh_batch.ledger.items import Item, write_items
from crh_batch.ledger.paths import BatchPaths
from crh_batch.ledger.settings import ItemClass, Settings, write_settings
from crh_batch.mirror.make import Part, make_stages
from crh_batch.mirror.programs import ProgramThere
from crh_batch.mirror.stage import Stage, read_stages
from crh_batch.profile import Profile
from unit.ledger.making import MODELLING, make_item, write_files

CFG = "exe/crmod.cfg"


@dataclass(frozen=True)
class Unsent:
    """A batch here, and where its stages go."""

    survey: Path
    base: Path
    batch: Batch

    @property
    def stage(self) -> Stage:
        """Its only stage, or the first one."""
        return read_stages(self.batch.paths)[0]

    def there(self, place: str) -> Path:
        """Where a file of the survey is to be in the stage."""
        return Path(os.path.normpath(os.path.join(self.stage.root, place)))


def reading(*inputs: str, **more: Any) -> dict[str, Any]:
    """A stage of a tomodir that reads these files."""
    return {**MODELLING, "inputs": list(inputs), **more}


def make_unsent(
    survey: Path,
    tomodirs: Mapping[str, Sequence[Mapping[str, Any]]],
    files: Mapping[str, bytes],
    *,
    programs: Mapping[str, ProgramThere] | None = None,
    pilot: bytes = b"pilot",
    profile: Profile | None = None,
) -> Unsent:
    """A batch of tomodirs, each with its stages, in a survey with these files; its stage goes to ``there``."""
    survey.mkdir(parents=True, exist_ok=True)
    write_files(survey, files)
    items = [make_item(number, path, stages=stages) for number, (path, stages) in enumerate(tomodirs.items())]
    base = survey.with_name(f"{survey.name}.there")
    paths, settings = _begin(survey, items, pilot)
    made = make_part(base, range(len(items)), programs=programs or {}, profile=profile or Profile())
    make_stages(paths, settings, items, [made])
    write_settings(paths, settings)
    assert write_items(paths, items)
    return Unsent(survey, base, Batch(paths.directory))


def make_part(base: Path, ids: Iterable[int], **more: Any) -> Part:
    """What a cluster gets; ``more`` is what isn't as usual."""
    usual = Part("far", "far", "slurm", os.fspath(base), "symlink", {}, Profile(), frozenset(ids))
    return replace(usual, **more)


def _begin(survey: Path, items: Sequence[Item], pilot: bytes) -> tuple[BatchPaths, Settings]:
    paths = new_batch(os.fspath(survey), len(items))
    Path(paths.pilot).write_bytes(pilot)
    programs = {"CRMod": {"file": "CRMod-1", "sha256": "1"}}
    return paths, Settings(links="symlink", classes=(ItemClass(1, 0, len(items)),), programs=programs)
