"""`crh-batch history`: what past runs teach about the time and memory of the next ones."""

from __future__ import annotations

import os
from collections.abc import Iterator

import click

from crh_batch.cli.common import json_option, print_json, talk, talk_accuracy
from crh_batch.engines.base import plural
from crh_batch.engines.history_file import history_path, read_history, rebuild
from crh_batch.ledger.batch import Batch, batches_of
from crh_batch.ledger.paths import STATE_DIRECTORY
from crh_batch.report.as_json import SCHEMA, accuracy_json


@click.command("history")
@click.argument("paths", nargs=-1, type=click.Path(exists=True, file_okay=False), metavar="[PATH]...")
@click.option("--rebuild", "anew", is_flag=True, help="Make it anew from the batches at or below PATHs (here).")
@json_option
def command(paths: tuple[str, ...], anew: bool, as_json: bool) -> int:
    """Show how many past runs are known, and how far off estimates from them were.

    The file holds sizes, times and memory, no paths. It grows by itself when batches are collected.
    """
    if anew:
        rebuild(_batches_below(paths or (".",)))
    history = read_history()
    accuracy = history.accuracy()
    if as_json:
        past = None if accuracy is None else accuracy_json(accuracy)
        print_json({"schema": SCHEMA, "file": str(history_path()), "runs": history.runs, "past_estimates": past})
        return 0
    talk(f"{history_path()}: {plural(history.runs, 'run')}")
    talk_accuracy(history)
    return 0


def _batches_below(paths: tuple[str, ...]) -> Iterator[Batch]:
    """Yield the batches at or below directories, oldest first; links are not followed."""
    found: dict[str, str] = {}
    for path in paths:
        for directory, names, _ in os.walk(path):
            if STATE_DIRECTORY in names:
                found.update((os.path.realpath(one), os.path.basename(one)) for one in batches_of(directory))
            names[:] = [name for name in names if name not in (STATE_DIRECTORY, "exe", "mod", "inv", "grid", "rho")]
    for place in sorted(found, key=lambda one: found[one]):
        yield Batch(place)
