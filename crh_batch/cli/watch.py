"""`crh-batch watch`: a live view until all is over."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable

import click
from rich.live import Live

from crh_batch.cli.common import batch_argument, talk
from crh_batch.cli.finish import say_end
from crh_batch.cli.targets import find_one_target, group_option
from crh_batch.engines.target import Counts, Target
from crh_batch.engines.wait import End, wait_for
from crh_batch.hosts.this_machine import ThisMachine
from crh_batch.ledger.names import StateName
from crh_batch.report.live import left, live_view
from crh_batch.report.pace import Pace, last_hour
from crh_batch.report.states import status_of
from crh_batch.report.table import console, counts_line, seconds_text

# Lines of the view beside those of running tomodirs.
_OTHER_LINES = 14
# Hosts are read from the sessions of all pilots, which may be long.
_HOSTS_EVERY_S = 30.0


@click.command("watch")
@batch_argument
@group_option
@click.option(
    "--every",
    type=click.FloatRange(0.1),
    default=2.0,
    show_default=True,
    metavar="SECONDS",
    help="How often to redraw.",
)
def command(batch: str, group: str, every: float) -> int:
    """Watch BATCH until it is over: counts, what runs with its iteration and RMS, the pace and the time left.

    Without a terminal it prints a line whenever a count changes. Ctrl-C ends the view, not the batch. Exit codes as
    those of wait.
    """
    target = find_one_target(batch, group)
    try:
        end = _watch_live(target, every) if sys.stdout.isatty() else _watch_lines(target, every)
    except KeyboardInterrupt:
        talk("the batch goes on; crh-batch watch shows it again")
        return 130
    return say_end([target], end)


def _watch_live(target: Target, every_s: float) -> End:
    screen = console()
    pace = Pace()
    hosts: dict[str, int] = {}
    hosts_read = -_HOSTS_EVERY_S
    with Live(console=screen, auto_refresh=False) as live:

        def redraw(counts: Counts) -> None:
            nonlocal hosts, hosts_read
            status = status_of(target.batch, lambda item_id, state: state.name is StateName.RUNNING, target.only)
            pace.note(status.settled)
            if time.monotonic() - hosts_read >= _HOSTS_EVERY_S:
                hosts, hosts_read = last_hour(target.batch)[0], time.monotonic()
            room = max(1, screen.size.height - _OTHER_LINES - len(hosts))
            view = live_view(status, pace.per_s(), hosts, now=time.strftime("%H:%M:%S"), most_rows=room)
            live.update(view, refresh=True)

        return wait_for([target], ThisMachine(), on_counts=_at_most_every(every_s, redraw))


def _watch_lines(target: Target, every_s: float) -> End:
    pace = Pace()
    last: Counts | None = None

    def print_line(counts: Counts) -> None:
        nonlocal last
        if counts == last:
            return
        last = counts.copy()
        status = status_of(target.batch, lambda item_id, state: False, target.only)
        pace.note(status.settled)
        per_s = pace.per_s()
        rest = f"; about {seconds_text(left(status) / per_s)} left" if per_s and left(status) else ""
        click.echo(f"{time.strftime('%H:%M:%S')}  {counts_line(status)}{rest}")
        sys.stdout.flush()

    return wait_for([target], ThisMachine(), on_counts=_at_most_every(every_s, print_line))


def _at_most_every(every_s: float, show: Callable[[Counts], None]) -> Callable[[Counts], None]:
    """Have something shown at once, then every so often, and whenever nothing is left to run."""
    shown_at = float("-inf")

    def show_sometimes(counts: Counts) -> None:
        nonlocal shown_at
        is_last = not counts[StateName.READY] and not counts[StateName.RUNNING]
        if is_last or time.monotonic() - shown_at >= every_s:
            shown_at = time.monotonic()
            show(counts)

    return show_sometimes
