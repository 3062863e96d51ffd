"""`crh-batch profile test`: real jobs of a minute that look at the nodes, started as a batch's pilots are.

They use the same job script, directives and set-up lines. The first job looks at its node; a second one, kept off that
node where there are others, then tries the shared filesystem together with it.
"""

from __future__ import annotations

import contextlib
import os
import re
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

from crh_batch.engines.array import ArrayEngine
from crh_batch.engines.programs import find_program, freeze_pilot, freeze_programs
from crh_batch.engines.trial_directory import last_lines, read_json, trial_directory
from crh_batch.errors import HostError, ProgramMissing, SchedulerError
from crh_batch.hosts.base import Host
from crh_batch.ledger import durable
from crh_batch.ledger.batch import Batch
from crh_batch.ledger.paths import BatchPaths
from crh_batch.ledger.settings import Settings, write_settings
from crh_batch.ledger.submissions import Submission
from crh_batch.pilot.trial import ALONE, HERE, PEER_S, RESULT, SIGNAL_S, TRIAL
from crh_batch.plan.arrays import ClassWork
from crh_batch.profile import Profile
from crh_batch.schedulers.base import JobRow, JobState, Scheduler

# A short job whose warning comes early. Slurm sends it up to a minute before it was asked for.
TRIAL_MINUTES = 2
TRIAL_WARN_S = 100
# A first look, then less often: the queue is the site's, and asking costs it something.
_POLL_S = 0.3
_ASK_EVERY_S = 3.0
# For the second job: long enough for a scheduler that looks every 15 s, shorter than the first one waits.
_SECOND_S = PEER_S - 10
# For all that a task does, and until the queue has forgotten a cancelled one.
_RUN_S = PEER_S + SIGNAL_S + 60
_GONE_S = 30.0
# Answers in a row that don't know a job: it has ended, and the queue has forgotten it.
_FORGOTTEN_AFTER = 4

_THREADS = 2
_PEAK_BYTES = 16 << 20


@dataclass
class TrialJob:
    """One of the two jobs.

    Args:
        here: what it wrote as it began; None if it didn't begin.
        result: what it wrote at its end; None if it didn't come so far.
        state: the scheduler's last word about it, with its reason.
        has_ended: whether that word says that it is over.
        unknown: how many answers in a row did not know it.
        output: the last lines that it printed.
    """

    submission: Submission
    here: dict[str, Any] | None = None
    result: dict[str, Any] | None = None
    state: str = ""
    has_ended: bool = False
    unknown: int = 0
    output: str = ""


@dataclass
class TrialReport:
    """What the trial found.

    Args:
        missing: programs that aren't here already.
        jobs: one or two.
        pending: why the first one did not begin in time; empty if it did.
        alone: why there was no second one; empty if there was.
        kept: the directory, if it was to be kept.
    """

    scheduler: str
    missing: list[ProgramMissing] = field(default_factory=list)
    jobs: list[TrialJob] = field(default_factory=list)
    pending: str = ""
    alone: str = ""
    kept: str = ""


