"""One of the processes of `crh-batch verify-fs`, on a filesystem that lies: ``lying_party.py LIE ARGUMENT...``."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Callable

from crh_batch.ledger.durable import calls
from crh_batch.pilot.fs_worker import main
from faults.lies import Fault, install


def links_are_not_exclusive() -> None:
    """symlink(2) replaces what is there, as a filesystem would that is not coherent among nodes."""
    real = os.symlink

    def symlink(target: str, path: str) -> None:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(path)
        real(target, path)

    calls.symlink = symlink  # type: ignore[assignment]


def exclusive_files_are_not() -> None:
    """O_EXCL is not passed on (NFSv2)."""
    real = os.open

    def open_(path: str, flags: int, mode: int = 0o777) -> int:
        return real(path, flags & ~os.O_EXCL, mode)

    calls.open = open_  # type: ignore[assignment]


def hard_links_replace() -> None:
    """link(2) replaces what is there."""
    real = os.link

    def link(source: str, path: str) -> None:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(path)
        real(source, path)

    calls.link = link  # type: ignore[assignment]


def rename_has_a_gap() -> None:
    """rename(2) takes the old file away first."""

    def replace(source: str, target: str) -> None:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(target)
        # Long enough for two looks of a reader.
        for _ in range(200):
            os.stat(source)
        os.rename(source, target)

    calls.replace = replace  # type: ignore[assignment]


def rename_copies() -> None:
    """rename(2) writes the content into the old file, piece by piece."""

    def replace(source: str, target: str) -> None:
        with open(source, "rb") as reading, open(target, "wb", buffering=0) as writing:
            while piece := reading.read(4096):
                writing.write(piece)
        os.unlink(source)

    calls.replace = replace  # type: ignore[assignment]


def appending_overwrites() -> None:
    """O_APPEND means the end that this client last saw: the beginning."""
    real = os.open

    def open_(path: str, flags: int, mode: int = 0o777) -> int:
        return real(path, flags & ~os.O_APPEND, mode)

    calls.open = open_  # type: ignore[assignment]


def fsync_fails() -> None:
    install([Fault("fsync", error="EIO")])


def links_lie_about_their_success() -> None:
    """symlink(2) does its work and says EEXIST, as NFS does after a retransmission."""
    install([Fault("symlink", error="EEXIST", works=True, times=20)])


LIES: dict[str, Callable[[], None]] = {
    lie.__name__: lie
    for lie in (
        links_are_not_exclusive,
        exclusive_files_are_not,
        hard_links_replace,
        rename_has_a_gap,
        rename_copies,
        appending_overwrites,
        fsync_fails,
        links_lie_about_their_success,
    )
}

if __name__ == "__main__":
    LIES[sys.argv[1]]()
    sys.exit(main(sys.argv[2:]))
