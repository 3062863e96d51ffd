"""Stages: what is known here of where a batch's pilots run, and whether it is still there."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator, Sequence

from crh_batch.engines.base import plural
from crh_batch.errors import CrhBatchError, HostError, MirrorDiffers, StageGone
from crh_batch.hosts.reach import reach
from crh_batch.ledger.batch import Batch
from crh_batch.ledger.items import Items
from crh_batch.ledger.names import Failure, StateName
from crh_batch.ledger.settings import read_settings
from crh_batch.mirror.comparing import names_that_differ
from crh_batch.mirror.gone import removed_files
from crh_batch.mirror.inputs import archive_path
from crh_batch.mirror.refresh import for_each
from crh_batch.mirror.stage import Stage, is_staged, read_stages
from crh_batch.verify.finding import Finding, Kind
from crh_batch.verify.look import Look, is_temporary

_FILES = frozenset({"stage.json", "batch.json", "items.jsonl", "seen", "arrived", "fetching", "names"})


def unreadable_stages(batch: Batch) -> list[Finding]:
    """Return why nobody knows where a batch's tomodirs run; empty if that is known, or they run here."""
    if not is_staged(batch.paths):
        return []
    try:
        stages = read_stages(batch.paths)
    except CrhBatchError as error:
        path = str(getattr(error, "path", "")) or batch.paths.stages
        return [_unreadable(batch, path, error.message.removeprefix(f"{path}: "))]
    found: list[Finding] = []
    placed: set[int] = set()
    for stage in stages:
        try:
            read_settings(stage.here)
            placed.update(Items(stage.here.items).ids)
        except (CrhBatchError, OSError) as error:
            found.append(_unreadable(batch, stage.directory, str(error).partition("\n")[0]))
    homeless = [item.path for item in batch.items if item.item_id not in placed]
    if homeless and not found:
        what = f"{plural(len(homeless), 'tomodir')} in none of them, such as {homeless[0]}"
        found.append(_unreadable(batch, batch.paths.stages, what))
    return found


def _unreadable(batch: Batch, path: str, why: str) -> Finding:
    return Finding(Kind.STAGE_UNREADABLE, os.path.relpath(path, batch.paths.directory), why)


def differing(batch: Batch, error: MirrorDiffers) -> Finding:
    """Return the finding for a name that contradicts what stands where the pilots run."""
    return _differs(batch, error.path, error.message.removeprefix(f"{error.path}: "))


def names_of_stages(batch: Batch) -> list[Finding]:
    """Compare each name with that of the stage; stages that can't be reached are left out."""

    def one_stage(stage: Stage) -> dict[str, str]:
        try:
            return names_that_differ(stage, reach(stage.host))
        except HostError:
            return {}

    answers = for_each(one_stage, read_stages(batch.paths))
    return [_differs(batch, path, what) for answer in answers for path, what in answer.items()]


def _differs(batch: Batch, path: str, what: str) -> Finding:
    return Finding(Kind.NAME_DIFFERS, os.path.relpath(path, batch.paths.directory), what)


def stages_of(look: Look, errors: Sequence[HostError]) -> list[Finding]:
    """Compare a batch's stages with what lies there.

    Args:
        errors: why stages could not be looked at.
    """
    stages = read_stages(look.paths)
    gone = {(one.host, one.path) for one in errors if isinstance(one, StageGone)}
    found = [one for stage in stages if (stage.host, stage.top) in gone for one in _gone(look, stage)]
    unseen = {one.host for one in errors}
    found += [one for stage in stages if stage.host not in unseen for one in _cleaned(look, stage)]
    return found + [one for stage in stages for one in _files(look, stage)]


def _gone(look: Look, stage: Stage) -> Iterator[Finding]:
    """Tell of a stage that is gone, if anything was still wanted of it."""
    left = [item_id for item_id in stage.ids if not _is_over(look, item_id)]
    if left:
        detail = f"{stage.top} on {stage.on}; {plural(len(left), 'tomodir')} not collected, such as "
        yield Finding(Kind.STAGE_GONE, _place(stage), detail + look.path_of(min(left)))


def _cleaned(look: Look, stage: Stage) -> Iterator[Finding]:
    """Tell of a stage of which files were removed, if anything is still to run there."""
    if all(look.states[item_id].name is StateName.DONE or _is_over(look, item_id) for item_id in stage.ids):
        return
    # What can't be asked any more is only not known.
    with contextlib.suppress(HostError):
        if removed := removed_files(stage, reach(stage.host)):
            names = ", ".join(os.path.basename(path) for path in removed)
            yield Finding(Kind.STAGE_CLEANED, _place(stage), f"{stage.top} on {stage.on}: {names}")


def _is_over(look: Look, item_id: int) -> bool:
    state = look.states[item_id]
    cancelled = state.name is StateName.FAILED and state.failure is Failure.CANCELLED
    return cancelled or state.name in (StateName.COLLECTED, StateName.MOVED)


def _files(look: Look, stage: Stage) -> Iterator[Finding]:
    archive = os.path.basename(archive_path(stage))
    for name in sorted(os.listdir(stage.directory)):
        place = f"{_place(stage)}/{name}"
        # An upload that broke off goes on with its archive.
        if is_temporary(name) or (name == archive and stage.has_arrived):
            yield Finding(Kind.TEMPORARY, place, mends=True)
        elif name not in _FILES and name != archive and not name.startswith(".nfs"):
            yield Finding(Kind.FOREIGN, place)


def _place(stage: Stage) -> str:
    return f"stages/{stage.number}"
