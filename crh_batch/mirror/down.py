"""Down: what a stage's ledger has and the mirror lacks, copied in the one order in which the mirror is never wrong.

1. names are taken, and only kept in memory;
2. sessions are brought, from the byte that is here: all that the taken names speak of is in them;
3. the names are written here, those whose session is here;
4. what was decided here before the stage had arrived is made there (``owed.py``);
5. packs are brought, if asked for, from the byte that is here: all that the sessions speak of is in them.

It may be broken off anywhere, and several processes may do it at the same time: byte k of a session or a pack is the
same whoever writes it, and a name is made once.
"""

from __future__ import annotations

import os
from weakref import WeakKeyDictionary

from crh_batch.errors import LedgerError
from crh_batch.hosts.base import FarHost, OnBytes
from crh_batch.ledger import durable
from crh_batch.ledger.sharing import make_directories
from crh_batch.mirror.answers import parse_tails, understood
from crh_batch.mirror.gone import noticing
from crh_batch.mirror.owed import make_owed
from crh_batch.mirror.packs import bring_packs
from crh_batch.mirror.sessions import bring_sessions
from crh_batch.mirror.stage import Stage
from crh_batch.mirror.taking import take_names
from crh_batch.tomodir.files import explain

LOG_BYTES = 64 << 10
MOST_LOGS = 20

# Stages whose names were all written here, by the machine that remembers what it has sent.
_complete: WeakKeyDictionary[FarHost, set[str]] = WeakKeyDictionary()


def nothing(count: int) -> None:
    """Take no note of bytes."""


def bring_down(
    stage: Stage, far: FarHost, *, packs: bool = False, on_bytes: OnBytes = nothing, on_total: OnBytes = nothing
) -> int:
    """Bring here what a stage has that isn't here yet; return how many bytes came.

    Args:
        packs: results, too.
        on_bytes: called with each number of bytes of results that has come.
        on_total: called once, with how many bytes of results there are to come.

    Raises:
        StageGone: it isn't there any more.
        HostError: the machine can't be reached; what is here is what it was, or newer.
        LedgerError: something can't be written here, or contradicts what is here.
    """
    if not stage.has_arrived:
        return 0
    complete = _complete.setdefault(far, set())
    key = stage.there.directory
    with noticing(stage, far):
        taken = take_names(stage, far, all_again=key not in complete)
    # Until all of it is written here: the other side won't send it again by itself.
    complete.discard(key)
    fetched = taken.size + bring_sessions(stage, far)
    if taken.write():
        complete.add(key)
    make_owed(stage, far, taken.lacking())
    if packs:
        fetched += bring_packs(stage, far, on_bytes, on_total)
    return fetched


def fetch_logs(stage: Stage, far: FarHost, token: str) -> None:
    """Bring here the ends of what schedulers and pilots of a submission wrote: the newest files, and of each the end.

    Args:
        token: the submission's.

    Raises:
        HostError: the machine can't be reached, or the files can't be read there.
        LedgerError: they can't be written here.
    """
    directory = os.path.join(stage.there.logs, token)
    entries = far.ask("list", path=directory)["entries"] or []
    files = sorted((one for one in entries if one[3] == "f"), key=lambda one: (one[2], one[0]))
    wanted = {name for name, _, _, _ in files[-MOST_LOGS:]}
    have = {name: max(0, size - LOG_BYTES) if name in wanted else size for name, size, _, _ in files}
    answer = far.ask("tails", directory=directory, have=have, suffix="", limit=2 * MOST_LOGS * LOG_BYTES)
    here = os.path.join(stage.batch.logs, token)
    with understood(far.name, directory):
        tails = parse_tails(answer, "")
    try:
        make_directories(here)
        for name, _, data in tails:
            if name in wanted:
                durable.write_durable(os.path.join(here, name), data[-LOG_BYTES:])
    except OSError as error:
        raise LedgerError(
            f"{here}: what pilots wrote can't be written here: {explain(error)}",
            "Is the disk here full, or over its quota? Mend that, and run the command again.",
            here,
        ) from error
