"""Mending what belongs to no batch that counts: half-made ones, .crh files without one, what prune left."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence

from crh_batch.engines.take_over import TakeOver
from crh_batch.errors import CrhBatchError
from crh_batch.ledger.registration import read_registration, set_aside
from crh_batch.ledger.removal import finish_removal
from crh_batch.verify.finding import Finding, Kind
from crh_batch.verify.mend import each
from crh_batch.verify.tree import Tree


def mend_tree(
    tree: Tree, findings: Sequence[Finding], on_trouble: Callable[[CrhBatchError], None] = lambda error: None
) -> list[Finding]:
    """Mend what can be mended of a tree; return what was.

    Args:
        on_trouble: is told what could not be mended though it should; the rest goes on.
    """
    steps: tuple[tuple[Kind, Callable[[Finding], bool]], ...] = (
        (Kind.PRUNE_LEFT, _finish_removal),
        (Kind.HALF_MADE_BATCH, lambda one: _take_over(tree, one)),
        (Kind.ORPHANED, _set_aside),
        (Kind.COPIED, _set_aside),
    )
    done: list[Finding] = []
    for kind, mend in steps:
        done += each([one for one in findings if one.kind is kind and one.mends], mend, on_trouble)
    return done


def _finish_removal(one: Finding) -> bool:
    finish_removal(one.note)
    return True


def _take_over(tree: Tree, one: Finding) -> bool:
    """Close a half-made batch, then free the tomodirs that are registered for it."""
    mine = [
        (tomodir, registration)
        for tomodir, registration in tree.registrations.items()
        if os.path.abspath(registration.batch_directory or "/") == os.path.abspath(one.note)
    ]
    take_over = TakeOver(force=False)
    try:
        if take_over.close_half_made(one.note) is not None:
            return False
        answers = [take_over.try_to_free(tomodir, registration) for tomodir, registration in mine]
    finally:
        take_over.close()
    return all(answer is None for answer in answers)


def _set_aside(one: Finding) -> bool:
    found = read_registration(one.note)
    # What was found belongs to a batch and a number; what stands there now must be the same.
    return found is not None and not found.flaw and found.item_id == one.item_id and bool(set_aside(found))
