"""Driving a dask batch in the foreground: the dashboard's link, a progress line, and what Ctrl-C asks."""

from __future__ import annotations

import asyncio
import signal
import sys
from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING

from crh_batch.cli.common import bar, talk
from crh_batch.engines.base import plural
from crh_batch.engines.dask.engine import DaskEngine
from crh_batch.engines.dask.place import Contact, Place
from crh_batch.engines.target import is_over
from crh_batch.ledger.batch import Batch
from crh_batch.ledger.names import StateName
from crh_batch.ledger.submissions import Submission
from crh_batch.report.states import count

if TYPE_CHECKING:
    from crh_batch.engines.dask.driver import Driver
    from crh_batch.engines.dask.sizes import Size

INTERRUPTED = 130
_QUESTION = "stop the workers [s], or leave them to finish [l, Enter]? Ctrl-C again stops them"


def drive_all(batches: Sequence[Batch], engine: DaskEngine) -> int:
    """Drive batches one after another; return 0 when all are over, 130 when the user stopped or left.

    Raises:
        DaskError, SchedulerError, HostError: as ``Driver.run`` does.
    """
    for batch in batches:
        if not is_over(count(batch).counts) and not asyncio.run(_drive(batch, engine)):
            return INTERRUPTED
    return 0


async def _drive(batch: Batch, engine: DaskEngine) -> bool:
    """Drive one batch; return whether it is over."""
    from crh_batch.engines.dask.driver import Driver, Ending, News

    place = Place.make(batch.paths, engine.options)
    with bar("running") as show:

        def on_counts(counts: Counter[StateName], present: int, wanted: int) -> None:
            over = counts[StateName.DONE] + counts[StateName.COLLECTED] + counts[StateName.FAILED]
            show(over, sum(counts.values()))

        news = News(talk_contact, on_counts, _talk_started)
        most = engine.profile.max_pilots
        driver = Driver(batch, engine.fleet(place), engine.host, place, engine.options, most=most, news=news)
        asking = _Asking(driver)
        loop = asyncio.get_running_loop()
        loop.add_signal_handler(signal.SIGINT, asking.interrupted)
        for number in (signal.SIGTERM, signal.SIGHUP):
            loop.add_signal_handler(number, driver.end, Ending.LEFT)
        how = await driver.run()
    if how is Ending.LEFT:
        talk("the workers go on by themselves; crh-batch status shows how far they are, crh-batch cancel ends them")
    elif how is Ending.STOPPED:
        talk("the workers were told to stop; what they ran is ready again, and the same command goes on from here")
    return how is Ending.OVER


class _Asking:
    """What Ctrl-C does: asks on a terminal, elsewhere leaves the workers to finish."""

    def __init__(self, driver: Driver) -> None:
        self._driver = driver
        self._asked = False

    def interrupted(self) -> None:
        """Take in one Ctrl-C."""
        from crh_batch.engines.dask.driver import Ending

        if self._asked:
            self._driver.end(Ending.STOPPED)
        elif not (sys.stdin.isatty() and sys.stderr.isatty()):
            self._driver.end(Ending.LEFT)
        else:
            self._asked = True
            talk(f"\n{_QUESTION}")
            asyncio.get_running_loop().add_reader(sys.stdin.fileno(), self._answered)

    def _answered(self) -> None:
        from crh_batch.engines.dask.driver import Ending

        asyncio.get_running_loop().remove_reader(sys.stdin.fileno())
        answer = sys.stdin.readline().strip().lower()
        self._driver.end(Ending.STOPPED if answer.startswith("s") else Ending.LEFT)


def talk_contact(contact: Contact) -> None:
    """Say where the dashboard is, and how to reach it from a laptop."""
    if not contact.dashboard_port:
        talk("no dashboard")
        return
    talk(f"dashboard: {contact.link}")
    if contact.tunnel:
        talk(f"  from your own machine: {contact.tunnel}")


def _talk_started(size: Size, submissions: list[Submission]) -> None:
    workers = plural(len(submissions), "worker")
    talk(f"started {workers} of {plural(size.request.cores, 'core')}")
