"""Making the stages of a batch that is about to count: here alone, nothing is sent yet."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from crh_batch.errors import Busy
from crh_batch.ledger.items import Item, write_items
from crh_batch.ledger.paths import BatchPaths
from crh_batch.ledger.settings import Settings, write_settings
from crh_batch.mirror.programs import ProgramThere
from crh_batch.mirror.references import climb_of, directories_of, inputs_of, place_of
from crh_batch.mirror.stage import Stage, write_stage
from crh_batch.profile import Profile


@dataclass(frozen=True)
class Part:
    """What one cluster gets of a batch.

    Args:
        on: what the user calls the cluster.
        host: the name that SSH knows its login node by.
        scheduler: ``slurm`` or ``sge``.
        base: the directory there that stages are made in.
        links: the kind of exclusive names that work there.
        programs: where the programs are there.
        profile: the cluster's settings.
        ids: the tomodirs that run there.
        job_mb, most_mb: what is known of the memory of its jobs (ledger/memory.py).
    """

    on: str
    host: str
    scheduler: str
    base: str
    links: str
    programs: Mapping[str, ProgramThere]
    profile: Profile
    ids: frozenset[int]
    job_mb: int = 0
    most_mb: int = 0


def make_stages(paths: BatchPaths, settings: Settings, items: Sequence[Item], parts: Sequence[Part]) -> None:
    """Write down the stages of a batch, durably: what runs where, and the batch as it will be there.

    Raises:
        Busy: another client took the batch over meanwhile.
        OSError: they can't be written.
    """
    for number, part in enumerate(parts, 1):
        own = [item for item in items if item.item_id in part.ids]
        stage = _stage(paths, number, part, own)
        write_stage(stage)
        write_settings(stage.here, _settings_there(settings, part))
        if not write_items(stage.here, own):
            raise Busy(
                f"batch {paths.batch_id}: another client is making it", "Run the command again.", paths.directory
            )


def _stage(paths: BatchPaths, number: int, part: Part, items: Sequence[Item]) -> Stage:
    top = os.path.join(part.base, paths.batch_id)
    return Stage(
        batch=paths,
        number=number,
        on=part.on,
        host=part.host,
        scheduler=part.scheduler,
        top=top,
        root=os.path.join(top, *_tail(paths.root, items)),
        programs={
            name: {"path": one.path, "sha256": one.sha256, "source": one.source} for name, one in part.programs.items()
        },
        profile=part.profile.to_json(),
    )


def _tail(root: str, items: Sequence[Item]) -> list[str]:
    """Return the last parts of the survey's path, so many that what lies above the survey finds its place there."""
    climb = max((climb_of(place_of(item.path, name)) for item in items for name in inputs_of(item.stages)), default=0)
    parts = directories_of(root)
    return parts[len(parts) - min(climb, len(parts)) :]


def _settings_there(settings: Settings, part: Part) -> Settings:
    return replace(
        settings,
        links=part.links,
        programs={name: one.entry for name, one in part.programs.items()},
        scratch=part.profile.scratch,
        container=part.profile.container_words,
        memory_mb=part.job_mb,
        max_memory_mb=part.most_mb,
        idle_s=60.0 * part.profile.idle_minutes,
        share_gid=0,
        extra={**settings.extra, "profile": part.profile.to_json()},
    )
