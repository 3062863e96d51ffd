"""A batch on disk: settings, items, and its directory's life from nothing to usable.

``batch.json`` and ``items.jsonl`` are written once. A batch counts from the moment items.jsonl exists: a directory
without it is what a client left that died while registering.
"""

from __future__ import annotations

import contextlib
import os
import re
import stat
import time

from crh_batch.errors import BatchNotFound, LedgerError
from crh_batch.ledger import durable
from crh_batch.ledger.items import Item, Items
from crh_batch.ledger.paths import MAX_ITEMS, SHARD_SIZE, STATE_DIRECTORY, BatchPaths
from crh_batch.ledger.settings import read_settings
from crh_batch.ledger.sharing import make_directory
from crh_batch.ledger.trust import is_trusted

_STAMP = "%Y%m%d-%H%M%S"
_BATCH_ID = re.compile(r"\d{8}-\d{6}-[a-z0-9]{4,}\Z")


class Batch:
    """An existing batch, opened for reading its settings and items."""

    def __init__(self, directory: str) -> None:
        self.paths = BatchPaths(directory)
        self.settings = read_settings(self.paths)
        self._items: Items | None = None

    @property
    def items(self) -> Items:
        """The batch's tomodirs; the index is built at the first use."""
        if self._items is None:
            self._items = Items(self.paths.items)
        return self._items

    @property
    def batch_id(self) -> str:
        """The batch's name."""
        return self.paths.batch_id

    def tomodir(self, item: Item) -> str:
        """Return where an item's tomodir lies, as this process sees it."""
        return os.path.join(self.paths.root, item.path)

    def need_bytes(self, item: Item, memory_failures: int = 0) -> int:
        """Return how much memory an item's next attempt may take, the pilot not counted."""
        return self.settings.memory_rule.need_bytes(item.memory_bytes, memory_failures)


def new_batch(root: str, count: int, share_gid: int = 0) -> BatchPaths:
    """Make the directories of a new batch for up to ``count`` tomodirs; it has neither settings nor items yet.

    Args:
        share_gid: number of the group that is to share it; 0 for none.

    Raises:
        LedgerError: the directories can't be made, or there are too many tomodirs for one batch.
    """
    if count > MAX_ITEMS:
        raise LedgerError(
            f"{root}: {count} tomodirs are more than one batch can hold ({MAX_ITEMS})",
            "Submit parts of the tree one after another.",
            root,
        )
    batch_id = f"{_next_stamp(root)}-{durable.random_word(4)}"
    paths = BatchPaths(os.path.join(root, STATE_DIRECTORY, batch_id))
    try:
        _make_state_directory(os.path.dirname(paths.directory), share_gid)
        os.mkdir(paths.directory, 0o700)
        if share_gid:
            os.chown(paths.directory, -1, share_gid)
            os.chmod(paths.directory, 0o2770)
        for directory in paths.directories((count + SHARD_SIZE - 1) // SHARD_SIZE):
            make_directory(directory)
        durable.sync_directory(os.path.dirname(paths.directory))
        durable.sync_directory(paths.directory)
    except OSError as error:
        raise LedgerError(
            f"{paths.directory}: can't be made: {error.strerror}",
            "The survey's directory must be writable, with free space and inodes. If .crh-batch is another user's: who "
            "made it can let a group make batches there, too (share_group in the profile).",
            paths.directory,
        ) from error
    return paths


def _make_state_directory(path: str, share_gid: int) -> None:
    """Make ``.crh-batch``; where a group shares batches, its members make theirs beside each other.

    The sticky bit keeps them from taking each other's away.
    """
    os.makedirs(path, 0o755, exist_ok=True)
    if not stat.S_ISDIR(os.lstat(path).st_mode):
        raise LedgerError(
            f"{path}: is no directory of its own (a symbolic link?)",
            "Nodes would look for the tomodirs beside what it leads to. Make it a directory, or link the whole survey.",
            path,
        )
    if share_gid and os.lstat(path).st_uid == os.geteuid():
        os.chown(path, -1, share_gid)
        os.chmod(path, 0o3775)


def _next_stamp(root: str) -> str:
    """Return the time that a new batch's name begins with: now, but later than those of all batches of the root.

    Names of batches are compared to tell which is newer, and clocks of login nodes differ, or are set back.
    """
    now = time.time()
    for name in _batch_names(root):
        with contextlib.suppress(ValueError):
            now = max(now, time.mktime(time.strptime(name[:15], _STAMP)) + 1)
    return time.strftime(_STAMP, time.localtime(now))


def _batch_names(root: str) -> list[str]:
    try:
        return sorted(name for name in os.listdir(os.path.join(root, STATE_DIRECTORY)) if is_batch_id(name))
    except (FileNotFoundError, NotADirectoryError):
        return []


def is_batch_id(name: str) -> bool:
    """Return whether a name has the form of a batch's."""
    return _BATCH_ID.match(name) is not None


def batches_of(root: str) -> list[str]:
    """Return the directories of all batches of a root that count, oldest first."""
    paths = [os.path.join(root, STATE_DIRECTORY, name) for name in _batch_names(root)]
    return [path for path in paths if counts(path)]


def counts(directory: str) -> bool:
    """Return whether a directory holds a batch: it has items; an empty list marks one that was taken over."""
    try:
        return os.path.getsize(BatchPaths(directory).items) > 0
    except OSError:
        return False


def find_batches(start: str) -> list[str]:
    """Return the directories of all batches at or above a directory that are this user's or trusted, oldest first.

    Batches are ordered by their names, which begin with the time of submission.
    """
    found: list[str] = []
    directory = os.path.abspath(start)
    while True:
        # What a stranger left above is not meant by a command that names no batch.
        found += [batch for batch in batches_of(directory) if is_trusted(batch)]
        parent = os.path.dirname(directory)
        if parent == directory:
            break
        directory = parent
    return sorted(found, key=os.path.basename)


def open_batch(where: str, start: str = ".") -> Batch:
    """Open a batch by its directory, its id, or any directory at or below its root; the newest where several fit.

    Args:
        where: a batch's directory or id, a directory, or empty for ``start``.

    Raises:
        BatchNotFound: nothing fits.
    """
    if where and is_batch_id(os.path.basename(os.path.abspath(where))) and counts(where):
        return Batch(os.path.abspath(where))
    if where and is_batch_id(where):
        for directory in reversed(find_batches(start)):
            if os.path.basename(directory) == where:
                return Batch(directory)
    elif not where or os.path.isdir(where):
        found = find_batches(where or start)
        if found:
            return Batch(found[-1])
    if where and not is_batch_id(where) and not os.path.isdir(where):
        raise BatchNotFound(
            f"{where}: neither a batch nor a directory",
            "Name a batch (crh-batch status shows its name), a tomodir, or a directory that holds some.",
            where,
        )
    raise BatchNotFound(
        f"{where or os.path.abspath(start)}: no batch at or above this directory"
        if not is_batch_id(where)
        else f"{where}: no batch of this name at or above {os.path.abspath(start)}",
        "Run `crh-batch submit` first, or name a batch's directory below .crh-batch.",
        where,
    )
