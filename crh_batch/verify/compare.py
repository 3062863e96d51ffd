"""All comparisons of a batch or a tree, twice: what only looks odd because somebody is at work is gone by then."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection
from dataclasses import dataclass, field, replace

from crh_batch.errors import HostError, MirrorDiffers, StageGone
from crh_batch.hosts.base import Host
from crh_batch.hosts.transfers import transferring
from crh_batch.ledger.batch import Batch
from crh_batch.ledger.durable import VISIBILITY_WAIT_S, is_of_this_machine
from crh_batch.mirror.refresh import refresh
from crh_batch.mirror.stage import is_staged
from crh_batch.verify.finding import LATE, Finding, Kind
from crh_batch.verify.in_directory import files_of, unreadable
from crh_batch.verify.in_names import names_of
from crh_batch.verify.in_stages import differing, names_of_stages, stages_of
from crh_batch.verify.in_tomodirs import tomodirs_of
from crh_batch.verify.in_tree import tree_of
from crh_batch.verify.in_work import Work
from crh_batch.verify.look import Look, look_at
from crh_batch.verify.tree import Tree

# Between two looks: a file that exists for moments is gone then.
_PAUSE_S = 0.3


@dataclass(frozen=True)
class Compared:
    """What a look at a batch found.

    Args:
        tree: the walk that its .crh files were found by.
        look: the last one; None if the batch can't be read.
        work: who lives; None likewise.
        silent: why some of what lies on clusters could not be looked at; what is known of it is older.
    """

    findings: list[Finding]
    tree: Tree
    look: Look | None = None
    work: Work | None = None
    silent: list[HostError] = field(default_factory=list)


def compare_batch(
    directory: str,
    top: str,
    host: Host,
    *,
    only: Collection[int] | None = None,
    deep: bool = False,
    has_custody: bool = False,
) -> Compared:
    """Compare everything of a batch, once.

    Args:
        top: where to walk for .crh files; those outside of it are asked for one by one.
        only: its tomodirs that are meant; None for all.
        deep: read every record that is still needed, and compare collected results with the packs. Packs that lie on
            clusters are fetched for it.
        has_custody: whether the caller has the batch's custody.

    Raises:
        CrhBatchError, OSError: something can't be read at all.
    """
    bad = unreadable(directory)
    if bad:
        return Compared(bad, Tree(top))
    batch = Batch(directory)
    errors, found = _bring(batch, deep=deep)
    # What was not looked at is only older, and nothing is wrong for that.
    silent = [one for one in errors if not isinstance(one, StageGone)]
    look = look_at(batch, has_packs=deep and not errors and not found)
    work = Work(look, host, has_custody=has_custody)
    # After the look: a .crh file goes when its tomodir is collected, and a state that is older is only behind.
    tree = Tree(top)
    found += stages_of(look, errors)
    if deep:
        # All of them, in place of the first that the look came upon.
        found = [*names_of_stages(batch), *(one for one in found if one.kind is not Kind.NAME_DIFFERS)]
    found += [*names_of(look, deep=deep), *work.findings(), *files_of(batch)]
    found += tomodirs_of(look, tree, only, busy=work.is_busy, deep=deep)
    found = work.judged(found)
    if only is not None:
        found = [one for one in found if one.item_id < 0 or one.item_id in only]
    return Compared(list(dict.fromkeys(found)), tree, look, work, silent)


def _bring(batch: Batch, *, deep: bool) -> tuple[list[HostError], list[Finding]]:
    """Bring here what is new of a batch that runs elsewhere; return what could not be, and what contradicts."""
    try:
        if not (deep and is_staged(batch.paths)):
            return refresh(batch), []
        with transferring("fetching results") as transfer:
            return refresh(batch, packs=True, on_bytes=transfer.add, on_total=transfer.expect), []
    except MirrorDiffers as error:
        return [], [differing(batch, error)]


def compare_twice(compare: Callable[[], Compared], place: str) -> Compared:
    """Compare, and again if anything was found: only what is odd both times is.

    On a network filesystem a file that another node made may not be seen here for a while, so what is missing is looked
    for until that time is over (docs/protocol.md, "Caches").

    Args:
        place: a directory of the filesystem in question.
    """
    found = compare()
    patience_s = 0.0 if is_of_this_machine(place) else VISIBILITY_WAIT_S
    pause_s = _PAUSE_S
    looks = 1
    while found.findings and (looks < 2 or (patience_s > 0 and any(one.kind in LATE for one in found.findings))):
        time.sleep(pause_s)
        patience_s -= pause_s
        pause_s = min(2 * pause_s, 15.0)
        before = set(found.findings)
        again = compare()
        looks += 1
        found = replace(again, findings=[one for one in again.findings if one in before])
    return found


def compare_tree(tree: Tree) -> list[Finding]:
    """Compare the .crh files of a tree with their batches, and again after another walk if anything was found."""
    found = tree_of(tree)
    if not found:
        return found
    time.sleep(_PAUSE_S)
    before = set(found)
    return [one for one in tree_of(Tree(tree.top)) if one in before]
