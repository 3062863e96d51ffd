"""Array jobs of a scheduler: submitted once each, by an intent with a token."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from crh_batch.engines.base import Started
from crh_batch.engines.job_scripts import job_script
from crh_batch.engines.sending import describe, send, write_script
from crh_batch.hosts.base import Host
from crh_batch.ledger.batch import Batch
from crh_batch.ledger.memory import MemoryRule
from crh_batch.ledger.submissions import record_intent
from crh_batch.plan.arrays import ArrayRequest, ClassWork, plan_array, plan_nodes
from crh_batch.plan.partitions import Need, fitting
from crh_batch.profile import Profile
from crh_batch.schedulers.base import ArrayScript, Limits, Scheduler


@dataclass(frozen=True)
class Other:
    """What a job runs in the place of the pilot.

    Args:
        module: of this package; empty for the pilot.
        driver: the directory below ``dask/`` with what it needs to know.
        overhead_bytes: how much more memory than a pilot it takes for itself.
    """

    module: str = ""
    driver: str = ""
    overhead_bytes: int = 0


PILOT = Other()


class ArrayEngine:
    """Starts arrays on a scheduler, through a host that has its commands.

    Args:
        stage: the number of the batch's stage that they run in; 0 where they see this filesystem.
    """

    def __init__(self, scheduler: Scheduler, host: Host, profile: Profile, *, stage: int = 0) -> None:
        self.scheduler = scheduler
        self.host = host
        self.profile = profile
        self._stage = stage
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
            answers = [self.host.run(argv) for argv in self.scheduler.limits_argvs(self.profile)]
            answers += [self.host.run(argv) for argv in self.scheduler.more_limits_argvs(answers, self.profile)]
            self._limits = self.scheduler.parse_limits(answers, self.profile)
        return self._limits

    @property
    def most_threads(self) -> int:
        """Cores for one tomodir: the profile's, else those of the largest node at hand."""
        return self.profile.max_threads or self.limits.cores or 1

    @property
    def memory_rule(self) -> MemoryRule:
        """What the profile says, and at most the memory of the largest node that jobs may go to.

        Raises:
            Unreachable: the scheduler doesn't answer.
            ProfileError: the profile names something that the scheduler doesn't know.
        """
        profile = self.profile
        kinds = [kind for one in self.limits.partitions for kind in one.kinds]
        most_mb = profile.max_memory_mb or max([self.limits.memory_mb, *(kind.memory_mb for kind in kinds)])
        if profile.whole_nodes:
            return MemoryRule(0, profile.memory_mb or most_mb)
        return MemoryRule(profile.memory_mb, most_mb)

    def plan(self, work: Sequence[ClassWork]) -> list[ArrayRequest]:
        """Size the arrays, one for each class or one of whole nodes, and choose the partitions that each fits into.

        Raises:
            ProfileError: none of the allowed partitions has nodes or a time limit large enough.
        """
        size, most = self.limits.max_array_size, self.profile.max_pilots
        if not self.profile.whole_nodes:
            return [self._placed(plan_array(one, most, size, self.memory_rule), [one]) for one in work]
        cores = self.profile.cores or self.limits.cores or max(one.threads for one in work)
        nodes = plan_nodes(work, cores, most, size, self.memory_rule, self.profile.memory_mb)
        return [self._placed(nodes, work)]

    def _placed(self, request: ArrayRequest, work: Sequence[ClassWork]) -> ArrayRequest:
        """Return a request with those partitions in which a job of its size can run."""
        if not self.limits.partitions:
            return request
        memory_mb = 0 if self.profile.memory == "none" else -(-request.memory_bytes // (1 << 20))
        longest_s = max(seconds for one in work for seconds in one.estimates_s)
        # A quality of service may lift the partition's time limit, and only the scheduler knows.
        minutes = 0 if self.profile.qos else self.profile.time_minutes
        found = fitting(self.limits.partitions, Need(request.cores, memory_mb, minutes, longest_s))
        if not self.profile.partition:
            # Nobody asked for a partition, so none is named.
            return request
        return replace(request, partition=",".join(one.name for one in found))

    def scripts(self, batch_id: str, requests: Sequence[ArrayRequest]) -> list[str]:
        """Return the scripts as they would be submitted, with a token that stands for any."""
        return [self._script(batch_id, "token", request) for request in requests]

    def _script(self, batch_id: str, token: str, request: ArrayRequest, other: Other = PILOT) -> str:
        script = ArrayScript(
            token,
            batch_id,
            request.pilots,
            request.cores,
            request.memory_bytes,
            request.threads,
            request.partition,
            request.after_job,
            self.limits.parallel_environment,
            request.deadline,
            other.module,
            other.driver,
            other.overhead_bytes,
        )
        return job_script(self.scheduler, script, self.profile)

    def start(self, batch: Batch, requests: Sequence[ArrayRequest]) -> list[Started]:
        """Submit the arrays: intent first, then the scheduler's command, then the job's id; follow-ups behind each.

        Raises:
            SchedulerError: the scheduler refused (written down) or may have submitted (the intent stays open).
            HostError: its command can't be started.
        """
        # A fault in the template must show before anything is written down.
        self.scripts(batch.batch_id, requests)
        started = []
        for request in requests:
            for _ in range(1 if request.chain is None else 1 + self.profile.follow_ups - request.chain):
                started.append(self._start_array(batch, request))
                request = replace(request, after_job=started[-1].submission.job_id)
        return started

    def other_script(self, batch_id: str, request: ArrayRequest, other: Other) -> str:
        """Return the script of another module's jobs, with a token that stands for any."""
        return self._script(batch_id, "token", self._with_overhead(request, other), other)

    def start_other(self, batch: Batch, request: ArrayRequest, other: Other) -> Started:
        """Submit jobs that run another module in the place of the pilot; the caller has the batch's custody.

        Raises:
            SchedulerError, HostError: as ``start`` does.
        """
        return self._start_array(batch, self._with_overhead(request, other), other)

    def _with_overhead(self, request: ArrayRequest, other: Other) -> ArrayRequest:
        return replace(request, memory_bytes=request.memory_bytes + other.overhead_bytes)

    def _start_array(self, batch: Batch, request: ArrayRequest, other: Other = PILOT) -> Started:
        submission = record_intent(
            batch.paths,
            self.name,
            request.threads,
            request.pilots,
            cores=request.cores,
            memory_bytes=request.memory_bytes,
            after=request.after_job,
            host=self.host.name,
            stage=self._stage,
        )
        write_script(batch, submission, self._script(batch.batch_id, submission.token, request, other))
        submission = send(batch, submission, self.scheduler, self.host)
        return Started(submission, describe(submission))
