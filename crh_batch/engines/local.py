"""Pilots on this machine, as processes of their own that outlive the command that started them."""

from __future__ import annotations

import contextlib
import os
import socket
import subprocess
import sys
from collections.abc import Sequence

from crh_batch.engines.base import LOCAL, Started, plural
from crh_batch.engines.groups import trusted_groups
from crh_batch.ledger.batch import Batch
from crh_batch.ledger.identity import Verdict, Who, boot_id, login_name, pid_namespace, start_ticks, verdict_here
from crh_batch.ledger.memory import MemoryRule
from crh_batch.ledger.paths import BatchPaths
from crh_batch.ledger.sharing import make_directories, share
from crh_batch.ledger.submissions import (
    Submission,
    read_submissions,
    record_intent,
    record_started,
)
from crh_batch.ledger.trust import owns
from crh_batch.pilot.control_group import own_files
from crh_batch.plan.arrays import ArrayRequest, ClassWork


class LocalEngine:
    """Starts one pilot that keeps this machine's cores busy.

    Args:
        cores: how many cores; all that this process may use by default.
        max_threads: most cores for one tomodir.
        scratch: where private directories are made.
        memory_mb: what the programs may take together, MB of 2^20 bytes; this machine's memory by default.
    """

    name = LOCAL

    def __init__(self, cores: int = 0, max_threads: int = 0, scratch: str = "", memory_mb: int = 0) -> None:
        self.cores = cores or len(os.sched_getaffinity(0))
        self.most_threads = min(max_threads or self.cores, self.cores)
        self._scratch = scratch
        self._memory_mb = memory_mb or machine_memory_mb()

    @property
    def memory_rule(self) -> MemoryRule:
        """No tomodir can have more than this machine."""
        return MemoryRule(0, self._memory_mb)

    def plan(self, work: Sequence[ClassWork]) -> list[ArrayRequest]:
        """Return the one pilot's share of each class."""
        return [self._share(one) for one in work]

    def _share(self, work: ClassWork) -> ArrayRequest:
        side_by_side = max(1, self.cores // work.threads)
        largest = sum(sorted(work.needs_bytes, reverse=True)[:side_by_side])
        memory = self.memory_rule.job_bytes(largest)
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
        process = start_pilot(batch, submission, self.cores, self._scratch, self._memory_mb)
        submission = record_process(batch.paths, submission, process.pid)
        return [
            Started(submission, f"a pilot with {plural(self.cores, 'core')} on this machine, process {process.pid}")
        ]


def machine_memory_mb() -> int:
    """Return the memory of this machine, or of the control group that this process is confined to: MB of 2^20 bytes."""
    found = [os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")]
    for path in own_files("memory.max", "memory.limit_in_bytes"):
        # "max", or a number near 2^63, where there is no limit.
        with contextlib.suppress(OSError, ValueError), open(path, encoding="ascii") as stream:
            found.append(int(stream.read()))
    return min(found) >> 20


def pilot_argv(batch: Batch, submission_token: str, cores: int, scratch: str, memory_mb: int = 0) -> list[str]:
    """Return how a pilot of a batch is started on this machine."""
    argv = [sys.executable, "-I", "-S", batch.paths.pilot, batch.paths.directory, "--cores", str(cores)]
    if memory_mb:
        argv += ["--memory-mb", str(memory_mb)]
    if submission_token:
        argv += ["--submission", submission_token]
    argv += group_argv(batch)
    if scratch:
        argv += ["--scratch", scratch]
    return argv


def group_argv(batch: Batch) -> list[str]:
    """Return what a pilot is told of the groups whose members' batches it may run."""
    groups = trusted_groups(batch.paths.root) if not owns(batch.paths.directory) else ()
    return [word for group_id in groups for word in ("--share-group", str(group_id))]


def start_pilot(
    batch: Batch, submission: Submission, cores: int, scratch: str, memory_mb: int = 0
) -> subprocess.Popen[bytes]:
    """Start a pilot that goes on when the client and its terminal are gone; its output goes to ``logs/``."""
    directory = os.path.join(batch.paths.logs, submission.token)
    make_directories(directory)
    with open(os.path.join(directory, "pilot.out"), "ab") as log:
        share(log.fileno(), directory)
        return subprocess.Popen(
            pilot_argv(batch, submission.token, cores, scratch, memory_mb),
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
            env={key: value for key, value in os.environ.items() if not key.startswith("PYTHON")},
        )


def record_process(paths: BatchPaths, submission: Submission, pid: int) -> Submission:
    """Write down which process of this machine a submission is."""
    who = Who(socket.gethostname(), boot_id(), pid, start_ticks(pid) or 0, login_name(), pid_namespace())
    return record_started(paths, submission, who)
