"""The dask scheduler as a job of its own: ``python -m crh_batch.engines.dask.head BATCH --driver TOKEN``.

Started by the same job script as pilots, with the same arguments.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys

from crh_batch.engines.choose import choose_engine
from crh_batch.engines.dask.engine import DaskEngine
from crh_batch.engines.dask.frugal import be_frugal
from crh_batch.engines.dask.place import Contact, Place
from crh_batch.engines.profile_then import profile_of
from crh_batch.errors import CrhBatchError
from crh_batch.hosts.this_machine import ThisMachine
from crh_batch.ledger.batch import Batch
from crh_batch.ledger.trust import trust_groups
from crh_batch.pilot.job import surroundings
from crh_batch.pilot.main import parser


def main(arguments: list[str] | None = None) -> int:
    """Drive a batch; return 0 when it is over or workers go on alone, 3 when something is at fault."""
    be_frugal()
    reads = parser()
    reads.add_argument("--driver", required=True, help="the directory below dask/ that was made for this scheduler")
    parsed = reads.parse_args(arguments)
    if parsed.share_group:
        trust_groups(lambda root: (parsed.share_group,))
    try:
        return asyncio.run(_drive(os.path.abspath(parsed.batch), parsed.driver))
    except CrhBatchError as error:
        print(f"head: {error}", file=sys.stderr, flush=True)
        return error.exit_code


async def _drive(directory: str, token: str) -> int:
    from crh_batch.engines.dask.driver import Driver, Ending, News

    batch = Batch(directory)
    place = Place(batch.paths, token)
    options = place.options()
    profile = profile_of(batch)
    below = choose_engine("array", profile)
    engine = DaskEngine(below, ThisMachine(), profile, options)
    fleet, most, job = engine.fleet(place), profile.max_pilots, surroundings(os.environ, os.getpid()).job
    driver = Driver(batch, fleet, engine.host, place, options, most=most, news=News(_say), job=job)
    loop = asyncio.get_running_loop()
    # The end of the job: workers have the rest of theirs, and go on by themselves.
    for number in (signal.SIGTERM, signal.SIGUSR1, signal.SIGUSR2, signal.SIGINT, signal.SIGHUP):
        loop.add_signal_handler(number, driver.end, Ending.LEFT)
    how = await driver.run()
    print(f"head: {how.value}", file=sys.stderr, flush=True)
    return 0


def _say(contact: Contact) -> None:
    print(f"head: workers come to {contact.address}, dashboard at {contact.link}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
