"""A pilot's private directory on its node."""

from __future__ import annotations

import os
import shutil

from crh_batch.errors import LedgerError


def make_scratch(path: str) -> None:
    """Make a pilot's private directory.

    Raises:
        LedgerError: the directory that it is to lie in can't be written.
    """
    try:
        os.makedirs(os.path.dirname(path), exist_ok=True)
        os.mkdir(path, 0o700)
    except OSError as error:
        raise LedgerError(
            f"{path}: the scratch directory can't be made: {error.strerror}",
            "Choose another one with --scratch or in the profile.",
            path,
        ) from error


def remove_scratch(path: str) -> None:
    """Remove a pilot's private directory."""
    shutil.rmtree(path, ignore_errors=True)
