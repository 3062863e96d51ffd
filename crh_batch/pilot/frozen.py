"""The frozen programs, before any of them is run: they are what was submitted, or none is started."""

from __future__ import annotations

import os

from crh_batch.errors import ProgramMissing
from crh_batch.ledger.batch import Batch
from crh_batch.ledger.inputs import sha256_of


def check_programs(batch: Batch) -> None:
    """Compare the programs in ``bin/`` with the sums that batch.json has of them.

    What lies inside a container can't be looked at, and what isn't there (yet) shows when it is started.

    Raises:
        ProgramMissing: one was changed, or copied in part.
    """
    for name, program in batch.settings.programs.items():
        path = os.path.join(batch.paths.programs, program.get("file", ""))
        try:
            changed = bool(program.get("file")) and sha256_of(path) != program["sha256"]
        except FileNotFoundError:
            continue
        if changed:
            raise ProgramMissing(
                f"{path}: is not the program that was submitted (its sha256 differs)",
                "It was changed, or the batch's directory was copied in part. Nothing was run; put the program back "
                "(batch.json says where it came from), or move the directory away and submit again with --force.",
                name,
            )
