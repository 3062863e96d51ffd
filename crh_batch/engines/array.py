"""Array jobs of a scheduler: submitted once each, by an intent with a token."""

from __future__ import annotations

import os
from collections.abc import Sequence

from crh_batch.engines.base import Started, plural
from crh_batch.engines.job_scripts import job_script
from crh_batch.errors import HostError, SchedulerError
from crh_batch.hosts.base import Host
from crh_batch.ledger import durable
from crh_batch.ledger.batch import Batch
from crh_batch.ledger.submissions import Submission, record_intent, record_refused, record_submitted
from crh_batch.plan.arrays import ArrayRequest, ClassWork, plan_array
from crh_batch.profile import Profile
from crh_batch.schedulers.base import ArrayScript, Limits, Scheduler


class ArrayEngine:
    """Starts arrays on a scheduler, through a host that has its commands."""

    def __init__(self, scheduler: Scheduler, host: Host, profile: Profile) -> None:
        self.scheduler = scheduler
        self._host = host
        self._profile = profile
        self._limits: Limits | None = None

    @property
    def name(self) -> str:
        """The scheduler's name."""
        return self.scheduler.name

    @property
    def limits(self) -> Limits:
        """What the scheduler allows; asked for once.

        Raises:
            Unreachable: it doesn't answer.
            ProfileError: the profile names something that the scheduler doesn't know.
        """
        if self._limits is None:
            answers = [self._host.run(argv) for argv in self.scheduler.limits_argvs(self._profile)]
            self._limits = self.scheduler.parse_limits(answers, self._profile)
        return self._limits

    @property
    def most_threads(self) -> int:
        """Cores for one tomodir: the profile's, else those of the largest node at hand."""
        return self._profile.max_threads or self.limits.cores or 1

    def plan(self, work: Sequence[ClassWork]) -> list[ArrayRequest]:
        """Size the arrays, one for each class."""
        size = self.limits.max_array_size
        return [plan_array(one, self._profile.max_pilots, size) for one in work]

    def scripts(self, batch_id: str, requests: Sequence[ArrayRequest]) -> list[str]:
        """Return the scripts as they would be submitted, with a token that stands for any."""
        return [self._script(batch_id, "token", request) for request in requests]

    def _script(self, batch_id: str, token: str, request: ArrayRequest, after_job: str = "") -> str:
        script = ArrayScript(
            token,
            batch_id,
            request.pilots,
            request.cores,
            request.memory_bytes,
            request.threads,
            request.partition,
            after_job,
        )
        return job_script(self.scheduler, script, self._profile)

    def start(self, batch: Batch, requests: Sequence[ArrayRequest]) -> list[Started]:
        """Submit the arrays: intent first, then the scheduler's command, then the job's id.

        Raises:
            SchedulerError: the scheduler refused (written down) or may have submitted (the intent stays open).
            HostError: its command can't be started.
        """
        # A fault in the template must show before anything is written down.
        self.scripts(batch.batch_id, requests)
        return [self._start_array(batch, request) for request in requests]

    def _start_array(self, batch: Batch, request: ArrayRequest, after_job: str = "") -> Started:
        submission = record_intent(batch.paths, self.name, request.threads, request.pilots)
        script = os.path.join(batch.paths.jobs, f"{submission.token}.sh")
        os.makedirs(_log_directory(batch, submission), exist_ok=True)
        content = self._script(batch.batch_id, submission.token, request, after_job)
        durable.write_durable(script, content.encode(), mode=0o777)
        submission = self._submit(batch, submission, script)
        size = f"{plural(request.pilots, 'pilot')} of {plural(request.cores, 'core')}"
        return Started(submission, f"{self.scheduler.title} array {submission.job_id}: {size}")

    def _submit(self, batch: Batch, submission: Submission, script: str) -> Submission:
        try:
            done = self._host.run(self.scheduler.submit_argv(_log_directory(batch, submission), script))
            job_id = self.scheduler.parse_submitted(done)
        except HostError as error:
            record_refused(batch.paths, submission, error.message)
            raise
        except SchedulerError as error:
            if type(error) is SchedulerError:
                record_refused(batch.paths, submission, error.message)
            raise
        return record_submitted(batch.paths, submission, job_id)


def _log_directory(batch: Batch, submission: Submission) -> str:
    return os.path.join(os.path.abspath(batch.paths.logs), submission.token)
