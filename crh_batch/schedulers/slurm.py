"""Slurm as text: what is said to sbatch, squeue, sacct, scancel, scontrol and sinfo, and what they answer.

Sources: the manuals of Slurm 22.05, and answers recorded from it (tests/recorded/slurm).
"""

from __future__ import annotations

import re
import time
from collections.abc import Iterable, Sequence

from crh_batch.errors import MaybeSubmitted, SchedulerError, Unreachable
from crh_batch.hosts.base import Completed
from crh_batch.profile import Profile
from crh_batch.schedulers import slurm_capacity, slurm_site
from crh_batch.schedulers.base import (
    JOB_NAME_PREFIX,
    ArrayScript,
    JobRow,
    JobState,
    Limits,
    expand_tasks,
    is_number,
    limits_of,
)
from crh_batch.schedulers.slurm_words import facts, last_words
from crh_batch.site import Capacity, Site

# sbatch(1), squeue(1) "JOB STATE CODES". A word that isn't here is a newer Slurm's: UNKNOWN, never an error.
_STATES = {
    "PENDING": JobState.PENDING,
    "REQUEUED": JobState.PENDING,
    "REQUEUE_HOLD": JobState.PENDING,
    "REQUEUE_FED": JobState.PENDING,
    "SPECIAL_EXIT": JobState.PENDING,
    "RESV_DEL_HOLD": JobState.PENDING,
    "CONFIGURING": JobState.RUNNING,
    "RUNNING": JobState.RUNNING,
    "COMPLETING": JobState.RUNNING,
    "SUSPENDED": JobState.RUNNING,
    "STOPPED": JobState.RUNNING,
    "RESIZING": JobState.RUNNING,
    "SIGNALING": JobState.RUNNING,
    "STAGE_OUT": JobState.RUNNING,
    "BOOT_FAIL": JobState.ENDED,
    "CANCELLED": JobState.ENDED,
    "COMPLETED": JobState.ENDED,
    "DEADLINE": JobState.ENDED,
    "FAILED": JobState.ENDED,
    "NODE_FAIL": JobState.ENDED,
    "OUT_OF_MEMORY": JobState.ENDED,
    "PREEMPTED": JobState.ENDED,
    "REVOKED": JobState.ENDED,
    "TIMEOUT": JobState.ENDED,
}


def directives(script: ArrayScript, profile: Profile) -> list[str]:
    """Return the sbatch options that the profile asks for; nothing that nobody asked for."""
    lines = []
    for option, value in (
        ("partition", script.partition or ",".join(profile.partitions)),
        ("account", profile.account),
        ("qos", profile.qos),
        ("constraint", profile.constraint),
    ):
        if value:
            lines.append(f"--{option}={value}")
    if profile.nice:
        lines.append(f"--nice={profile.nice}")
    if profile.time_minutes:
        lines.append(f"--time={profile.time_minutes}")
    if script.after_job:
        lines.append(f"--dependency=afterany:{script.after_job}")
    if script.deadline and profile.time_minutes:
        lines.append(f"--deadline={_deadline(script.deadline, profile.time_minutes)}")
    if profile.memory == "mem":
        lines.append(f"--mem={script.memory_mb}M")
    elif profile.memory == "mem-per-cpu":
        lines.append(f"--mem-per-cpu={-(-script.memory_mb // script.cores)}M")
    return lines


def _deadline(deadline: float, minutes: int) -> str:
    """Return Slurm's word for: don't begin after the deadline.

    Slurm takes jobs out of the queue that can't end before its --deadline with all of their time. Pilots make use of
    whatever is left until the user's deadline, so they must only begin before it.
    """
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.localtime(deadline + 60 * minutes))


def submit_argv(directory: str, script: str) -> list[str]:
    """Return how a script is submitted.

    Args:
        directory: where its tasks start and their output goes; passed as an argument, so that no shell ever reads it.
            Names with ``%``, backslashes or line breaks work so (seen with 22.05), and with --output they don't.
        script: the script's path.
    """
    return ["sbatch", "--parsable", f"--chdir={directory}", script]


# slurm_errno.c, the errors of communication: the question may have arrived, only the answer did not.
_ANSWER_LOST = ("timed out", "communicat", "connect", "Zero Bytes were transmitted", "longer than data received")


