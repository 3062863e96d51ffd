"""Options and small steps that several commands share."""

from __future__ import annotations

import functools
import json
import os
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar, cast

import click

from crh_batch.cli.chosen_profile import chosen_profile, profile_option
from crh_batch.cli.over_ssh import chosen_on, engine_over_ssh, for_clusters, refuse_share
from crh_batch.engines.base import LOCAL, Engine, plural
from crh_batch.engines.choose import ENGINES, choose_engine
from crh_batch.engines.local import LocalEngine
from crh_batch.errors import CrhBatchError, SchedulerError, UsageError
from crh_batch.hosts.this_machine import ThisMachine
from crh_batch.plan.history import History
from crh_batch.plan.selection import EVERYTHING, Selection, parse_selection
from crh_batch.plan.survey import Survey, choose_root, examine
from crh_batch.plan.wishes import Wishes
from crh_batch.profile import Profile
from crh_batch.profile_files import load_profile
from crh_batch.report.forecast import Forecast
from crh_batch.report.table import seconds_text, shown

Command = TypeVar("Command", bound=Callable[..., Any])


@dataclass(frozen=True)
class Which:
    """Which tomodirs a command is about, as the command line says it.

    Args:
        count: at most so many that need work; None for all.
    """

    paths: tuple[str, ...] = ()
    match: str = ""
    from_file: str | None = None
    selection: Selection = EVERYTHING
    count: int | None = None


def survey_options(command: Command) -> Command:
    """Add what says which tomodirs; the command gets it as ``which``."""

    @functools.wraps(command)
    def with_which(
        *arguments: Any,
        paths: tuple[str, ...],
        match: str,
        from_file: str | None,
        select: str | None,
        count: int | None,
        **others: Any,
    ) -> Any:
        selection = EVERYTHING if select is None else parse_selection(select)
        return command(*arguments, which=Which(paths, match, from_file, selection, count), **others)

    options = (
        click.option(
            "--count", type=click.IntRange(1), help="At most so many tomodirs: the first by path that need work."
        ),
        click.option(
            "--select",
            metavar="NUMBERS",
            help="Only these of the tomodirs in the order of their paths, counted from 0 as check shows them: numbers "
            "and slices as Python's, such as 0:100,140.",
        ),
        click.option(
            "--from-file",
            type=click.Path(),
            metavar="FILE",
            help="Read further PATHs from a file, one a line (or separated by NUL characters); - is standard input.",
        ),
        click.option("--match", default="", metavar="REGEX", help="Only tomodirs whose path matches."),
        click.argument("paths", nargs=-1, type=click.Path(), metavar="[PATH]..."),
    )
    decorated: Any = with_which
    for option in options:
        decorated = option(decorated)
    return cast(Command, decorated)


def engine_options(command: Command) -> Command:
    """Add what says how pilots are started."""
    command = profile_option(command)
    command = click.option(
        "--engine",
        type=click.Choice(ENGINES),
        help="array: Slurm or SGE; local: this machine; dask: workers with a dashboard. Default: a scheduler if one is "
        "here.",
    )(command)
    command = click.option("-j", "--cores", type=click.IntRange(1), help="Cores of this machine to use (local).")(
        command
    )
    return click.option(
        "-t", "--max-threads", type=click.IntRange(1), help="Most cores for one tomodir. Default: what a node has."
    )(command)


max_pilots_option = click.option(
    "--max-pilots", type=click.IntRange(1), help="Most array tasks for one class of tomodirs."
)
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


def look_through(which: Which, engine: Engine, root: str | None = None) -> Survey:
    """Examine the tree with a progress line on a terminal."""
    targets = all_paths(which.paths, which.from_file)
    if which.from_file is not None and not targets:
        raise UsageError(f"--from-file {which.from_file}: holds no path", "Write one path a line.")
    root = root or choose_root(targets, ".")
    with counting("looking at tomodirs") as on_progress:
        return examine(
            targets,
            root,
            most_threads=engine.most_threads,
            match=which.match,
            selection=which.selection,
            most=which.count,
            on_progress=on_progress,
        )


