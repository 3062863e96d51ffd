"""`crh-batch verify`: compare what batches say with what lies there, and mend what can be proven."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import click

from crh_batch.cli.common import complain, json_option, print_json, talk
from crh_batch.cli.seeing import say_silent
from crh_batch.cli.targets import find_targets
from crh_batch.engines.base import plural
from crh_batch.engines.history_file import history_path, mend_history, unreadable_lines
from crh_batch.engines.target import Target
from crh_batch.errors import BatchNotFound, CrhBatchError, HostError
from crh_batch.hosts.this_machine import ThisMachine
from crh_batch.ledger.batch import batches_of, find_batches
from crh_batch.report.as_json import SCHEMA
from crh_batch.report.oddities import grouped, oddities_json
from crh_batch.report.table import shown
from crh_batch.verify.compare import Compared, compare_batch, compare_tree, compare_twice
from crh_batch.verify.finding import Finding, Kind
from crh_batch.verify.in_directory import unreadable
from crh_batch.verify.mend import mend_batch
from crh_batch.verify.mend_tree import mend_tree
from crh_batch.verify.tree import Tree


@dataclass
class _Part:
    """A batch or a tree, what is odd in it, and what was mended.

    Args:
        unseen: whether a cluster where some of it runs could not be reached.
    """

    title: str
    data: dict[str, Any]
    found: Sequence[Finding] = ()
    mended: Sequence[Finding] = ()
    trouble: list[CrhBatchError] = field(default_factory=list)
    unseen: bool = False


@dataclass(frozen=True)
class _Options:
    fix: bool
    deep: bool
    force: bool


@click.command("verify")
@click.argument("where", nargs=-1, metavar="[BATCH|PATH]...")
@click.option("--all", "with_all", is_flag=True, help="All batches at, above and below the current directory.")
@click.option("--fix", is_flag=True, help="Mend what is proven, and tell each thing that was done.")
@click.option("--deep", is_flag=True, help="Read all packs, and compare what was collected byte by byte.")
@click.option("--force", is_flag=True, help="With --fix: though another client's custody can't be proven dead.")
@json_option
def command(where: tuple[str, ...], with_all: bool, fix: bool, deep: bool, force: bool, as_json: bool) -> int:
    """Compare what BATCH says with what lies there: the newest batch at or above the current directory by default.

    Says in words what is odd and what to do about it. Without --fix nothing is written. Exit code 0: nothing odd is
    left; 1: something is.
    """
    options = _Options(fix, deep, force)
    directories, tops = _scope(where, with_all=with_all)
    parts = [_batch_part(directory, target, top, options) for directory, target, top in directories]
    parts += [_tree_part(top, options) for top in tops]
    parts += _history_part(options)
    if as_json:
        print_json({"schema": SCHEMA, "parts": [_json(part) for part in parts]})
    else:
        _print(parts, options)
    trouble = [error for part in parts for error in part.trouble]
    complain(trouble)
    odd = any(not one.is_harmless for part in parts for one in part.found)
    # Where a cluster can't be reached, nobody can say that all is well.
    unseen = HostError.exit_code if any(part.unseen for part in parts) else 0
    return max([1 if odd else 0, unseen, *(error.exit_code for error in trouble)])


_Scope = tuple[str, Target | None, str]


def _scope(where: Sequence[str], *, with_all: bool) -> tuple[list[_Scope], list[str]]:
    """Return which batches are meant, each with where its .crh files are looked for, and which trees."""
    batches: dict[str, _Scope] = {}
    tops: list[str] = []

    def take(directory: str, target: Target | None = None, top: str = "") -> None:
        root = os.path.dirname(os.path.dirname(directory))
        batches.setdefault(directory, (directory, target, top or root))
        tops.append(top or root)

    if with_all:
        below = [one for state in Tree(".").states for one in batches_of(os.path.dirname(state))]
        for directory in dict.fromkeys([*find_batches("."), *below]):
            take(directory)
        tops.append(os.path.abspath("."))
    for one in where or (() if with_all else ("",)):
        try:
            # Each look at a batch brings what is new of it.
            for target in find_targets((one,), sees=False):
                take(target.batch.paths.directory, target, os.path.abspath(one) if target.only is not None else "")
        except BatchNotFound:
            if not os.path.isdir(one or ".") or not _has_any(Tree(one or ".")):
                raise
            tops.append(os.path.abspath(one or "."))
        except CrhBatchError:
            # A batch that can't be opened is what verify is for.
            damaged = _damaged(one)
            if not damaged:
                raise
            for directory in damaged:
                take(directory)
    tops = sorted(set(tops))
    # A walk through a tree comes by what lies in it.
    inner = {one for one in tops for other in tops if one.startswith(other.rstrip("/") + "/")}
    return list(batches.values()), [one for one in tops if one not in inner]


def _has_any(tree: Tree) -> bool:
    return bool(tree.registrations or tree.states)


def _damaged(where: str) -> list[str]:
    if where and os.path.isfile(os.path.join(where, "items.jsonl")):
        return [os.path.abspath(where)]
    return [one for one in find_batches(where or ".") if unreadable(one)]


def _batch_part(directory: str, target: Target | None, top: str, options: _Options) -> _Part:
    part = _Part(f"batch {os.path.basename(directory)}", {"batch": os.path.basename(directory)})
    only = target.only if target is not None else None
    host = ThisMachine()

    def compare() -> Compared:
        return compare_batch(directory, top, host, only=only, deep=options.deep)

    try:
        found = compare_twice(compare, directory)
        if options.fix and any(one.mends for one in found.findings):
            part.mended, found = mend_batch(
                directory, top, host, only, deep=options.deep, force=options.force, on_trouble=part.trouble.append
            )
        part.found = found.findings
        if found.look is not None:
            number = len(only) if only is not None else len(found.look.batch.items)
            part.title += f": {plural(number, 'tomodir')}"
            part.data.update(root=found.look.paths.root, tomodirs=number)
        if found.look is not None and not part.trouble:
            say_silent(found.look.batch, found.silent)
            part.unseen = bool(found.silent)
        if found.work is not None and found.work.is_busy:
            talk(f"{part.title}: a client is at work on it; what that has not come to yet is left out")
        if found.work is not None and not found.work.living.answered:
            talk(f"{part.title}: the scheduler doesn't answer, so who lives is not known")
    except CrhBatchError as error:
        part.trouble.append(error)
    return part


def _tree_part(top: str, options: _Options) -> _Part:
    part = _Part(f"tree {shown(top)}", {"tree": top})
    tree = Tree(top)
    part.found = compare_tree(tree)
    if options.fix and any(one.mends for one in part.found):
        part.mended = mend_tree(Tree(top), part.found, part.trouble.append)
        part.found = compare_tree(Tree(top))
    return part


def _history_part(options: _Options) -> list[_Part]:
    """Return a part if the user's history is damaged."""
    number = unreadable_lines()
    if not number:
        return []
    finding = Finding(Kind.HISTORY, str(history_path()), plural(number, "line"), mends=True)
    if options.fix:
        mend_history()
        return [_Part("history", {"history": str(history_path())}, mended=[finding])]
    return [_Part("history", {"history": str(history_path())}, found=[finding])]


