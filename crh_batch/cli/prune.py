"""`crh-batch prune`: remove batches of which nothing is needed any more."""

from __future__ import annotations

import os
import re
import time
from collections.abc import Sequence

import click

from crh_batch.cli.common import complain, json_option, print_json, talk
from crh_batch.engines.base import plural
from crh_batch.errors import BatchNotFound, CrhBatchError, UsageError
from crh_batch.hosts.this_machine import ThisMachine
from crh_batch.ledger.batch import find_batches, is_batch_id, open_batch
from crh_batch.ledger.paths import STATE_DIRECTORY
from crh_batch.ledger.removal import finish_removal, is_pruned
from crh_batch.report.as_json import SCHEMA
from crh_batch.report.table import bytes_text, shown
from crh_batch.verify.prune import Judged, Wanted, judge, remove

_UNITS_S = {"m": 60.0, "h": 3600.0, "d": 86400.0, "w": 7 * 86400.0}


@click.command("prune")
@click.argument("where", nargs=-1, metavar="[BATCH|PATH]...")
@click.option(
    "--older-than",
    default="",
    metavar="AGE",
    help="Only batches in which nothing has moved for so long: 30d, 12h, 90m, 2w.",
)
@click.option("--packs", is_flag=True, help="Only packs whose results are all collected; the rest of a batch is kept.")
@click.option("--replaced", is_flag=True, help="Also old outputs of yours that collect moved to replaced/.")
@click.option("--failed", is_flag=True, help="Also batches with tomodirs that failed and were given up by cancel.")
@click.option("--yes", is_flag=True, help="Remove it. Without this nothing is removed.")
@json_option
def command(
    where: tuple[str, ...], older_than: str, packs: bool, replaced: bool, failed: bool, yes: bool, as_json: bool
) -> int:
    """Remove batches of which nothing is needed: by default of all batches at or above the current directory.

    A batch goes only if every tomodir is collected and holds what was collected, moved to another batch, or was
    cancelled. Says what it would remove, and why it keeps the rest; --yes removes it. report, status, show and log
    know nothing of a batch that was removed.
    """
    wanted = Wanted(_age_s(older_than), replaced, packs, time.time(), failed)
    batches, begun = _batches(where), _begun(where)
    judged = [judge(directory, ThisMachine(), wanted) for directory in batches]
    trouble: list[CrhBatchError] = []
    if yes:
        trouble = _remove(judged, begun, wanted)
    if as_json:
        print_json({"schema": SCHEMA, "removed": yes, "batches": [_json(one) for one in judged], "begun": begun})
    else:
        _print(judged, begun, older_than, yes=yes)
    complain(trouble)
    return max((error.exit_code for error in trouble), default=0)


def _age_s(text: str) -> float:
    """Read an age such as 30d.

    Raises:
        UsageError: it isn't one.
    """
    match = re.fullmatch(r"(\d+(?:\.\d+)?)([mhdw])", text)
    if match:
        return float(match[1]) * _UNITS_S[match[2]]
    if text:
        raise UsageError(f"--older-than {text}: not an age", "A number with m, h, d or w: 90m, 12h, 30d, 2w.")
    return 0.0


def _batches(where: Sequence[str]) -> list[str]:
    found: dict[str, None] = {}
    for one in where or (".",):
        is_batch = is_batch_id(os.path.basename(os.path.abspath(one)))
        listed = [open_batch(one).paths.directory] if is_batch else find_batches(one)
        if not listed and where:
            raise BatchNotFound(f"{one}: no batch at or above this directory", "Name a batch, or a survey.", one)
        found.update(dict.fromkeys(listed))
    return list(found)


def _begun(where: Sequence[str]) -> list[str]:
    """Return what an earlier prune has renamed and not removed, at or above the directories."""
    found: dict[str, None] = {}
    for one in where or (".",):
        directory = os.path.abspath(one)
        while True:
            state = os.path.join(directory, STATE_DIRECTORY)
            if os.path.isdir(state):
                found.update(dict.fromkeys(os.path.join(state, name) for name in os.listdir(state) if is_pruned(name)))
            if directory == os.path.dirname(directory):
                break
            directory = os.path.dirname(directory)
    return list(found)


def _remove(judged: list[Judged], begun: Sequence[str], wanted: Wanted) -> list[CrhBatchError]:
    """Remove what may go, and put what became of it in the place of what was said before; return what went wrong."""
    trouble = []
    for directory in begun:
        try:
            finish_removal(directory)
        except CrhBatchError as error:
            trouble.append(error)
    for place, one in enumerate(judged):
        if one.removes:
            try:
                judged[place] = remove(one, ThisMachine(), wanted)
            except CrhBatchError as error:
                trouble.append(error)
                judged[place] = Judged(one.directory, one.tomodirs, ["see below"])
    return trouble


def _json(one: Judged) -> dict[str, object]:
    return {
        "batch": one.batch_id,
        "tomodirs": one.tomodirs,
        "kept": one.reasons,
        "packs": one.packs,
        "files": one.files,
        "bytes": one.size,
        "clusters": [{"on": on, "directory": directory} for on, directory in one.stages],
    }


def _print(judged: Sequence[Judged], begun: Sequence[str], older_than: str, *, yes: bool) -> None:
    will = "removed" if yes else "would remove"
    for directory in begun:
        click.echo(f"{will} what an earlier prune has left: {shown(directory)}")
    for one in judged:
        size = f"{plural(one.files, 'file')}, {bytes_text(one.size)}"
        if not one.reasons:
            there = "".join(f", and {shown(directory)} on {shown(on)}" for on, directory in one.stages)
            click.echo(f"{will} {one.batch_id}: {plural(one.tomodirs, 'tomodir')}, {size}{there}")
        elif one.packs:
            click.echo(f"{will} {plural(len(one.packs), 'pack')} of {one.batch_id}: {size}")
        else:
            why = "; ".join(one.reasons).replace("younger than that", f"younger than {older_than}")
            click.echo(f"keep {one.batch_id}: {shown(why)}")
    gone = [one for one in judged if one.removes]
    total = f"{plural(sum(one.files for one in gone), 'file')}, {bytes_text(sum(one.size for one in gone))}"
    if yes and gone:
        talk(f"{total} removed; what the runs took is kept in your history (crh-batch history)")
    elif gone:
        talk(f"dry run: {total} could be freed; --yes removes them")
        talk("report, status, show and log know nothing of a batch after that")
    elif not begun:
        talk("nothing to remove")
