"""`crh-batch verify-fs`: tries a filesystem with several processes, by one path or two, and leaves nothing behind."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from crh_batch.errors import FilesystemUnfit, LedgerError, UsageError
from crh_batch.ledger import durable
from crh_batch.pilot.fs_alone import look_alone
from crh_batch.pilot.fs_together import ANSWER_S

PROBE = ".crh-verify-"
WORKER = (sys.executable, "-m", "crh_batch.pilot.fs_worker")
PROCESSES = 4
# A name that nobody has asked for yet is seen at once, or the two paths lead to different places.
_SAME_S = 5.0
_REMOVE_TRIES = 20


@dataclass
class FilesystemReport:
    """What was found.

    Args:
        alone: by one process (pilot/fs_alone.py).
        parties: by several at once, one each (pilot/fs_together.py).
    """

    directory: str
    second: str
    alone: dict[str, Any] = field(default_factory=dict)
    parties: list[dict[str, Any]] = field(default_factory=list)

    @property
    def links(self) -> str:
        """The kind of exclusive names that a batch would use; empty if there is none."""
        return str(self.alone.get("kind", {}).get("links", ""))


def verify_filesystem(
    directory: str,
    second: str = "",
    *,
    worker: Sequence[str] = WORKER,
    answer_s: float = ANSWER_S,
    on_talk: Callable[[str], None] = lambda text: None,
) -> FilesystemReport:
    """Try the filesystem of a directory.

    Args:
        second: the same directory by another mount; empty for one path alone.
        worker: the command that starts one of several processes.
        answer_s: seconds until what one makes must be seen by the others.
        on_talk: told what is going on.

    Raises:
        UsageError: one is no directory, or the two are not the same one.
        LedgerError: nothing can be made there.
    """
    report = FilesystemReport(os.path.abspath(directory), os.path.abspath(second) if second else "")
    places = [place for place in (report.directory, report.second) if place]
    for place in places:
        if not os.path.isdir(place):
            raise UsageError(f"{place}: is not a directory", "Name a directory on the filesystem that is to be tried.")
    with _probe_directory(report.directory) as name:
        _check_same(report, name)
        on_talk(f"one process tries {report.directory}")
        report.alone = look_alone(_below(report.directory, name, "alone"))
        on_talk(f"{PROCESSES} processes try it at once" + (f", half of them by {report.second}" if second else ""))
        directories = [os.path.join(place, name, "together") for place in places]
        report.parties = _run_workers(directories, worker, report.links or durable.SYMLINK, answer_s)
    return report


@contextmanager
def _probe_directory(directory: str) -> Iterator[str]:
    """Make a directory of one's own, and take it away again whatever happens."""
    name = PROBE + durable.random_word()
    path = os.path.join(directory, name)
    try:
        os.mkdir(path, 0o700)
        for part in ("alone", "together"):
            os.mkdir(os.path.join(path, part))
    except OSError as error:
        with contextlib.suppress(OSError):
            os.rmdir(path)
        raise LedgerError(
            f"{directory}: nothing can be made here: {error.strerror}",
            "Name a directory where you may write, best where the survey shall be.",
            directory,
        ) from error
    try:
        yield name
    finally:
        _remove(path)


def _remove(path: str) -> None:
    # NFS keeps a file that somebody has open under another name until it is closed, so once may not be enough.
    for _ in range(_REMOVE_TRIES):
        shutil.rmtree(path, ignore_errors=True)
        if not os.path.lexists(path):
            return
        time.sleep(0.1)


def _below(directory: str, name: str, part: str) -> str:
    return os.path.join(directory, name, part)


def _check_same(report: FilesystemReport, name: str) -> None:
    """Make sure that the second path leads to the directory, too."""
    if not report.second:
        return
    deadline = time.monotonic() + _SAME_S
    while not os.path.isdir(_below(report.second, name, "together")):
        if time.monotonic() > deadline:
            raise UsageError(
                f"{report.second}: is not the directory {report.directory}: what was made there is not seen here",
                "As the second one, name the same directory by another mount. If it is the same, this filesystem "
                f"shows new directories after more than {_SAME_S:.0f} s: it can't hold a survey.",
            )
        time.sleep(0.05)


def _run_workers(
    directories: Sequence[str], worker: Sequence[str], links: str, answer_s: float
) -> list[dict[str, Any]]:
    """Start the processes, by turns in one directory and the other, and gather what they say.

    Raises:
        FilesystemUnfit: one ended without an answer.
    """
    # The order of the tokens is that of the directories, so that the first two are on two mounts.
    tokens = [f"p{number}-{durable.random_word(4)}" for number in range(PROCESSES)]
    processes: list[subprocess.Popen[str]] = []
    try:
        for number, token in enumerate(tokens):
            others = [other for other in tokens if other != token]
            argv = [*worker, directories[number % len(directories)], links, str(answer_s), token, *others]
            processes.append(
                subprocess.Popen(
                    argv,
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.PIPE,
                    stderr=subprocess.PIPE,
                    text=True,
                    errors="replace",
                    # Ctrl-C is for this process, which ends the others in order.
                    start_new_session=True,
                )
            )
        return [_answer(process, directories[0]) for process in processes]
    finally:
        for process in processes:
            process.kill()
            process.wait()
            for pipe in (process.stdout, process.stderr):
                if pipe is not None:
                    pipe.close()


def _answer(process: subprocess.Popen[str], directory: str) -> dict[str, Any]:
    said, complaint = process.communicate()
    try:
        found = json.loads(said)
    except ValueError:
        found = None
    if not isinstance(found, dict):
        last = complaint.strip().rpartition("\n")[2]
        raise FilesystemUnfit(
            f"{directory}: a process that tried it ended with {process.returncode}: {last or 'it said nothing'}",
            "Run the command again; if it ends like this again, put the survey on another filesystem.",
            directory,
        )
    return found