def _json(part: _Part) -> dict[str, Any]:
    mended = [
        {"kind": group.kind.value, "done": group.mended(), "places": [one.place for one in group.findings]}
        for group in grouped(part.mended)
    ]
    return {**part.data, "odd": oddities_json(part.found), "mended": mended}


def _print(parts: Sequence[_Part], options: _Options) -> None:
    # A tree is worth a line of its own only where there is no batch.
    titled = "batch" if any("batch" in part.data for part in parts) else "tree"
    for part in parts:
        if not (part.found or part.mended or part.trouble):
            if titled in part.data:
                click.echo(f"{part.title}, nothing odd{' in what is known here' if part.unseen else ''}")
            continue
        click.echo(part.title)
        for group in grouped(part.mended):
            click.echo(f"  mended: {shown(group.place())}: {group.mended()}")
        for group in grouped(part.found):
            click.echo(f"  {shown(group.place())}: {shown(group.says())}")
            click.echo(f"    {shown(group.do())}")
    left = [one for part in parts for one in part.found]
    can = sum(group.mends for part in parts for group in grouped(part.found))
    if can and not options.fix:
        kinds = sum(len(grouped(part.found)) for part in parts)
        click.echo(f"crh-batch verify --fix mends {can} of {plural(kinds, 'kind')}")
    elif left and options.fix and any(not one.is_harmless for one in left):
        talk("what is left takes your word; see what stands under each")
