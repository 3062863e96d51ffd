"""Collecting tomodirs that took results of others: in which order, and when the two don't match any more."""

from __future__ import annotations

import os
from collections.abc import Collection, Mapping, Sequence

from crh_batch.errors import TomodirError
from crh_batch.ledger.batch import Batch
from crh_batch.ledger.items import Item


def levels(item_ids: Sequence[int], after: Mapping[int, Sequence[int]]) -> list[list[int]]:
    """Split tomodirs so that each comes in a later part than all those whose results it takes.

    Args:
        item_ids: ascending; so are those of each part.
        after: for each tomodir that takes results the ids of those that it takes them of.
    """
    wanted = frozenset(item_ids)
    open_sources: dict[int, int] = {}
    behind: dict[int, list[int]] = {}
    for item_id in item_ids:
        sources = wanted.intersection(after.get(item_id, ()))
        open_sources[item_id] = len(sources)
        for source in sources:
            behind.setdefault(source, []).append(item_id)
    parts = []
    part = [item_id for item_id in item_ids if not open_sources[item_id]]
    while part:
        parts.append(part)
        following = []
        for source in part:
            for item_id in behind.get(source, ()):
                open_sources[item_id] -= 1
                if not open_sources[item_id]:
                    following.append(item_id)
        part = sorted(following)
    # A cycle, which only a damaged batch.json holds; nothing of it can have finished in order.
    rest = [item_id for item_id in item_ids if open_sources[item_id]]
    return [*parts, rest] if rest else parts


def collected_sources(batch: Batch, item: Item) -> frozenset[str]:
    """Return the names of a tomodir's inputs that are results of others which are in place."""
    return frozenset(
        name
        for stage in item.stages
        for name, (source, _) in (stage.get("sources") or {}).items()
        if os.path.lexists(batch.paths.name(source, "collected"))
    )


def check_sources(batch: Batch, item: Item, refused: Collection[str]) -> None:
    """Refuse what took a result that was refused: it would not match what lies in the other tomodir.

    Args:
        refused: paths of the tomodirs whose results are not put in place.

    Raises:
        TomodirError: it took such a result.
    """
    for source in item.after:
        path = batch.items[source].path
        if path in refused:
            raise TomodirError(
                f"{batch.tomodir(item)}: took the result of {path}, which was not put in place",
                "The result stays in the pack; see what is said about the other one. To take it all the same: "
                "crh-batch collect --force.",
                batch.tomodir(item),
            )
