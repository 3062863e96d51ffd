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
from crh_batch.engines.groups import group_id
from crh_batch.engines.place import Here, Place
from crh_batch.engines.programs import freeze_pilot
from crh_batch.errors import Busy, CrhBatchError
from crh_batch.ledger import durable
from crh_batch.ledger.batch import Batch, new_batch
from crh_batch.ledger.custody import Custody
from crh_batch.ledger.identity import login_name, this_process
from crh_batch.ledger.items import write_items
from crh_batch.ledger.memory import NOTHING_KNOWN, MemoryRule
from crh_batch.ledger.names import RetryPolicy
from crh_batch.ledger.paths import BatchPaths
from crh_batch.ledger.registration import Registration, read_registration, register, remove_registration, sim_type_of
from crh_batch.ledger.settings import Settings, write_settings
from crh_batch.plan.order import PROGRAMS, Planned, after_of, classes_of, ids_of, in_order, item_of
from crh_batch.plan.wishes import NO_WISHES, Wishes
from crh_batch.profile import Profile

# Registering waits for the filesystem; on a network filesystem almost only.
_WORKERS = 8


@dataclass
class Made:
    """A new batch, still in the custody of this client.

    Args:
        batch: None if no tomodir could be registered.
        taken: tomodirs that somebody else registered meanwhile.
        refused: tomodirs that could not be registered, with the reason.
        waiting: tomodirs that take results of such ones, with the reason; they are not registered either.
    """

    batch: Batch | None = None
    taken: list[tuple[str, Registration]] = field(default_factory=list)
    refused: list[tuple[str, CrhBatchError]] = field(default_factory=list)
    waiting: list[tuple[str, str]] = field(default_factory=list)


def make_batch(
    root: str,
    planned: Sequence[Planned],
    profile: Profile,
    start: Callable[[Batch], None],
    on_progress: Callable[[int, int], None] = lambda done, total: None,
    wishes: Wishes = NO_WISHES,
    memory: MemoryRule = NOTHING_KNOWN,
    place: Place | None = None,
) -> Made:
    """Make a batch of tomodirs and hand it to ``start`` while it is in this client's custody.

    Args:
        memory: what is known of the memory of its jobs.
        place: where its pilots will be; on this machine's filesystem by default.

    Raises:
        ProgramMissing: CRMod or CRTomo isn't there.
        HostError: the cluster can't be reached.
        LedgerError: the batch's directory can't be written.
        Busy: another client took the batch for dead and over.
    """
    ordered = in_order(wishes.applied_to(planned), reverse=wishes.reverse)
    needed = sorted({PROGRAMS[stage.name] for one in ordered for stage in one.description.stages})
    place = place or Here()
    place.find_programs(needed, profile)
    paths = new_batch(root, len(ordered), group_id(profile))
    settings = _settings(paths, ordered, profile, place.freeze(paths), wishes, memory)
    write_settings(paths, settings)
    made = Made()
    with Custody(paths, settings.links):
        registered = _register(root, paths, ordered, made, on_progress)
        registered = _without_unsourced(root, paths, ordered, registered, made)
        ids = ids_of(ordered)
        items = [item_of(item_id, ordered[item_id], ids) for item_id in registered]
        if items:
            place.prepare(paths, settings, items)
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


def _settings(
    paths: BatchPaths,
    ordered: list[Planned],
    profile: Profile,
    frozen: dict[str, dict[str, str]],
    wishes: Wishes,
    memory: MemoryRule,
) -> Settings:
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
        after=after_of(ordered),
        idle_s=60.0 * profile.idle_minutes,
        max_time_s=wishes.max_time_s,
        deadline=wishes.deadline or 0.0,
        keep_going=wishes.keep_going,
        container=profile.container_words,
        memory_mb=memory.job_mb,
        max_memory_mb=memory.most_mb,
        share_gid=group_id(profile),
        extra=extra,
    )


def _register(
    root: str, paths: BatchPaths, ordered: list[Planned], made: Made, on_progress: Callable[[int, int], None]
) -> list[int]:
    """Register each tomodir; return the ids of those that are ours, ascending."""
    who = this_process()

    def register_one(item_id: int) -> Registration | CrhBatchError | None:
        one = ordered[item_id]
        sim_type = sim_type_of(stage.name.value for stage in one.description.stages)
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


def _without_unsourced(
    root: str, paths: BatchPaths, ordered: list[Planned], registered: list[int], made: Made
) -> list[int]:
    """Free those again that take results of tomodirs that somebody else got meanwhile; return the ids of the rest."""
    after = after_of(ordered)
    if not after or len(registered) == len(ordered):
        return registered
    ours = set(registered)
    freed = True
    while freed:
        freed = False
        for item_id in sorted(ours):
            lacking = next((source for source in after.get(item_id, ()) if source not in ours), None)
            if lacking is None:
                continue
            freed = True
            ours.remove(item_id)
            one, source = ordered[item_id], ordered[lacking]
            registration = read_registration(f"{root}/{one.path}")
            if registration is not None and registration.batch_id == paths.batch_id:
                remove_registration(registration)
            why = f"takes a result of {source.path}, which this batch did not get; submit it when that is collected"
            made.waiting.append((one.path, why))
    return sorted(ours)
