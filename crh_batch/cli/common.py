"""Options and small steps that several commands share."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import click

from crh_batch.engines.base import Engine
from crh_batch.engines.choose import ENGINES, choose_engine
from crh_batch.errors import CrhBatchError, UsageError
from crh_batch.hosts.this_machine import ThisMachine
from crh_batch.plan.survey import Survey, choose_root, examine
from crh_batch.profile import Profile, load_profile
from crh_batch.report.table import shown

Command = TypeVar("Command", bound=Callable[..., Any])


def survey_options(command: Command) -> Command:
    """Add what says which tomodirs: PATH..., --match, --from-file."""
    command = click.argument("paths", nargs=-1, type=click.Path(), metavar="[PATH]...")(command)
    command = click.option("--match", default="", metavar="REGEX", help="Only tomodirs whose path matches.")(command)
    return click.option(
        "--from-file",
        type=click.Path(),
        metavar="FILE",
        help="Read further PATHs from a file, one a line (or separated by NUL characters); - is standard input.",
    )(command)


def engine_options(command: Command) -> Command:
    """Add what says how pilots are started."""
    command = click.option(
        "--engine", type=click.Choice(ENGINES), help="array: Slurm; local: this machine. Default: Slurm if it is here."
    )(command)
    command = click.option("-j", "--cores", type=click.IntRange(1), help="Cores of this machine to use (local).")(
        command
    )
    return click.option(
        "-t", "--max-threads", type=click.IntRange(1), help="Most cores for one tomodir. Default: what a node has."
    )(command)


json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON on stdout.")
batch_argument = click.argument("batch", required=False, default="", metavar="[BATCH|PATH]")


def all_paths(paths: Sequence[str], from_file: str | None) -> list[str]:
    """Return the paths of the command line and of a file.

    Raises:
        UsageError: the file can't be read.
    """
    found = list(paths)
    if from_file is None:
        return found
    try:
        content = sys.stdin.buffer.read() if from_file == "-" else Path(from_file).read_bytes()
    except OSError as error:
        raise UsageError(f"--from-file {from_file}: {error.strerror}", "Name a file with one path a line.") from error
    separator = b"\0" if b"\0" in content else b"\n"
    found += [os.fsdecode(line) for line in content.split(separator) if line]
    return found


def look_through(
    paths: Sequence[str], from_file: str | None, match: str, engine: Engine, root: str | None = None
) -> Survey:
    """Examine the tree with a progress line on a terminal."""
    targets = all_paths(paths, from_file)
    if from_file is not None and not targets:
        raise UsageError(f"--from-file {from_file}: holds no path", "Write one path a line.")
    root = root or choose_root(targets, ".")
    with counting("looking at tomodirs") as on_progress:
        return examine(targets, root, most_threads=engine.most_threads, match=match, on_progress=on_progress)


def profile_for(paths: Sequence[str], from_file: str | None, **overrides: Any) -> Profile:
    """Load the profile of the survey that paths lie in."""
    return load_profile(choose_root(list(paths), ".") if from_file is None else ".", **overrides)


def engine_for(name: str | None, profile: Profile, cores: int | None) -> Engine:
    """Return the engine that the options ask for."""
    return choose_engine(name or "", profile, cores=cores or 0, host=ThisMachine())


def print_json(data: Any) -> None:
    """Print data for scripts."""
    click.echo(json.dumps(data, indent=1))


def talk(text: str) -> None:
    """Say something to the user, on stderr; control characters in names are made visible."""
    click.echo("\n".join(shown(line) for line in text.split("\n")), err=True)


def complain(errors: Sequence[CrhBatchError]) -> None:
    """Say what went wrong."""
    for error in errors:
        talk(f"crh-batch: {error}")


def talk_problems(problems: Sequence[tuple[str, str]], title: str, *, limit: int = 20) -> None:
    """List tomodirs with a reason each; long lists are cut, with a word on how to see all."""
    if not problems:
        return
    talk(f"{len(problems)} {title}:")
    for path, reason in problems[:limit]:
        talk(f"  {shown(path)}: {reason}")
    if len(problems) > limit:
        talk(f"  ... and {len(problems) - limit} more (all of them: crh-batch check --json)")


@contextmanager
def counting(what: str) -> Iterator[Callable[[int], None]]:
    """Show a growing number while something of unknown length goes on; only on a terminal."""
    if not sys.stderr.isatty():
        yield lambda count: None
        return
    from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

    from crh_batch.report.table import console

    columns = (SpinnerColumn(), TextColumn("{task.description}"), TextColumn("{task.completed}"), TimeElapsedColumn())
    with Progress(*columns, console=console(stderr=True), transient=True) as progress:
        task = progress.add_task(what)
        yield lambda count: progress.update(task, completed=count)


@contextmanager
def bar(what: str) -> Iterator[Callable[[int, int], None]]:
    """Show a progress bar; only on a terminal. What it yields takes how many are through, and of how many."""
    if not sys.stderr.isatty():
        yield lambda done, total: None
        return
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    from crh_batch.report.table import console

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console(stderr=True), transient=True) as progress:
        task = progress.add_task(what, total=None)
        yield lambda done, total: progress.update(task, completed=done, total=total)