class Trial:
    """Submits the jobs and waits for what they write.

    Args:
        root: the survey; the trial's directory lies where batches lie.
        timeout_s: how long the first job may wait in the queue.
        on_talk: told what is going on.
    """

    def __init__(
        self,
        root: str,
        scheduler: Scheduler,
        host: Host,
        profile: Profile,
        *,
        timeout_s: float,
        on_talk: Callable[[str], None] = lambda text: None,
    ) -> None:
        self._root = root
        self._scheduler = scheduler
        self._host = host
        self._asked = profile
        self._profile = replace(
            profile, time_minutes=TRIAL_MINUTES, warn_s=TRIAL_WARN_S, throttle=0, whole_nodes=False, memory_mb=0
        )
        self._timeout_s = timeout_s
        self._talk = on_talk

    def run(self, *, keep: bool = False) -> TrialReport:
        """Run the trial.

        Args:
            keep: leave the directory.

        Raises:
            ProfileError: the profile names what isn't there, or no partition fits.
            SchedulerError, HostError: it refused the first job, or doesn't answer.
            LedgerError: the directory can't be made.
        """
        report = TrialReport(self._scheduler.name)
        engine = ArrayEngine(self._scheduler, self._host, self._profile)
        threads = min(_THREADS, engine.most_threads)
        # Asked first, with the profile as it is: what no partition fits must show before anything is written.
        ArrayEngine(self._scheduler, self._host, self._asked).plan([ClassWork(threads, [1.0], [_PEAK_BYTES])])
        with trial_directory(self._root, keep=keep) as paths:
            report.kept = paths.directory if keep else ""
            batch = self._prepare(paths, report)
            try:
                self._run_jobs(batch, engine, threads, report)
            finally:
                self._end(batch, report)
        return report

    def _prepare(self, paths: BatchPaths, report: TrialReport) -> Batch:
        programs = {}
        for name in ("CRMod", "CRTomo"):
            try:
                programs[name] = find_program(name, self._profile)
            except ProgramMissing as error:
                report.missing.append(error)
        write_settings(
            paths,
            Settings(
                links=durable.find_link_kind(paths.names),
                classes=(),
                programs=freeze_programs(paths, programs, self._profile.is_inside_container),
                scratch=self._profile.scratch,
                container=self._profile.container_words,
            ),
        )
        freeze_pilot(paths, "crh_batch.pilot.trial")
        return Batch(paths.directory)

    def _run_jobs(self, batch: Batch, engine: ArrayEngine, threads: int, report: TrialReport) -> None:
        first = self._submit(batch, engine, threads, report)
        self._wait(batch, first, self._timeout_s, lambda: first.here is not None)
        if first.here is None:
            report.pending = "" if first.has_ended else first.state or "unknown to the queue"
            return
        self._talk(f"job {first.submission.job_id} began on {first.here['node']}")
        report.alone = self._second(batch, engine, threads, report)
        if report.alone:
            durable.write_durable(os.path.join(batch.paths.directory, TRIAL, ALONE), b"")
        for job in report.jobs:
            self._wait(batch, job, _RUN_S, lambda job=job: job.result is not None)  # type: ignore[misc]

    def _second(self, batch: Batch, engine: ArrayEngine, threads: int, report: TrialReport) -> str:
        """Start the second job; return why there is none."""
        node = str((report.jobs[0].here or {})["node"])
        nodes = sum(one.nodes for one in engine.limits.partitions)
        if nodes != 1 and re.fullmatch(r"[\w.-]+", node):
            lines = (*self._profile.extra_directives, self._scheduler.away_from(node))
            engine = ArrayEngine(self._scheduler, self._host, replace(self._profile, extra_directives=lines))
        try:
            second = self._submit(batch, engine, threads, report)
        except (SchedulerError, HostError) as error:
            return error.message
        self._wait(batch, second, _SECOND_S, lambda: second.here is not None)
        if second.here is not None:
            self._talk(f"job {second.submission.job_id} began on {second.here['node']}")
            return ""
        report.jobs.remove(second)
        self._cancel([second])
        return f"a second job did not begin within {_SECOND_S:.0f} s ({second.state or 'nothing is known of it'})"

    def _submit(self, batch: Batch, engine: ArrayEngine, threads: int, report: TrialReport) -> TrialJob:
        (request,) = engine.plan([ClassWork(threads, [1.0], [_PEAK_BYTES])])
        (started,) = engine.start(batch, [request])
        self._talk(f"submitted {started.where}")
        job = TrialJob(started.submission)
        report.jobs.append(job)
        return job

    # ---- waiting

    def _wait(self, batch: Batch, job: TrialJob, timeout_s: float, is_there: Callable[[], bool]) -> None:
        """Look for what a job writes until it is there, the job has ended, or time is up."""
        deadline = time.monotonic() + timeout_s
        next_question = time.monotonic() + _ASK_EVERY_S
        said = ""
        while True:
            _read(batch, job)
            if is_there() or time.monotonic() > deadline:
                return
            if time.monotonic() >= next_question:
                row = self._ask(job)
                next_question = time.monotonic() + _ASK_EVERY_S
                if job.has_ended:
                    # RACE: what it wrote last may come into sight after its end.
                    time.sleep(1.0)
                    _read(batch, job)
                    return
                if row is not None and row.state is JobState.PENDING and job.state != said:
                    said = job.state
                    self._talk(f"job {job.submission.job_id} waits: {said}")
            time.sleep(_POLL_S)

    def _ask(self, job: TrialJob) -> JobRow | None:
        """Ask the queue about a job; None if it doesn't know it or doesn't answer."""
        tokens = [job.submission.token]
        with contextlib.suppress(SchedulerError, HostError):
            for argv in self._scheduler.queue_argvs(tokens):
                for row in self._scheduler.parse_queue(self._host.run(argv), tokens):
                    reason = "" if row.reason in ("", "None") else f" ({row.reason})"
                    job.state = f"{row.raw_state}{reason}"
                    job.has_ended = row.state is JobState.ENDED
                    job.unknown = 0
                    return row
            job.unknown += 1
            job.has_ended = job.unknown >= _FORGOTTEN_AFTER
        return None

    # ---- the end

    def _end(self, batch: Batch, report: TrialReport) -> None:
        """Cancel what has not come to its end, and keep what jobs printed."""
        open_jobs = [job for job in report.jobs if job.result is None]
        if open_jobs:
            self._cancel(open_jobs)
        # All that has been started must be over before its directory goes.
        deadline = time.monotonic() + _GONE_S
        for job in report.jobs:
            while time.monotonic() < deadline:
                row = self._ask(job)
                if row is None or row.state is JobState.ENDED:
                    break
                time.sleep(0.5)
        for job in report.jobs:
            _read(batch, job)
            job.output = last_lines(os.path.join(batch.paths.logs, job.submission.token))

    def _cancel(self, jobs: list[TrialJob]) -> None:
        with contextlib.suppress(HostError):
            self._host.run(self._scheduler.cancel_argv([job.submission.job_id for job in jobs]))


def _read(batch: Batch, job: TrialJob) -> None:
    base = os.path.join(batch.paths.directory, TRIAL, job.submission.token)
    job.here = job.here or read_json(base + HERE)
    job.result = job.result or read_json(base + RESULT)