def parse_submitted(done: Completed) -> str:
    """Return the job id that sbatch answered.

    Raises:
        MaybeSubmitted: sbatch timed out or failed in a way that leaves open whether the job exists.
        SchedulerError: sbatch refused.
    """
    if done.exit_status == 0:
        # A site's banner may stand before the answer; the answer may be "id;cluster".
        for line in reversed(done.stdout.splitlines()):
            match = re.match(r"([0-9]{1,18})(;[\w.-]+)?\s*\Z", line)
            if match:
                return match.group(1)
        raise MaybeSubmitted(
            f"sbatch answered without a job id: {done.stdout.strip()[:200]!r}",
            "The next command looks for the job by its name before anything is sent again.",
            *facts(done),
        )
    said = last_words(done)
    # A negative status: sbatch was killed, perhaps while it waited for the answer. And only sbatch itself can refuse:
    # silence, or what something between it and us says, tells nothing of the job.
    refused = any(line.startswith("sbatch: ") for line in (done.stderr + "\n" + done.stdout).splitlines())
    if (done.exit_status or -1) < 0 or not refused or any(words in said for words in _ANSWER_LOST):
        raise MaybeSubmitted(
            f"sbatch failed: {said or 'no answer in time'}",
            "The next command looks for the job by its name before anything is sent again.",
            *facts(done),
        )
    raise SchedulerError(
        f"sbatch refused: {said}",
        "Mend the profile (partition, account, time, memory), then run crh-batch submit again; nothing is lost.",
        *facts(done),
    )


_SQUEUE_FORMAT = "%i|%T|%j|%r"


def squeue_argv(job_names: Iterable[str]) -> list[str]:
    """Return one query for all jobs of these names, one row a task, ended ones that Slurm still knows included."""
    names = ",".join(job_names)
    return ["squeue", "--noheader", "--array", "--states=all", f"--name={names}", f"--format={_SQUEUE_FORMAT}"]


def parse_squeue(done: Completed) -> list[JobRow]:
    """Read squeue's answer.

    Raises:
        Unreachable: it failed, timed out, or said something else than rows; nothing is known then.
    """
    if done.exit_status != 0:
        raise Unreachable(
            f"squeue failed: {last_words(done) or 'no answer in time'}",
            "Nothing is taken for dead while the scheduler doesn't answer; try again later.",
            *facts(done),
        )
    rows = []
    for line in _whole_rows(done):
        parts = line.split("|")
        rows += _rows(parts[0], parts[1], parts[2], parts[3] if len(parts) > 3 else "")
    return rows


# "123", "123_4", "123_[4-6,...]"
_ROW = re.compile(r"[0-9]{1,18}(?:\+[0-9]+)?(_([0-9]{1,18}|\[.*))?\|[^|]*\|[^|]+(\||$)")


def _whole_rows(done: Completed) -> list[str]:
    """Return squeue's rows, which a site's banner may stand before, and nothing else may stand among.

    Raises:
        Unreachable: the answer is cut, or is none: what isn't in it may live all the same.
    """
    lines = [line for line in done.stdout.split("\n") if line.strip()]
    first = next((number for number, line in enumerate(lines) if _ROW.match(line)), 0)
    strange = [line for line in lines[first:] if not _ROW.match(line)]
    if strange or (lines and not done.stdout.endswith("\n")):
        raise Unreachable(
            f"squeue: this is not its answer: {(strange or lines)[-1].strip()[:200]!r}",
            "Nothing is taken for dead; try again later.",
            *facts(done),
        )
    return lines[first:]


_SACCT_FIELDS = "JobID,State,JobName"


def sacct_argv(job_names: Iterable[str], since: str) -> list[str]:
    """Return one query of the accounting for all jobs of these names.

    Args:
        since: ``YYYY-MM-DDTHH:MM:SS``; without it sacct looks at today only.
    """
    return [
        "sacct",
        "--noheader",
        "--parsable2",
        "--allocations",
        f"--name={','.join(job_names)}",
        f"--starttime={since}",
        f"--format={_SACCT_FIELDS}",
    ]


def parse_sacct(done: Completed) -> list[JobRow] | None:
    """Read sacct's answer; None where accounting is off or doesn't answer, for everything must work without it."""
    if done.exit_status != 0:
        return None
    rows = []
    try:
        for line in done.stdout.splitlines():
            parts = line.split("|")
            if len(parts) >= 3:
                rows += _rows(parts[0], parts[1], parts[2], "")
    except Unreachable:
        return None
    return rows


def cancel_argv(job_ids: Sequence[str]) -> list[str]:
    """Return how jobs are cancelled: SIGTERM first, so that pilots can say how far they came."""
    return ["scancel", *job_ids]


def state_of(word: str) -> JobState:
    """Return what a state's word means; ``CANCELLED by 1000`` and a trailing ``+`` are understood."""
    first = word.split()[0].rstrip("+") if word.split() else ""
    return _STATES.get(first, JobState.UNKNOWN)


_TASKS = re.compile(r"([0-9]{1,18})_\[([^\]]*)(\]?)")


