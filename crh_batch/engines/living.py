"""What lives: one query to the scheduler for all jobs of a batch, and this machine's process table.

Three answers: alive, dead, unknown. A scheduler that doesn't answer, or has not heard of a job yet, makes nothing dead.
"""

from __future__ import annotations

import contextlib
import json
import os
import time
from collections.abc import Sequence

from crh_batch.engines.base import LOCAL
from crh_batch.engines.machines import by_scheduler
from crh_batch.engines.unstick import unstick
from crh_batch.errors import HostError, Unreachable
from crh_batch.hosts.base import Host
from crh_batch.ledger import durable
from crh_batch.ledger.batch import Batch
from crh_batch.ledger.identity import Verdict, boot_id, verdict_here
from crh_batch.ledger.reading import FILE_LIMIT_BYTES, any_number, parse_json, read_bytes
from crh_batch.ledger.session import SessionHeader
from crh_batch.ledger.submissions import Submission
from crh_batch.schedulers.base import JobRow, JobState, Scheduler
from crh_batch.schedulers.known import SCHEDULERS

# A job that two answers in a row don't know is over, if they lie this far apart: squeue forgets ended jobs after
# MinJobAge, and a controller that has just started may not know all jobs yet.
FORGOTTEN_AFTER_S = 60.0


class Living:
    """What lives of a batch, as this machine's process table and one look at the scheduler tell.

    Args:
        rows: the tasks that they know, None if nothing could be learned.
        forgotten: tokens of submissions that the queue has not known for FORGOTTEN_AFTER_S.
        accounted: tokens of submissions that only the accounting knows.
        silent: tokens of submissions whose scheduler did not answer.
    """

    def __init__(
        self,
        rows: Sequence[JobRow] | None,
        forgotten: frozenset[str],
        accounted: frozenset[str] = frozenset(),
        silent: frozenset[str] = frozenset(),
    ) -> None:
        self.answered = rows is not None and not silent
        self.silent = silent
        self._forgotten = forgotten
        self._accounted = accounted
        # By token too: a controller that crashed may give a job's number out again (seen).
        self._by_task = {(row.token, row.job_id, row.task): row for row in rows or ()}
        self._by_token: dict[str, list[JobRow]] = {}
        for row in rows or ():
            self._by_token.setdefault(row.token, []).append(row)

    def verdict(self, header: SessionHeader) -> Verdict:
        """Return whether a session lives: by its process where that can be seen, else by its job."""
        here = verdict_here(header.who)
        if here is not Verdict.UNKNOWN or header.job.scheduler not in SCHEDULERS:
            return here
        row = self._by_task.get((header.submission, header.job.job_id, header.job.task))
        if row is None:
            is_over = header.submission in self._forgotten or self._has_left(header)
            return Verdict.DEAD if is_over else Verdict.UNKNOWN
        if row.state is JobState.ENDED:
            return Verdict.DEAD
        # PENDING: the job was requeued; its next life will declare this one's claims lost by itself.
        return Verdict.ALIVE if row.state is JobState.RUNNING else Verdict.UNKNOWN

    def ran_out_of_memory(self, header: SessionHeader) -> bool:
        """Return whether the scheduler says that a session's job was ended for want of memory."""
        row = self._by_task.get((header.submission, header.job.job_id, header.job.task))
        return row is not None and row.state is JobState.ENDED and row.out_of_memory

    def _has_left(self, header: SessionHeader) -> bool:
        """Return whether a session's task has ended, as the queue has its job and not the task.

        The accounting has no task before it has ended, so that one is missing there says nothing.
        """
        if header.submission in self._accounted:
            return False
        rows = self._by_token.get(header.submission, ())
        is_known = any(row.job_id == header.job.job_id for row in rows)
        return is_known and SCHEDULERS[header.job.scheduler].forgets_ended_tasks

    def submission(self, submission: Submission) -> Verdict:
        """Return whether pilots of a submission live or wait."""
        if submission.refused:
            return Verdict.DEAD
        if submission.engine == LOCAL:
            return verdict_here(submission.process) if submission.process is not None else Verdict.DEAD
        rows = self._by_token.get(submission.token)
        if not rows:
            return Verdict.DEAD if submission.token in self._forgotten else Verdict.UNKNOWN
        if any(row.state in (JobState.PENDING, JobState.RUNNING) for row in rows):
            return Verdict.ALIVE
        return Verdict.DEAD if all(row.state is JobState.ENDED for row in rows) else Verdict.UNKNOWN

    def job_id(self, token: str) -> str:
        """Return the job that a token belongs to; empty if there is none in the answer."""
        return next(iter(self.job_ids(token)), "")

    def job_ids(self, token: str) -> list[str]:
        """Return all jobs that a token belongs to: more than one if the scheduler took it in late, and again."""
        return list(dict.fromkeys(row.job_id for row in self._by_token.get(token, ())))

    def unended_job_ids(self, token: str) -> list[str]:
        """Return those of them that wait or run."""
        rows = self._by_token.get(token, ())
        return list(dict.fromkeys(row.job_id for row in rows if row.state in (JobState.PENDING, JobState.RUNNING)))


