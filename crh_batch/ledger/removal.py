"""Removing a batch that nobody needs: it stops being one in a single step, and its files go after that.

The directory is renamed to a name that no command takes for a batch's. Whatever dies after that leaves something that
doesn't count and that the next one can remove without asking again.
"""

from __future__ import annotations

import os
import shutil

from crh_batch.errors import LedgerError
from crh_batch.ledger import durable
from crh_batch.ledger.batch import is_batch_id
from crh_batch.ledger.paths import BatchPaths

_PRUNED = ".pruned-"


def is_pruned(name: str) -> bool:
    """Return whether a name in ``.crh-batch`` is that of a batch which is being removed."""
    return name.startswith(_PRUNED) and is_batch_id(name[len(_PRUNED) :])


def begin_removal(paths: BatchPaths) -> str:
    """Rename a batch so that it isn't one any more; return its new place, for ``finish_removal``.

    The caller has its custody and has made sure that nothing of it is needed.

    Raises:
        LedgerError: it can't be renamed; it is as it was.
    """
    directory = os.path.abspath(paths.directory)
    state = os.path.dirname(directory)
    removed = os.path.join(state, _PRUNED + os.path.basename(directory))
    try:
        durable.calls.replace(directory, removed)
        # Before its files go: a batch that comes back after a crash must be whole.
        durable.sync_directory(state)
    except OSError as error:
        raise LedgerError(
            f"{directory}: can't be renamed: {error.strerror or error}",
            f"Who prunes must be allowed to write in {state}.",
            directory,
        ) from error
    return removed


def finish_removal(directory: str) -> None:
    """Remove what is left of a batch that was renamed; links in it are removed, never followed.

    Raises:
        LedgerError: something can't be removed.
    """
    try:
        shutil.rmtree(directory)
        durable.sync_directory(os.path.dirname(directory))
    except FileNotFoundError:
        if os.path.isdir(directory):
            # RACE: another client removes it, too.
            shutil.rmtree(directory, ignore_errors=True)
    except OSError as error:
        raise LedgerError(
            f"{error.filename or directory}: can't be removed: {error.strerror or error}",
            "Nothing counts any more of what is left; remove it by hand, or run the command again.",
            directory,
        ) from error
