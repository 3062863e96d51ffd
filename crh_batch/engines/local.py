"""Pilots on this machine, as processes of their own that outlive the command that started them."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from collections.abc import Sequence

from crh_batch.engines.base import LOCAL, Started, plural
from crh_batch.ledger.batch import Batch
from crh_batch.ledger.identity import Verdict, Who, boot_id, login_name, pid_namespace, start_ticks, verdict_here
from crh_batch.ledger.submissions import (
    Submission,
    read_submissions,
    record_intent,
    record_started,
)
from crh_batch.plan.arrays import ArrayRequest, ClassWork
from crh_batch.plan.memory import request_bytes


class LocalEngine:
    """Starts one pilot that keeps this machine's cores busy.

    Args:
        cores: how many cores; all that this process may use by default.
        max_threads: most cores for one tomodir.
        scratch: where private directories are made.
    """

    name = LOCAL

    def __init__(self, cores: int = 0, max_threads: int = 0, scratch: str = "") -> None:
        self.cores = cores or len(os.sched_getaffinity(0))
        self.most_threads = min(max_threads or self.cores, self.cores)
        self._scratch = scratch

    def plan(self, work: Sequence[ClassWork]) -> list[ArrayRequest]:
        """Return the one pilot's share of each class."""
        return [self._share(one) for one in work]

    def _share(self, work: ClassWork) -> ArrayRequest:
        side_by_side = max(1, self.cores // work.threads)
        memory = request_bytes(max(work.peaks_bytes), side_by_side)
        total = sum(work.estimates_s) / side_by_side
        return ArrayRequest(work.threads, self.cores, 1, memory, len(work.estimates_s), total)

    def scripts(self, batch_id: str, requests: Sequence[ArrayRequest]) -> list[str]:
        """Return nothing: no script is needed here."""
        return []

    def start(self, batch: Batch, requests: Sequence[ArrayRequest]) -> list[Started]:
        """Start one pilot for all classes, unless one lives."""
        if any(
            one.process is not None and verdict_here(one.process) is Verdict.ALIVE
            for one in read_submissions(batch.paths)
        ):
            return []
        submission = record_intent(batch.paths, self.name, 0, 1)
        process = start_pilot(batch, submission, self.cores, self._scratch)
        submission = record_started(batch.paths, submission, _who(process.pid))
        return [
            Started(submission, f"a pilot with {plural(self.cores, 'core')} on this machine, process {process.pid}")
        ]


def pilot_argv(batch: Batch, submission_token: str, cores: int, scratch: str) -> list[str]:
    """Return how a pilot of a batch is started on this machine."""
    argv = [sys.executable, "-I", "-S", batch.paths.pilot, batch.paths.directory, "--cores", str(cores)]
    if submission_token:
        argv += ["--submission", submission_token]
    if scratch:
        argv += ["--scratch", scratch]
    return argv


def start_pilot(batch: Batch, submission: Submission, cores: int, scratch: str) -> subprocess.Popen[bytes]:
    """Start a pilot that goes on when the client and its terminal are gone; its output goes to ``logs/``."""
    directory = os.path.join(batch.paths.logs, submission.token)
    os.makedirs(directory, exist_ok=True)
    with open(os.path.join(directory, "pilot.out"), "ab") as log:
        return subprocess.Popen(
            pilot_argv(batch, submission.token, cores, scratch),
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
            env={key: value for key, value in os.environ.items() if not key.startswith("PYTHON")},
        )


def _who(pid: int) -> Who:
    return Who(socket.gethostname(), boot_id(), pid, start_ticks(pid) or 0, login_name(), pid_namespace())
