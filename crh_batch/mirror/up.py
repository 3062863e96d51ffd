"""Up: a stage is made on its cluster, from one archive that goes on where an earlier try broke off."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterable

from crh_batch.hosts.base import FarHost, OnBytes
from crh_batch.ledger import durable
from crh_batch.ledger.inputs import sha256_of
from crh_batch.mirror.inputs import archive_path, write_archive
from crh_batch.mirror.owed import bring_owed
from crh_batch.mirror.programs import ProgramThere, make_sure
from crh_batch.mirror.stage import Stage

# Unpacking a hundred thousand tomodirs on a network filesystem takes minutes; signs of life come meanwhile.
_UNPACK_S = 6 * 3600.0


def _nothing(count: int) -> None:
    """Take no note of bytes."""


def bring_up(
    stage: Stage,
    far: FarHost,
    *,
    on_bytes: OnBytes = _nothing,
    on_total: OnBytes = _nothing,
    say: Callable[[str], None] = lambda text: None,
) -> int:
    """Make a stage on its cluster, if it isn't there yet; return how many bytes went over the line.

    The caller has the batch's custody. It may be broken off anywhere: what has arrived isn't sent again.

    Args:
        on_bytes: called with each number of bytes that went.
        on_total: called with how many bytes there are to send.
        say: for what the user should know of single tomodirs.

    Raises:
        HostError: the machine can't be reached, or has no room; what has arrived is kept.
        ProgramMissing: a program that was there isn't any more.
        LedgerError: what is here can't be read.
        OSError: the archive can't be written here.
    """
    if stage.has_arrived:
        return 0
    archive = write_archive(stage, say)
    on_total(os.path.getsize(archive))
    sent_as = f"{stage.top}.tar.gz"
    # The marker there tells, too, when an answer to this was lost.
    marker = os.path.join(stage.there.directory, "arrived")
    sent = 0
    far.ask("make_directories", paths=[os.path.dirname(stage.top)], mode=0o700)
    programs = {name: ProgramThere(**entry) for name, entry in stage.programs.items()}
    if not far.ask("exists", paths=[marker])["exists"][0]:
        for name, one in programs.items():
            make_sure(far, name, one)
        sent = far.put(archive, sent_as, on_bytes)
    far.ask(
        "unpack",
        archive=sent_as,
        sha256=sha256_of(archive),
        top=stage.top,
        root=stage.root,
        programs=_to_copy(stage, programs.values()),
        marker=marker,
        timeout_s=_UNPACK_S,
    )
    bring_owed(stage, far)
    durable.write_durable(stage.arrived, b"")
    # RACE: who had looked a moment before made names here alone; pilots are started after this.
    bring_owed(stage, far)
    with contextlib.suppress(OSError):
        os.unlink(archive_path(stage))
    return sent


def _to_copy(stage: Stage, programs: Iterable[ProgramThere]) -> list[dict[str, str]]:
    below = os.path.relpath(stage.there.programs, stage.root)
    return [
        {"path": one.path, "sha256": one.sha256, "target": os.path.join(below, one.file)}
        for one in programs
        if one.sha256
    ]
