"""Array jobs of Slurm: one array for each width, submitted once each by an intent with a token."""

from __future__ import annotations

import os
from collections.abc import Sequence

from crh_batch.engines.base import SLURM, Started, plural
from crh_batch.engines.job_scripts import slurm_script
from crh_batch.errors import HostError, SchedulerError
from crh_batch.hosts.base import Host
from crh_batch.ledger import durable
from crh_batch.ledger.batch import Batch
from crh_batch.ledger.submissions import Submission, record_intent, record_refused, record_submitted
from crh_batch.plan.arrays import ArrayRequest, plan_array
from crh_batch.profile import Profile
from crh_batch.schedulers import slurm
from crh_batch.schedulers.base import ArrayScript


class SlurmEngine:
    """Starts arrays on Slurm, through a host that has its commands."""

    name = SLURM

    def __init__(self, host: Host, profile: Profile) -> None:
        self._host = host
        self._profile = profile
        self._limits: slurm.Limits | None = None

    @property
    def limits(self) -> slurm.Limits:
        """What the scheduler allows; asked for once.

        Raises:
            Unreachable: it doesn't answer.
        """
        if self._limits is None:
            size = slurm.parse_max_array_size(self._host.run(slurm.CONFIG_ARGV))
            nodes = self._host.run(slurm.nodes_argv(self._profile.partition))
            self._limits = slurm.Limits(size, slurm.parse_cores(nodes, self._profile.partition))
        return self._limits

    @property
    def most_threads(self) -> int:
        """Cores for one tomodir: the profile's, else those of the partition's largest node."""
        return self._profile.max_threads or self.limits.cores or 1

    def plan(self, threads: int, estimates_s: Sequence[float], peaks_bytes: Sequence[int]) -> ArrayRequest:
        """Size the array of one class."""
        size = self.limits.max_array_size
        return plan_array(threads, estimates_s, peaks_bytes, self._profile.max_pilots, size)

    def scripts(self, batch_id: str, requests: Sequence[ArrayRequest]) -> list[str]:
        """Return the scripts as they would be submitted, with a token that stands for any."""
        return [self._script(batch_id, "token", request) for request in requests]

    def _script(self, batch_id: str, token: str, request: ArrayRequest) -> str:
        script = ArrayScript(token, batch_id, request.pilots, request.threads, request.memory_bytes, request.threads)
        return slurm_script(script, self._profile)

    def start(self, batch: Batch, requests: Sequence[ArrayRequest]) -> list[Started]:
        """Submit one array a class: intent first, then sbatch, then the job's id.

        Raises:
            SchedulerError: sbatch refused (written down) or may have submitted (the intent stays open).
            HostError: sbatch can't be started.
        """
        # A fault in the template must show before anything is written down.
        self.scripts(batch.batch_id, requests)
        started = []
        for request in requests:
            submission = record_intent(batch.paths, self.name, request.threads, request.pilots)
            script = os.path.join(batch.paths.jobs, f"{submission.token}.sh")
            os.makedirs(_log_directory(batch, submission), exist_ok=True)
            durable.write_durable(script, self._script(batch.batch_id, submission.token, request).encode(), mode=0o777)
            submission = self._submit(batch, submission, script)
            size = f"{plural(request.pilots, 'pilot')} of {plural(request.threads, 'core')}"
            where = f"Slurm array {submission.job_id}: {size}"
            started.append(Started(submission, where))
        return started

    def _submit(self, batch: Batch, submission: Submission, script: str) -> Submission:
        try:
            done = self._host.run(slurm.submit_argv(_log_directory(batch, submission), script))
            job_id = slurm.parse_submitted(done)
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
