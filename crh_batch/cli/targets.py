"""What a command is meant for: a batch by name, all tomodirs below a path, or what is current here."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass

from crh_batch.engines.resume import count_states
from crh_batch.engines.wait import is_over
from crh_batch.errors import BatchNotFound
from crh_batch.ledger.batch import Batch, Item, find_batches, is_batch_id, open_batch
from crh_batch.ledger.names import StateName
from crh_batch.ledger.registration import read_registration
from crh_batch.tomodir.scan import is_tomodir


@dataclass(frozen=True)
class Target:
    """A batch, and which of its tomodirs are meant; None means all."""

    batch: Batch
    only: frozenset[int] | None = None

    def takes(self, item: Item) -> bool:
        """Return whether a tomodir is meant."""
        return self.only is None or item.item_id in self.only


def find_target(where: str) -> Target:
    """Return what BATCH or PATH means.

    That is a batch's id or directory; else the newest batch at or above PATH, and of it the tomodirs at or below PATH.

    Raises:
        BatchNotFound: nothing fits.
    """
    if where and not is_batch_id(os.path.basename(os.path.abspath(where))) and os.path.isdir(where):
        if is_tomodir(where):
            batch, item_id = find_tomodir(where)
            return Target(batch, frozenset({item_id}))
        batch = open_batch(where)
        below = os.path.relpath(os.path.abspath(where), batch.paths.root)
        if below != ".":
            ids = frozenset(item.item_id for item in batch.items if item.path.startswith(below + "/"))
            return Target(batch, ids)
        return Target(batch)
    return Target(open_batch(where))


def find_targets(where: Sequence[str]) -> list[Target]:
    """Return what several BATCH or PATH arguments mean, one target a batch."""
    merged: dict[str, Target] = {}
    for target in [find_target(one) for one in where or ("",)]:
        key = target.batch.paths.directory
        before = merged.get(key)
        if before is None:
            merged[key] = target
        elif before.only is None or target.only is None:
            merged[key] = Target(target.batch)
        else:
            merged[key] = Target(target.batch, before.only | target.only)
    return list(merged.values())


def current_targets(where: str) -> list[Target]:
    """Return what ``wait`` and ``collect`` mean.

    That is BATCH or PATH if given, else every batch at or above the current directory with tomodirs that are not over
    or not collected, and the newest one.

    Raises:
        BatchNotFound: there is no batch.
    """
    if where:
        return [find_target(where)]
    newest = open_batch("")
    batches = [Batch(directory) for directory in find_batches(".") if directory != newest.paths.directory]
    unfinished = [batch for batch in batches if _is_unfinished(batch)]
    return [Target(batch) for batch in [*unfinished, newest]]


def _is_unfinished(batch: Batch) -> bool:
    counts = count_states(batch)
    return counts[StateName.DONE] > 0 or not is_over(counts)


def find_tomodir(tomodir: str) -> tuple[Batch, int]:
    """Return the batch that a tomodir belongs to, and its number there: by its .crh file, else the newest that has it.

    Raises:
        BatchNotFound: no batch at or above has it.
    """
    place = os.path.abspath(tomodir)
    registration = read_registration(place)
    if registration is not None and not registration.flaw and os.path.isdir(registration.batch_directory):
        batch = open_batch(registration.batch_directory)
        item_id = registration.item_id
        # A copy's .crh speaks of the original, and a half-made batch's number means nothing in another batch.
        if item_id in batch.items and os.path.abspath(batch.tomodir(batch.items[item_id])) == place:
            return batch, item_id
    for directory in reversed(find_batches(os.path.dirname(place))):
        batch = Batch(directory)
        path = os.path.relpath(place, batch.paths.root)
        for item in batch.items:
            if item.path == path:
                return batch, item.item_id
    raise BatchNotFound(
        f"{tomodir}: no batch at or above it has this tomodir",
        "It was never submitted, or its batch was removed; crh-batch check says what it needs.",
        tomodir,
    )
