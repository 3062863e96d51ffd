"""What schedulers were asked for, by the jobs that sessions ran in."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

from crh_batch.ledger.batch import Batch
from crh_batch.ledger.session import SessionHeader
from crh_batch.ledger.submissions import Submission, read_submissions
from crh_batch.report.usage import SessionUse
from crh_batch.schedulers.base import JobUsage

# Submission, job id, task.
JobKey = tuple[str, str, str]


class Jobs:
    """What was asked for each session: by the accounting where it knows the job, else by the ledger.

    Args:
        usages: what the accounting says; None where there is none.
    """

    def __init__(self, batch: Batch, sessions: Sequence[SessionUse], usages: Sequence[JobUsage] | None) -> None:
        self._submissions = {one.token: one for one in read_submissions(batch.paths)}
        self._usages: dict[JobKey, list[JobUsage]] = {}
        for usage in usages or ():
            self._usages.setdefault((usage.token, usage.job_id, usage.task), []).append(usage)
        self._lived: defaultdict[JobKey, float] = defaultdict(float)
        for session in sessions:
            self._lived[job_key(session.header)] += session.core_s

    def requested_cpu_s(self, session: SessionUse) -> float:
        """Return cores times seconds; of a job with several lives each has its part."""
        key = job_key(session.header)
        usages = self._usages.get(key)
        if not usages:
            return session.core_s
        whole = sum(one.cores * one.elapsed_s for one in usages)
        return whole * session.core_s / self._lived[key] if self._lived[key] else 0.0

    def without_session_s(self) -> float:
        """Return cores times seconds of jobs in which no pilot got to work."""
        return sum(
            one.cores * one.elapsed_s for key, usages in self._usages.items() if not self._lived[key] for one in usages
        )

    def memory(self, header: SessionHeader) -> tuple[int | None, int | None]:
        """Return the most memory that a session's job had, and what was asked for; None where unknown."""
        usages = self._usages.get(job_key(header), [])
        asked = [one.requested_memory_bytes for one in usages if one.requested_memory_bytes]
        submission = self._submissions.get(header.submission)
        if not asked and submission is not None and submission.memory_bytes:
            asked = [submission.memory_bytes]
        return max((one.peak_bytes for one in usages if one.peak_bytes), default=None), max(asked, default=None)

    def longest_wait_s(self, sessions: Sequence[SessionUse]) -> float | None:
        """Return the longest time in the queue; a session's beginning stands for its job's where nothing else does."""
        waits = [one.waited_s for usages in self._usages.values() for one in usages if one.waited_s is not None]
        waits += [
            max(0.0, session.header.started - submission.time)
            for session in sessions
            if not session.header.job.restart and job_key(session.header) not in self._usages
            for submission in self._of_a_queue(session.header)
        ]
        return max(waits, default=None)

    def _of_a_queue(self, header: SessionHeader) -> list[Submission]:
        submission = self._submissions.get(header.submission)
        return [submission] if submission is not None and header.job.scheduler else []


def job_key(header: SessionHeader) -> JobKey:
    """Return the job that a session ran in; outside of jobs each session stands for itself."""
    return header.submission, header.job.job_id or header.token, header.job.task
