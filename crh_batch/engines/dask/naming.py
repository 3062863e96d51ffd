"""What tasks are called: by stage and dimensions, so that the dashboard puts those together that are alike."""

from __future__ import annotations

from crh_batch.ledger.items import Item

# What the workers' plugin is called, and what it reports goes by.
PLUGIN = "crh-batch"


def group_of(item: Item) -> str:
    """Return the name that alike tasks share, such as ``2D_inversion`` or ``2.5D_modelling_inversion``.

    The dimensions come first, for dask's progress bars show ten letters.
    """
    stages = "_".join(str(stage["stage"]) for stage in item.stages)
    dims = str(item.stages[-1].get("dims") or "") if item.stages else ""
    return f"{dims}_{stages}" if dims else stages


def key_of(item: Item, attempt: int, order: int) -> str:
    """Return a task's key: what dask's dashboard shows up to the first number is the group.

    Args:
        order: how often this attempt has been handed out before; a key is never used twice.
    """
    again = f".{order}" if order else ""
    return f"{group_of(item)}-{item.item_id:06d}-{attempt}{again}"


def item_id_of(key: str) -> int:
    """Return which tomodir a key is about.

    Raises:
        ValueError: it isn't one of ours.
    """
    return int(key.rsplit("-", 2)[1])