def look(batch: Batch, host: Host, *, changes: bool = True) -> Living:
    """Ask each scheduler once about all submissions of a batch, and its accounting for those that it has forgotten.

    Never raises for a scheduler that doesn't answer: nothing is known then.

    Args:
        changes: whether the answer may be noted down, and stuck tasks be let go again.
    """
    rows: list[JobRow] = []
    missing: list[str] = []
    accounted: set[str] = set()
    silent: set[str] = set()
    for scheduler, machine, asked in by_scheduler(batch, host):
        try:
            queued = _queue(scheduler, machine, asked)
        except (Unreachable, HostError):
            silent.update(one.token for one in asked)
            continue
        if changes:
            unstick(scheduler, machine, queued)
        known = {row.token for row in queued}
        ended = _accounting(scheduler, machine, [one for one in asked if one.token not in known])
        accounted.update(row.token for row in ended)
        # A scheduler may keep another user's jobs to itself (Slurm's PrivateData, qstat -u), so to be told nothing of
        # them says nothing.
        mine = [one for one in asked if one.uid in (None, os.geteuid())]
        missing += [one.token for one in mine if one.token not in known]
        rows += queued + ended
    forgotten = remember_missing(batch, missing, note=changes) if missing or rows else frozenset()
    return Living(rows, forgotten, frozenset(accounted), frozenset(silent))


def _queue(scheduler: Scheduler, host: Host, asked: Sequence[Submission]) -> list[JobRow]:
    tokens = [one.token for one in asked]
    rows: list[JobRow] = []
    for argv in scheduler.queue_argvs(tokens):
        rows += scheduler.parse_queue(host.run(argv), tokens)
    return rows


def _accounting(scheduler: Scheduler, host: Host, submissions: Sequence[Submission]) -> list[JobRow]:
    if not submissions:
        return []
    tokens = [one.token for one in submissions]
    # A day's grace for clocks that differ.
    since = min(one.time for one in submissions) - 86400
    rows: list[JobRow] = []
    with contextlib.suppress(HostError):
        if not host.has(scheduler.accounting_program):
            return []
        for argv in scheduler.accounting_argvs(tokens, since):
            rows += scheduler.parse_accounting(host.run(argv), tokens, since) or []
    return rows


def remember_missing(
    batch: Batch, missing: Sequence[str], *, now: float | None = None, note: bool = True
) -> frozenset[str]:
    """Note which submissions no answer knew, and return those that have been unknown for FORGOTTEN_AFTER_S.

    Times are of this boot's monotonic clock, since clocks of machines differ and may be set; a note from another
    machine or boot is begun anew. The note is a hint: losing it costs a minute.
    """
    now = time.monotonic() if now is None else now
    boot = boot_id()
    try:
        noted = parse_json(read_bytes(batch.paths.liveness, FILE_LIMIT_BYTES))
        noted_times = noted["first_missing"].items() if noted.get("boot_id") == boot else ()
        first = {token: any_number(began) for token, began in noted_times}
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        first = {}
    # This clock begins with the boot; a time that can't be counts for nothing, or all would be forgotten at once.
    first = {token: began for token, began in first.items() if 0 <= began <= now}
    since = {token: first.get(token, now) for token in missing}
    if note and since != first:
        content = json.dumps({"boot_id": boot, "first_missing": since}).encode()
        try:
            durable.write_durable(batch.paths.liveness, content)
        except OSError:
            # status must work for those who may only read.
            pass
    return frozenset(token for token, began in since.items() if now - began >= FORGOTTEN_AFTER_S)
