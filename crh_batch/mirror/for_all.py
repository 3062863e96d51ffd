"""Names for a whole batch that has several stages: one holds here when it holds in all of them.

A hold that reached one cluster and not the other is no hold of the batch; the next command makes it again where it
lacks. So what each stage has is kept beside it, in ``stages/<n>/names/``, until all have it.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Sequence

from crh_batch.ledger import durable
from crh_batch.ledger.paths import BatchPaths
from crh_batch.ledger.settings import read_settings
from crh_batch.ledger.sharing import make_directories
from crh_batch.mirror.stage import Stage

# What clients say of the whole batch; others (which job has a submission) are said of one stage.
_OF_ALL = re.compile(r"(held|release|steered)\.[0-9]+\Z")


def is_of_all(mark: str) -> bool:
    """Return whether a name for the whole batch is made in all of its stages."""
    return _OF_ALL.match(mark) is not None


def note_for_stage(stage: Stage, names: Iterable[tuple[str, str]]) -> None:
    """Write down which names of all stages one stage has: marks with what they point to.

    Raises:
        LedgerError: that can't be written.
    """
    links = read_settings(stage.batch).links
    for mark, target in names:
        make_directories(stage.here.names)
        durable.win_name(stage.here.batch_name(mark), target, links)


def settle_for_all(paths: BatchPaths, stages: Sequence[Stage]) -> None:
    """Make the names that all stages have.

    Whose they are may differ from stage to stage, where two clients made one at the same time; that it stands there is
    all that counts of these.

    Raises:
        LedgerError: one can't be made.
    """
    if len(stages) < 2:
        return
    common = set.intersection(*(_noted(stage) for stage in stages)) - set(os.listdir(paths.names))
    links = read_settings(paths).links if common else durable.SYMLINK
    for mark in sorted(common):
        target = durable.read_name(stages[0].here.batch_name(mark))
        if target is not None:
            durable.win_name(paths.batch_name(mark), target, links)


def _noted(stage: Stage) -> set[str]:
    try:
        return {name for name in os.listdir(stage.here.names) if is_of_all(name)}
    except FileNotFoundError:
        return set()
