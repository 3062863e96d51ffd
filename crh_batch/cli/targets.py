"""What a command is meant for: a batch by name, all tomodirs below a path, a group, or what is current here."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import click

from crh_batch.cli.seeing import see
from crh_batch.engines.target import Target, progress_of
from crh_batch.errors import BatchNotFound
from crh_batch.ledger.batch import Batch, find_batches, is_batch_id, open_batch
from crh_batch.ledger.names import StateName
from crh_batch.ledger.registration import read_registration
from crh_batch.tomodir.scan import is_tomodir

Command = TypeVar("Command", bound=Callable[..., Any])


def where_arguments(command: Command) -> Command:
    """Add what says which tomodirs of which batches: [BATCH|PATH]... and --group."""
    command = click.argument("where", nargs=-1, metavar="[BATCH|PATH]...")(command)
    return group_option(command)


def group_option(command: Command) -> Command:
    """Add --group."""
    return click.option(
        "--group",
        default="",
        metavar="NAME",
        help="Only tomodirs of this group; without BATCH or PATH, of every batch here that has some.",
    )(command)


def find_target(where: str) -> Target:
    """Return what BATCH or PATH means.

    That is a batch's id or directory; else the newest batch at or above PATH, and of it the tomodirs at or below PATH.

    Raises:
        BatchNotFound: nothing fits.
    """
    target = _find(where)
    see(target.batch)
    return target


def _find(where: str) -> Target:
    if where and not is_batch_id(os.path.basename(os.path.abspath(where))) and os.path.isdir(where):
        if is_tomodir(where):
            batch, item_id = _find_tomodir(where)
            return Target(batch, frozenset({item_id}))
        batch = open_batch(where)
        below = os.path.relpath(os.path.abspath(where), batch.paths.root)
        if below != ".":
            ids = frozenset(item.item_id for item in batch.items if f"{item.path}/".startswith(below + "/"))
            return Target(batch, ids)
        return Target(batch)
    return Target(open_batch(where))


def find_one_target(where: str, group: str = "") -> Target:
    """Return what BATCH or PATH means; with a group, of the newest batch that has it.

    Raises:
        BatchNotFound: nothing fits.
    """
    return find_targets((where,) if where else (), group)[-1] if group else find_target(where)


def find_targets(where: Sequence[str], group: str = "", *, sees: bool = True) -> list[Target]:
    """Return what several BATCH or PATH arguments mean, one target a batch.

    Args:
        group: only tomodirs of this group; without an argument those of all batches at or above the current directory.
        sees: whether what is new of batches that run elsewhere is brought here first.

    Raises:
        BatchNotFound: there is no such batch, or none of them has the group.
    """
    if group and not where:
        found = _of_group([Target(Batch(directory)) for directory in find_batches(".")], group)
        for target in found:
            see(target.batch)
        return found
    merged: dict[str, Target] = {}
    for target in [_find(one) for one in where or ("",)]:
        key = target.batch.paths.directory
        before = merged.get(key)
        if before is None:
            merged[key] = target
        elif before.only is None or target.only is None:
            merged[key] = Target(target.batch)
        else:
            merged[key] = Target(target.batch, before.only | target.only)
    for target in merged.values() if sees else ():
        see(target.batch)
    return _of_group(list(merged.values()), group) if group else list(merged.values())


def _of_group(targets: Sequence[Target], group: str) -> list[Target]:
    """Narrow targets to a group; those that have nothing of it are left out."""
    found = []
    for target in targets:
        only = frozenset(item.item_id for item in target.batch.items.of_group(group) if target.takes(item))
        if only:
            found.append(Target(target.batch, only))
    if not found:
        known = sorted({item.group for target in targets for item in target.batch.items if item.group})
        raise BatchNotFound(
            f"group {group}: no tomodir of this group here",
            f"There are: {', '.join(known)}." if known else "Groups are given by crh-batch submit --group NAME.",
        )
    return found


def current_targets(where: str, group: str = "") -> list[Target]:
    """Return what ``wait`` and ``collect`` mean.

    That is BATCH or PATH if given, else every batch at or above the current directory with tomodirs that are not over
    or not collected, and the newest one.

    Args:
        group: only tomodirs of this group; without BATCH or PATH those of all batches.

    Raises:
        BatchNotFound: there is no batch, or none has the group.
    """
    if group:
        return find_targets((where,) if where else (), group)
    if where:
        return [find_target(where)]
    newest = open_batch("")
    batches = [Batch(directory) for directory in find_batches(".") if directory != newest.paths.directory]
    targets = [Target(batch) for batch in batches]
    for batch in (*batches, newest):
        see(batch)
    return [*(target for target in targets if _is_unfinished(target)), Target(newest)]


def _is_unfinished(target: Target) -> bool:
    progress = progress_of(target)
    return progress.counts[StateName.DONE] > 0 or not progress.over


def find_tomodir(tomodir: str) -> tuple[Batch, int]:
    """Return the batch that a tomodir belongs to, and its number there: by its .crh file, else the newest that has it.

    Raises:
        BatchNotFound: no batch at or above has it.
    """
    batch, item_id = _find_tomodir(tomodir)
    see(batch)
    return batch, item_id


def _find_tomodir(tomodir: str) -> tuple[Batch, int]:
    place = os.path.abspath(tomodir)
    registration = read_registration(place)
    if registration is not None and not registration.flaw and os.path.isdir(registration.batch_directory):
        batch = open_batch(registration.batch_directory)
        item_id = registration.item_id
        # A copy's .crh speaks of the original, and a half-made batch's number means nothing in another batch.
        if item_id in batch.items and os.path.abspath(batch.tomodir(batch.items[item_id])) == place:
            return batch, item_id
    for directory in reversed(find_batches(os.path.dirname(place))):
        batch = Batch(directory)
        path = os.path.relpath(place, batch.paths.root)
        for item in batch.items:
            if item.path == path:
                return batch, item.item_id
    raise BatchNotFound(
        f"{tomodir}: no batch at or above it has this tomodir",
        "It was never submitted, or its batch was removed; crh-batch check says what it needs.",
        tomodir,
    )
