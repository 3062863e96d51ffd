"""Connections to clusters, as far as the user has to do with them: questions, progress of transfers, their end."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr
from typing import TYPE_CHECKING

import click

from crh_batch.cli.common import talk
from crh_batch.cli.over_ssh import HERE, chosen_on
from crh_batch.hosts import transfers
from crh_batch.hosts.transfers import Transfer
from crh_batch.ledger.arbiter import arbitrate
from crh_batch.ledger.paths import BatchPaths
from crh_batch.mirror.stage import is_staged

if TYPE_CHECKING:
    from rich.progress import Progress

    from crh_batch.ledger.arbiter import Arbiter


# The bars of transfers that are on the terminal now.
_drawn: list[Progress] = []


def set_up() -> None:
    """Tell the parts below how to ask this user, how to show transfers, and who decides about names elsewhere."""
    from crh_batch.hosts.mounted import stay_here
    from crh_batch.hosts.reach import ask_with

    ask_with(_ask)
    transfers.show_with(_shown)
    arbitrate(_arbiter)
    stay_here(chosen_on() == HERE)


def tear_down() -> None:
    """End the connections."""
    if "crh_batch.hosts.reach" in sys.modules:
        from crh_batch.hosts.reach import close_all

        close_all()


def _arbiter(paths: BatchPaths) -> Arbiter | None:
    if not is_staged(paths):
        return None
    # Imported when needed: SSH takes its time to load, and most batches have no use for it.
    from crh_batch.mirror.arbiter import find_arbiter

    return find_arbiter(paths)


def _ask(prompt: str, *, secret: bool) -> str | None:
    """Ask the user; None where nobody is there to answer."""
    if not (sys.stdin.isatty() and sys.stderr.isatty()):
        return None
    from crh_batch.report.table import shown

    # A server words its questions as it likes; what steers a terminal is not among what it may say.
    plain = "\n".join(shown(line) for line in prompt.splitlines())
    with _bare_terminal():
        return str(click.prompt(plain, hide_input=secret, default="", show_default=False, prompt_suffix="", err=True))


@contextmanager
def _bare_terminal() -> Iterator[None]:
    """Take away what is drawn over and over, and what keeps back lines that don't end: a question would not be seen."""
    drawn = list(_drawn)
    for progress in drawn:
        progress.stop()
    try:
        with redirect_stderr(sys.__stderr__):
            yield
    finally:
        for progress in drawn:
            progress.start()


@contextmanager
def _shown(what: str) -> Iterator[Transfer]:
    """Show a transfer's bytes, rate and time left; only on a terminal."""
    if not sys.stderr.isatty():
        yield _Silent()
        return
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn, TransferSpeedColumn

    from crh_batch.report.table import console

    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        DownloadColumn(),
        TransferSpeedColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=console(stderr=True), transient=True) as progress:
        _drawn.append(progress)
        try:
            yield _Bar(progress, what)
        finally:
            _drawn.remove(progress)


class _Telling:
    def tell(self, text: str) -> None:
        """See Transfer."""
        talk(text)


class _Silent(_Telling):
    def expect(self, total: int) -> None:
        """See Transfer."""

    def add(self, count: int) -> None:
        """See Transfer."""


class _Bar(_Telling):
    def __init__(self, progress: object, what: str) -> None:
        from rich.progress import Progress

        assert isinstance(progress, Progress)
        self._progress = progress
        self._total = 0
        self._task = progress.add_task(what, total=None)

    def expect(self, total: int) -> None:
        """See Transfer."""
        self._total += total
        self._progress.update(self._task, total=self._total)

    def add(self, count: int) -> None:
        """See Transfer."""
        self._progress.update(self._task, advance=count)
