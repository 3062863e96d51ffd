"""A tree as a whole: half-made batches, what prune left, and .crh files whose batch is somewhere else, or nowhere."""

from __future__ import annotations

import os
from collections.abc import Iterator

from crh_batch.errors import CrhBatchError
from crh_batch.ledger.batch import Batch, counts, is_batch_id
from crh_batch.ledger.custody import Custody
from crh_batch.ledger.identity import Verdict
from crh_batch.ledger.paths import STATE_DIRECTORY, BatchPaths
from crh_batch.ledger.registration import Registration
from crh_batch.ledger.removal import is_pruned
from crh_batch.ledger.settings import read_settings
from crh_batch.verify.finding import Finding, Kind
from crh_batch.verify.tree import Tree, batch_directories

# What else lies in .crh-batch: profile test --keep.
_TRIAL = "trial-"


def tree_of(tree: Tree) -> list[Finding]:
    """Compare the .crh files of a tree with the batches that they speak of, and look at what lies beside batches."""
    found: list[Finding] = []
    for state in tree.states:
        found += _state_directory(tree, state)
    nearby = Nearby(tree)
    for tomodir, registration in sorted(tree.registrations.items()):
        found += _registration(tree, nearby, tomodir, registration)
    return found


def _state_directory(tree: Tree, state: str) -> Iterator[Finding]:
    for name in sorted(_listed(state)):
        path = os.path.join(state, name)
        place = os.path.relpath(path, tree.top)
        if is_pruned(name):
            yield Finding(Kind.PRUNE_LEFT, place, mends=True, note=path)
        elif not is_batch_id(name) and not name.startswith((_TRIAL, ".")):
            yield Finding(Kind.FOREIGN, place)
    for directory in batch_directories(state):
        # Of another user's batch nothing can be seen.
        if os.access(directory, os.R_OK | os.X_OK) and not os.path.exists(BatchPaths(directory).items):
            yield from _half_made(directory, os.path.relpath(directory, tree.top))


def _half_made(directory: str, place: str) -> Iterator[Finding]:
    """Look at a batch without items: its client is making it now, or has died."""
    verdict = _client_of(directory)
    if verdict is Verdict.DEAD:
        yield Finding(Kind.HALF_MADE_BATCH, place, mends=True, note=directory)
    elif verdict is None:
        # Nobody has registered anything for it yet, and nothing tells who began it.
        yield Finding(Kind.HALF_MADE_BATCH, place, "its client died early, or is making it now", note=directory)


def _client_of(directory: str) -> Verdict | None:
    """Return whether the client that makes a batch lives; None if there is no trace of one."""
    paths = BatchPaths(directory)
    try:
        return Custody(paths, read_settings(paths).links).verdict()
    except (CrhBatchError, OSError):
        return None


def _listed(directory: str) -> list[str]:
    try:
        return os.listdir(directory)
    except OSError:
        return []


class Nearby:
    """The batches that .crh files speak of; thousands speak of the same one, so each is opened once."""

    def __init__(self, tree: Tree) -> None:
        self._tree = tree
        self._opened: dict[str, Batch | None] = {}
        self._places: dict[str, dict[str, int]] = {}
        self._found: dict[str, str] = {}

    def open(self, directory: str) -> Batch | None:
        """Return a batch that counts; None if there is none there, or it can't be read."""
        if directory not in self._opened:
            try:
                batch = Batch(directory) if counts(directory) else None
                self._opened[directory] = batch if batch is None or len(batch.items) else None
            except (CrhBatchError, OSError):
                self._opened[directory] = None
        return self._opened[directory]

    def find(self, batch_id: str) -> str:
        """Return where a batch lies near the tree; empty if it doesn't."""
        if batch_id not in self._found:
            self._found[batch_id] = self._tree.find_batch(batch_id)
        return self._found[batch_id]

    def tomodir(self, batch: Batch, item_id: int) -> str:
        """Return where a tomodir of a batch should lie; empty if the batch has no such number."""
        if item_id not in batch.items:
            return ""
        return os.path.normpath(batch.tomodir(batch.items[item_id]))

    def has(self, batch: Batch, tomodir: str) -> bool:
        """Return whether a batch has a tomodir at this place, under whatever number."""
        directory = batch.paths.directory
        if directory not in self._places:
            self._places[directory] = {os.path.normpath(batch.tomodir(item)): item.item_id for item in batch.items}
        return tomodir in self._places[directory]


def _registration(tree: Tree, nearby: Nearby, tomodir: str, registration: Registration) -> Iterator[Finding]:
    place = os.path.relpath(tomodir, tree.top)
    directory = registration.batch_directory
    if registration.flaw:
        yield Finding(Kind.REGISTRATION_FLAWED, place, registration.flaw, note=tomodir)
    elif (batch := nearby.open(directory)) is not None:
        yield from _of_living_batch(nearby, batch, tomodir, place, registration)
    elif not os.path.isdir(directory):
        yield from _without_batch(tree, nearby, tomodir, place, registration)
    elif os.path.exists(BatchPaths(directory).items) and not counts(directory):
        # Taken over, and its client died before it came to this one.
        yield Finding(Kind.HALF_MADE_BATCH, place, registration.batch_id, mends=True, note=directory)


def _of_living_batch(
    nearby: Nearby, batch: Batch, tomodir: str, place: str, registration: Registration
) -> Iterator[Finding]:
    """Look whether the batch has this tomodir; one that was copied or renamed takes its .crh file along."""
    original = nearby.tomodir(batch, registration.item_id)
    if original == tomodir or nearby.has(batch, tomodir):
        return  # where the number alone is wrong, that is told with the batch
    if original and not os.path.isdir(original):
        yield Finding(Kind.RENAMED, place, os.path.relpath(original, batch.paths.root), registration.item_id)
    else:
        yield Finding(Kind.COPIED, place, registration.batch_id, registration.item_id, mends=True, note=tomodir)


def _without_batch(
    tree: Tree, nearby: Nearby, tomodir: str, place: str, registration: Registration
) -> Iterator[Finding]:
    found = nearby.find(registration.batch_id)
    if found:
        batch = nearby.open(found)
        original = nearby.tomodir(batch, registration.item_id) if batch is not None else ""
        if original and os.path.isdir(original) and original != tomodir:
            yield Finding(Kind.COPIED, place, registration.batch_id, registration.item_id, mends=True, note=tomodir)
        else:
            # A .crh file and its batch know each other by their places alone, so one of the two was moved.
            lies = f"{os.path.relpath(found, tree.top)}, which has it at {os.path.relpath(original, tree.top)}"
            yield Finding(Kind.ASTRAY, place, lies, registration.item_id, note=tomodir)
        return
    # Where the directory of batches is there, and readable, the batch was deleted; else everything may lie elsewhere.
    state = os.path.dirname(registration.batch_directory)
    deleted = os.path.basename(state) == STATE_DIRECTORY and os.path.isdir(state) and os.access(state, os.R_OK)
    yield Finding(Kind.ORPHANED, place, registration.batch_id, registration.item_id, mends=deleted, note=tomodir)
