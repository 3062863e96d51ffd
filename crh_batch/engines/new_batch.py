"""Making a batch: freeze what will run, register each tomodir, then write the items; from then on it counts.

A client that dies before that leaves registrations of a half-made batch, which the next client takes over.
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

import crh_batch
from crh_batch.engines.programs import find_program, freeze_pilot, freeze_programs
from crh_batch.errors import Busy, CrhBatchError
from crh_batch.ledger import durable
from crh_batch.ledger.batch import Batch, Settings, new_batch, write_items, write_settings
from crh_batch.ledger.custody import Custody
from crh_batch.ledger.identity import login_name, this_process
from crh_batch.ledger.names import RetryPolicy
from crh_batch.ledger.paths import BatchPaths
from crh_batch.ledger.registration import Registration, register
from crh_batch.plan.order import PROGRAMS, Planned, classes_of, in_order, item_of
from crh_batch.profile import Profile

# Registering waits for the filesystem; on a network filesystem almost only.
_WORKERS = 8
_SIM_TYPES = {"modelling": "mod", "inversion": "inv"}


@dataclass
class Made:
    """A new batch, still in the custody of this client.

    Args:
        batch: None if no tomodir could be registered.
        taken: tomodirs that somebody else registered meanwhile.
        refused: tomodirs that could not be registered, with the reason.
    """

    batch: Batch | None = None
    taken: list[tuple[str, Registration]] = field(default_factory=list)
    refused: list[tuple[str, CrhBatchError]] = field(default_factory=list)


def make_batch(
    root: str,
    planned: Sequence[Planned],
    profile: Profile,
    start: Callable[[Batch], None],
    on_progress: Callable[[int, int], None] = lambda done, total: None,
) -> Made:
    """Make a batch of tomodirs and hand it to ``start`` while it is in this client's custody.

    Raises:
        ProgramMissing: CRMod or CRTomo isn't there.
        LedgerError: the batch's directory can't be written.
        Busy: another client took the batch for dead and over.
    """
    ordered = in_order(planned)
    needed = sorted({PROGRAMS[stage.name] for one in ordered for stage in one.description.stages})
    programs = {name: find_program(name, profile) for name in needed}
    paths = new_batch(root, len(ordered))
    settings = _settings(paths, ordered, profile, programs)
    write_settings(paths, settings)
    made = Made()
    with Custody(paths, settings.links):
        registered = _register(root, paths, ordered, made, on_progress)
        items = [item_of(item_id, ordered[item_id]) for item_id in registered]
        if not write_items(paths, items):
            raise Busy(
                f"batch {paths.batch_id}: another client took it over while it was being made",
                "Run the command again; the tomodirs are with that client now.",
                paths.directory,
            )
        if items:
            made.batch = Batch(paths.directory)
            start(made.batch)
    if made.batch is None:
        # Others registered everything first. Its list of items is closed and empty, so nobody else has a use for it.
        shutil.rmtree(paths.directory, ignore_errors=True)
    return made


def _settings(paths: BatchPaths, ordered: list[Planned], profile: Profile, programs: dict[str, str]) -> Settings:
    frozen = freeze_programs(paths, programs)
    extra = {
        "version": crh_batch.__version__,
        "submitted": time.strftime("%Y-%m-%dT%H:%M:%S%z"),
        "user": login_name(),
        "pilot_sha256": freeze_pilot(paths),
        "profile": profile.to_json(),
    }
    return Settings(
        links=durable.find_link_kind(paths.names),
        classes=classes_of(ordered),
        programs=frozen,
        policy=RetryPolicy(charged_attempts=profile.charged_attempts),
        scratch=profile.scratch,
        extra=extra,
    )


def _register(
    root: str, paths: BatchPaths, ordered: list[Planned], made: Made, on_progress: Callable[[int, int], None]
) -> list[int]:
    """Register each tomodir; return the ids of those that are ours, ascending."""
    who = this_process()

    def register_one(item_id: int) -> Registration | CrhBatchError | None:
        one = ordered[item_id]
        sim_type = "+".join(_SIM_TYPES[stage.name.value] for stage in one.description.stages)
        try:
            return register(f"{root}/{one.path}", paths, item_id, who, sim_type)
        except CrhBatchError as error:
            return error

    ours = []
    with ThreadPoolExecutor(_WORKERS) as pool:
        for item_id, answer in enumerate(pool.map(register_one, range(len(ordered)))):
            if answer is None:
                ours.append(item_id)
            elif isinstance(answer, Registration):
                made.taken.append((ordered[item_id].path, answer))
            else:
                made.refused.append((ordered[item_id].path, answer))
            on_progress(item_id + 1, len(ordered))
    return ours
