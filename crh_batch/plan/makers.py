"""Who makes a file outside a tomodir: another one that is to be run now, or one that an older batch has."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from crh_batch.errors import CrhBatchError
from crh_batch.ledger.batch import Batch, counts
from crh_batch.ledger.items import Item
from crh_batch.ledger.names import State, StateName, states
from crh_batch.ledger.registration import read_registration
from crh_batch.plan.order import Planned
from crh_batch.tomodir.references import is_outside

# With these the result is in the tomodir, or is no affair of that batch any more.
_IN_PLACE = (StateName.COLLECTED, StateName.MOVED)


@dataclass(frozen=True)
class Maker:
    """A planned tomodir that makes a file, and the file's path inside it."""

    path: str
    member: str


class PlannedMakers:
    """Tells which planned tomodir makes a file.

    Args:
        root: what the paths of tomodirs are relative to.
    """

    def __init__(self, root: str, planned: Iterable[Planned]) -> None:
        self._places = RealPlaces(root)
        self._by_directory: dict[str, Planned] = {}
        for one in planned:
            self._by_directory.setdefault(self._places.directory(one.path), one)

    def find(self, reader: str, name: str) -> Maker | None:
        """Return who makes an input of a tomodir; None if nobody, or only the tomodir itself."""
        place = self._places.file(reader, name)
        own = self._places.directory(reader)
        for directory in above(place):
            maker = self._by_directory.get(directory)
            if maker is None or directory == own:
                continue
            for stage in maker.description.stages:
                member = member_at(place, directory, stage.inv_dirs, stage.result)
                if member:
                    return Maker(maker.path, member)
        return None


class RegisteredMakers:
    """Tells which tomodir of an older batch is yet to give a file; batches are read once each."""

    def __init__(self, root: str) -> None:
        self._places = RealPlaces(root)
        self._batches: dict[str, tuple[Batch, dict[int, State]] | None] = {}
        self._known: dict[str, tuple[str, Item, State, str] | None] = {}

    def find(self, reader: str, name: str) -> str:
        """Return whom an input of a tomodir has to wait for, in words; empty if for nobody."""
        place = self._places.file(reader, name)
        own = self._places.directory(reader)
        for directory in above(place):
            known = self._look_at(directory) if directory != own else None
            if known is None:
                continue
            path, item, state, batch_id = known
            if state.name in _IN_PLACE:
                continue
            for stage in item.stages:
                if member_at(place, directory, stage.get("inv_dirs") or (), stage.get("result")):
                    failure = f" ({state.failure.value})" if state.name is StateName.FAILED and state.failure else ""
                    return f"{path} of batch {batch_id}, which is {state.name.value}{failure}"
        return ""

    def _look_at(self, directory: str) -> tuple[str, Item, State, str] | None:
        if directory not in self._known:
            self._known[directory] = self._read(directory)
        return self._known[directory]

    def _read(self, directory: str) -> tuple[str, Item, State, str] | None:
        registration = read_registration(directory)
        if registration is None or registration.flaw:
            return None
        opened = self._open(registration.batch_directory)
        if opened is None or registration.item_id not in opened[0].items:
            return None
        batch, found = opened
        item = batch.items[registration.item_id]
        return item.path, item, found[item.item_id], batch.batch_id

    def _open(self, directory: str) -> tuple[Batch, dict[int, State]] | None:
        if directory not in self._batches:
            self._batches[directory] = None
            if counts(directory):
                try:
                    batch = Batch(directory)
                    self._batches[directory] = batch, dict(states(batch.paths, batch.items.ids, batch.settings))
                except CrhBatchError:
                    # Whoever submits or checks that tomodir is told; here it is as if there were no batch.
                    pass
        return self._batches[directory]


class RealPlaces:
    """Real paths of tomodirs and their inputs; directories are looked up once each."""

    def __init__(self, root: str) -> None:
        self._root = root
        self._parents: dict[str, str] = {}

    def directory(self, path: str) -> str:
        """Return the real path of a tomodir."""
        whole = os.path.normpath(os.path.join(self._root, path))
        if os.path.islink(whole):
            return os.path.realpath(whole)
        return os.path.join(self._real(os.path.dirname(whole)), os.path.basename(whole))

    def file(self, reader: str, name: str) -> str:
        """Return the real path of a tomodir's input, as the kernel would find it; the file need not be there."""
        if not is_outside(name):
            return os.path.join(self.directory(reader), name)
        whole = os.path.join(self._root, reader, name)
        return os.path.realpath(whole)

    def _real(self, directory: str) -> str:
        if directory not in self._parents:
            self._parents[directory] = os.path.realpath(directory)
        return self._parents[directory]


def member_at(place: str, directory: str, inv_dirs: Iterable[str], result: str | None) -> str:
    """Return a file's path inside a tomodir if a stage of it makes that file, else an empty text.

    Args:
        place: of the file, a real path.
        directory: the tomodir, a real path.
        inv_dirs: where the stage's inversion writes to.
        result: the volt.dat that its modelling writes, if any.
    """
    for inv_dir in inv_dirs:
        base = os.path.realpath(os.path.join(directory, inv_dir)) + os.sep
        if place.startswith(base):
            return f"{inv_dir}/{place[len(base) :]}"
    if result and os.path.realpath(os.path.join(directory, result)) == place:
        return result
    return ""


def above(place: str) -> Iterator[str]:
    """Yield the directories above a place, the nearest first."""
    directory = os.path.dirname(place)
    while True:
        yield directory
        parent = os.path.dirname(directory)
        if parent == directory:
            return
        directory = parent
