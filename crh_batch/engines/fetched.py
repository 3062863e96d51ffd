"""Which results of a batch are here to be put in place, after some of its clusters could not be reached."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from crh_batch.errors import CrhBatchError, HostError
from crh_batch.ledger.batch import Batch
from crh_batch.ledger.items import Item
from crh_batch.mirror.stage import read_stages


def fetched(batch: Batch, trouble: Iterable[CrhBatchError]) -> Callable[[Item], bool] | None:
    """Return what tells the tomodirs whose packs were fetched; None if that is so of all.

    Args:
        trouble: what went wrong while the packs were fetched.
    """
    silent = {one.host for one in trouble if isinstance(one, HostError)}
    ids = [stage.ids for stage in read_stages(batch.paths) if stage.host not in silent]
    if not silent:
        return None
    whole = frozenset().union(*ids)
    return lambda item: item.item_id in whole
