"""Options that say what is wanted of a new batch: group, order, priority, deadline."""

from __future__ import annotations

import functools
import time
from collections.abc import Callable
from typing import Any, TypeVar, cast

import click

from crh_batch.plan.wishes import Wishes, check_group, parse_deadline, parse_priorities

Command = TypeVar("Command", bound=Callable[..., Any])


def wish_options(command: Command) -> Command:
    """Add what is wanted of a new batch; the command gets it as ``wishes``."""

    @functools.wraps(command)
    def with_wishes(
        *arguments: Any,
        group: str | None,
        priority: tuple[str, ...],
        reverse: bool,
        deadline: str | None,
        max_time: float | None,
        **others: Any,
    ) -> Any:
        jobs, tomodirs = parse_priorities(priority)
        wishes = Wishes(
            group="" if group is None else check_group(group),
            priority=jobs,
            priorities=tomodirs,
            reverse=reverse,
            deadline=None if deadline is None else parse_deadline(deadline, time.time()),
            max_time_s=60 * (max_time or 0.0),
        )
        return command(*arguments, wishes=wishes, **others)

    options = (
        click.option(
            "--max-time",
            type=click.FloatRange(0, min_open=True),
            metavar="MINUTES",
            help="End an attempt that takes longer than this; it has failed then.",
        ),
        click.option(
            "--deadline",
            metavar="TIME",
            help="Run nothing after this: +3h, +90m, 18:00 or 2026-11-23T08:00. What is unfinished then stays ready.",
        ),
        click.option("--reverse", is_flag=True, help="Shortest first, instead of longest first."),
        click.option(
            "--priority",
            multiple=True,
            metavar="[REGEX=]N",
            help="N: of the jobs, below 0 for lower. REGEX=N: tomodirs whose path matches come before those with less, "
            "inside their width. May be given several times.",
        ),
        click.option("--group", metavar="NAME", help="A name for these tomodirs, which hold, cancel and others take."),
    )
    decorated: Any = with_wishes
    for option in options:
        decorated = option(decorated)
    return cast(Command, decorated)
