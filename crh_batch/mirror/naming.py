"""The names of a stage as they are here: paths below ``names/``, ``017/017042.claim.001`` or ``held.001``."""

from __future__ import annotations

import os
import re

from crh_batch.ledger.arbiter import is_ours
from crh_batch.ledger.paths import SHARD_SIZE
from crh_batch.mirror.stage import Stage

_IN_SHARD = re.compile(r"([0-9]{6})\.([a-z]+(?:\.\w+)*)\Z", re.ASCII)
_OF_BATCH = re.compile(r"[a-z]+(?:\.\w+)*\Z", re.ASCII)


def is_of_stage(stage: Stage, shard: str, name: str) -> bool:
    """Return whether a name may be one of a stage: made there, by the rules of names, about a tomodir that is there.

    Args:
        shard: the directory that it is in; empty for the names of the whole batch.
    """
    if not shard:
        return _OF_BATCH.match(name) is not None and not is_ours(name)
    match = _IN_SHARD.match(name)
    if match is None or is_ours(match.group(2)):
        return False
    item_id = int(match.group(1))
    return item_id in stage.ids and f"{item_id // SHARD_SIZE:03d}" == shard


def shards_of(stage: Stage) -> list[str]:
    """Return the directories below ``names/`` that a stage's names are in."""
    return sorted({f"{item_id // SHARD_SIZE:03d}" for item_id in stage.ids})


def names_here(stage: Stage, shard: str) -> list[str]:
    """Return the names of a stage that are here, of one shard, sorted."""
    names = os.listdir(os.path.join(stage.batch.names, shard))
    return sorted(name for name in names if is_of_stage(stage, shard, name))