def _rows(identifier: str, word: str, name: str, reason: str) -> list[JobRow]:
    state = state_of(word)
    starved = word.startswith("OUT_OF_ME")
    match = _TASKS.match(identifier)
    if match:
        # Slurm cuts long lists in the middle of a number (recorded), which is another one then.
        listed = match.group(2) if match.group(3) else match.group(2).rpartition(",")[0]
        return [JobRow(match.group(1), task, state, word, name, reason, starved) for task in expand_tasks(listed)]
    job_id, _, task = identifier.partition("_")
    return [JobRow(job_id, task, state, word, name, reason, starved)] if is_number(job_id) else []


# squeue and sacct take all names on one command line.
_NAMES_A_QUERY = 500


class Slurm:
    """Slurm as a Scheduler."""

    name = "slurm"
    title = "Slurm"
    submit_program = "sbatch"
    sign = ""
    template = "slurm.sh.j2"
    accounting_program = "sacct"
    # Ended tasks stay in squeue's answer for a while (MinJobAge).
    forgets_ended_tasks = False

    def directives(self, script: ArrayScript, profile: Profile) -> list[str]:
        """See Scheduler."""
        return directives(script, profile)

    def submit_argv(self, directory: str, script: str) -> list[str]:
        """See Scheduler."""
        return submit_argv(directory, script)

    def parse_submitted(self, done: Completed) -> str:
        """See Scheduler."""
        return parse_submitted(done)

    def queue_argvs(self, tokens: Sequence[str]) -> list[list[str]]:
        """See Scheduler."""
        return [squeue_argv(names) for names in _names(tokens)]

    def parse_queue(self, done: Completed, tokens: Sequence[str]) -> list[JobRow]:
        """See Scheduler."""
        return parse_squeue(done)

    def stuck_argv(self, rows: Sequence[JobRow]) -> list[str]:
        """See Scheduler; where a directory can't be reached, Slurm starts jobs elsewhere."""
        return []

    def parse_stuck(self, done: Completed) -> list[str]:
        """See Scheduler."""
        return []

    def free_argv(self, tasks: Sequence[str]) -> list[str]:
        """See Scheduler."""
        return []

    def accounting_argvs(self, tokens: Sequence[str], since: float) -> list[list[str]]:
        """See Scheduler."""
        start = time.strftime("%Y-%m-%dT%H:%M:%S", time.localtime(since))
        return [sacct_argv(names, start) for names in _names(tokens)]

    def parse_accounting(self, done: Completed, tokens: Sequence[str], since: float) -> list[JobRow] | None:
        """See Scheduler."""
        return parse_sacct(done)

    def cancel_argv(self, job_ids: Sequence[str]) -> list[str]:
        """See Scheduler."""
        return cancel_argv(job_ids)

    def was_cancelled(self, done: Completed) -> bool:
        """See Scheduler."""
        return done.exit_status == 0 or "Invalid job id" in done.stderr

    def limits_argvs(self, profile: Profile) -> list[list[str]]:
        """See Scheduler."""
        return [list(slurm_site.CONFIG_ARGV), slurm_site.partitions_argv(profile.partitions)]

    def more_limits_argvs(self, answers: Sequence[Completed], profile: Profile) -> list[list[str]]:
        """See Scheduler."""
        return []

    def parse_limits(self, answers: Sequence[Completed], profile: Profile) -> Limits:
        """See Scheduler."""
        config, nodes = answers
        partitions = slurm_site.parse_partitions(nodes, profile.partitions)
        return limits_of(slurm_site.parse_max_array_size(config), partitions, profile)

    def capacity_argvs(self, profile: Profile) -> list[list[str]]:
        """See Scheduler."""
        return [slurm_capacity.argv(profile.partitions)]

    def parse_capacity(self, answers: Sequence[Completed], profile: Profile) -> Capacity:
        """See Scheduler."""
        return slurm_capacity.parse_capacity(answers[0], profile.partitions)

    def submitting_argvs(self) -> list[list[str]]:
        """See Scheduler."""
        return []

    def nodes_may_submit(self, answers: Sequence[Completed]) -> bool:
        """See Scheduler."""
        return True

    def site_questions(self, answers: Sequence[Completed], user: str) -> list[list[str]]:
        """See Scheduler."""
        return slurm_site.questions(answers, user)

    def parse_site(self, answers: Sequence[Completed], user: str) -> Site:
        """See Scheduler."""
        return slurm_site.parse_site(answers, user)

    def away_from(self, node: str) -> str:
        """See Scheduler."""
        return f"#SBATCH --exclude={node}"

    def last_words(self, done: Completed) -> str:
        """See Scheduler."""
        return last_words(done)


def _names(tokens: Sequence[str]) -> list[list[str]]:
    named = [JOB_NAME_PREFIX + token for token in tokens]
    return [named[start : start + _NAMES_A_QUERY] for start in range(0, len(named), _NAMES_A_QUERY)]
