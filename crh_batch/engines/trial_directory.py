"""The directory of a trial: made like a batch's, read while its jobs run, and taken away again."""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from crh_batch.errors import LedgerError
from crh_batch.ledger import durable
from crh_batch.ledger.paths import STATE_DIRECTORY, BatchPaths
from crh_batch.ledger.reading import FILE_LIMIT_BYTES, parse_json, read_bytes
from crh_batch.ledger.sharing import make_directory
from crh_batch.pilot.trial import TRIAL

_LAST_LINES = 15


@contextmanager
def trial_directory(root: str, *, keep: bool) -> Iterator[BatchPaths]:
    """Make a batch's directories for a trial, and take them away again.

    Args:
        keep: leave them.

    Raises:
        LedgerError: they can't be made.
    """
    state = os.path.join(root, STATE_DIRECTORY)
    existed = os.path.isdir(state)
    # Not the form of a batch's name, so no other command takes it for one.
    paths = BatchPaths(os.path.join(state, f"trial-{durable.random_word()}"))
    try:
        os.makedirs(paths.directory, 0o700)
        for directory in (*paths.directories(1), os.path.join(paths.directory, TRIAL)):
            make_directory(directory)
    except OSError as error:
        raise LedgerError(
            f"{paths.directory}: can't be made: {error.strerror}",
            "Call this in a directory of the shared filesystem where you may write, best in the survey itself.",
            paths.directory,
        ) from error
    try:
        yield paths
    finally:
        if not keep:
            shutil.rmtree(paths.directory, ignore_errors=True)
            if not existed:
                with contextlib.suppress(OSError):
                    os.rmdir(state)


def read_json(path: str) -> dict[str, Any] | None:
    """Return what a job wrote; None if it isn't there or not whole yet."""
    try:
        data = parse_json(read_bytes(path, FILE_LIMIT_BYTES))
    except (OSError, ValueError):
        return None
    return data if isinstance(data, dict) else None


def last_lines(directory: str) -> str:
    """Return the last lines of all that a job printed."""
    lines: list[str] = []
    with contextlib.suppress(OSError):
        for name in sorted(os.listdir(directory)):
            with open(os.path.join(directory, name), encoding="utf-8", errors="replace") as stream:
                lines += [line.rstrip() for line in stream.read()[-4000:].splitlines() if line.strip()]
    return "\n".join(lines[-_LAST_LINES:])