def root_of(which: Which) -> str:
    """Return the directory of the survey that paths lie in."""
    return choose_root(which.paths, ".") if which.from_file is None else "."


def profile_for(which: Which, **overrides: Any) -> Profile:
    """Load the profile of the survey that paths lie in: of the cluster that is to be worked on, if one is named."""
    return profile_at(root_of(which), **overrides)


def profile_at(root: str, **overrides: Any) -> Profile:
    """Load the profile of a survey: of the cluster that is to be worked on, if one is named."""
    name, on = chosen_profile(), chosen_on()
    profile = load_profile(root, name, on=on, **overrides)
    if not profile.clusters:
        refuse_share()
        return profile
    if name and len(profile.clusters) > 1:
        raise UsageError(f"--profile {name}: is for one cluster, and --on names several", "Leave --profile out.")

    def load(cluster: str) -> Profile:
        # Imported here: it needs SSH, which takes its time to load.
        from crh_batch.engines.clusters import cluster_profile

        return cluster_profile(cluster, root, name, **overrides)

    return for_clusters(profile, load)


def engine_for(
    name: str | None,
    profile: Profile,
    cores: int | None,
    root: str = ".",
    adjust: Callable[[Profile], Profile] = lambda profile: profile,
) -> Engine:
    """Return the engine that the options ask for.

    Args:
        root: the survey's directory.
        adjust: puts what the command line says into the profiles of further clusters.
    """
    if profile.clusters:
        return engine_over_ssh(name or "", profile, root, adjust)
    return choose_engine(name or "", profile, cores=cores or 0, host=ThisMachine())


def engine_to_plan_with(
    name: str | None,
    profile: Profile,
    cores: int | None,
    root: str = ".",
    adjust: Callable[[Profile], Profile] = lambda profile: profile,
) -> Engine:
    """Return the engine that the options ask for; this machine's, with a word, if its scheduler doesn't answer."""
    engine = engine_for(name, profile, cores, root, adjust)
    try:
        # The scheduler is asked for the size of its nodes here.
        _ = engine.most_threads
    except SchedulerError as error:
        talk(f"{error.message}; sizes are those of this machine")
        return LocalEngine(cores or 0, profile.max_threads)
    return engine


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


def talk_unheeded(wishes: Wishes, profile: Profile, engine: Engine, survey: Survey) -> None:
    """Say which wishes have no effect here."""
    for pattern, number in wishes.priorities if survey.planned else ():
        if not any(pattern.search(one.path) for one in survey.planned):
            talk(f"--priority {pattern.pattern}={number}: matches no path of the tomodirs to run")
    if engine.name == LOCAL and wishes.keep_going:
        talk("--keep-going: has no effect here: a pilot on this machine has no time limit")
    if engine.name == LOCAL and profile.whole_nodes:
        talk("whole_nodes: has no effect here: a pilot on this machine always takes tomodirs of all widths")


def talk_forecast(expected: Forecast, wishes: Wishes) -> None:
    """Say how long a batch is expected to take, and how much of it is done by the deadline."""
    jobs = f"{plural(expected.pilots, 'job')} with {plural(expected.cores, 'core')} in all"
    bound = f"(no order could take less than {seconds_text(expected.bound_s)})"
    talk(f"about {seconds_text(expected.makespan_s)} with {jobs} {bound}, if all begin at once")
    if expected.by_deadline is not None and wishes.deadline is not None:
        at = time.strftime("%Y-%m-%d %H:%M", time.localtime(wishes.deadline))
        talk(f"by the deadline, {at}: about {expected.by_deadline} of {expected.tomodirs}")


def talk_accuracy(history: History) -> None:
    """Say how far off estimates from past runs were."""
    found = history.accuracy()
    if found is not None:
        talk(
            f"past estimates were off by a factor of {found.median:.1f} in the median, {found.worst:.1f} at worst "
            f"({plural(found.runs, 'run')})"
        )


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
