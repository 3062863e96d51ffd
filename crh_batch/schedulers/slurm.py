"""Slurm as text: what is said to sbatch, squeue, sacct, scancel, scontrol and sinfo, and what they answer.

Sources: the manuals of Slurm 22.05, and answers recorded from it (tests/recorded/slurm).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from crh_batch.errors import MaybeSubmitted, ProfileError, SchedulerError, Unreachable, UnreadableAnswer
from crh_batch.hosts.base import Completed
from crh_batch.profile import Profile
from crh_batch.schedulers.base import ArrayScript, JobRow, JobState

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
JOB_NAME_PREFIX = "crh-"


def directives(script: ArrayScript, profile: Profile) -> list[str]:
    """Return the sbatch options that the profile asks for; nothing that nobody asked for."""
    lines = []
    for option, value in (
        ("partition", profile.partition),
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
    memory_mb = -(-script.memory_bytes // (1 << 20))
    if profile.memory == "mem":
        lines.append(f"--mem={memory_mb}M")
    elif profile.memory == "mem-per-cpu":
        lines.append(f"--mem-per-cpu={-(-memory_mb // script.cores)}M")
    return lines


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
            match = re.match(r"(\d+)(;[\w.-]+)?\s*\Z", line)
            if match:
                return match.group(1)
        raise MaybeSubmitted(
            f"sbatch answered without a job id: {done.stdout.strip()[:200]!r}",
            "The next command looks for the job by its name before anything is sent again.",
            *_facts(done),
        )
    said = last_words(done)
    # A negative status: sbatch was killed, perhaps while it waited for the answer.
    if done.exit_status is None or done.exit_status < 0 or any(words in said for words in _ANSWER_LOST):
        raise MaybeSubmitted(
            f"sbatch failed: {said or 'no answer in time'}",
            "The next command looks for the job by its name before anything is sent again.",
            *_facts(done),
        )
    raise SchedulerError(
        f"sbatch refused: {said}",
        "Mend the profile (partition, account, time, memory), then run crh-batch submit again; nothing is lost.",
        *_facts(done),
    )


_SQUEUE_FORMAT = "%i|%T|%j|%r"


def squeue_argv(job_names: Iterable[str]) -> list[str]:
    """Return one query for all jobs of these names, one row a task, ended ones that Slurm still knows included."""
    names = ",".join(job_names)
    return ["squeue", "--noheader", "--array", "--states=all", f"--name={names}", f"--format={_SQUEUE_FORMAT}"]


def parse_squeue(done: Completed) -> list[JobRow]:
    """Read squeue's answer.

    Raises:
        Unreachable: it failed or timed out; nothing is known then.
    """
    if done.exit_status != 0:
        raise Unreachable(
            f"squeue failed: {last_words(done) or 'no answer in time'}",
            "Nothing is taken for dead while the scheduler doesn't answer; try again later.",
            *_facts(done),
        )
    rows = []
    for line in done.stdout.splitlines():
        parts = line.split("|")
        if len(parts) >= 3:
            rows += _rows(parts[0], parts[1], parts[2], parts[3] if len(parts) > 3 else "")
    return rows


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
    for line in done.stdout.splitlines():
        parts = line.split("|")
        if len(parts) >= 3:
            rows += _rows(parts[0], parts[1], parts[2], "")
    return rows


def cancel_argv(job_ids: Sequence[str]) -> list[str]:
    """Return how jobs are cancelled: SIGTERM first, so that pilots can say how far they came."""
    return ["scancel", *job_ids]


def state_of(word: str) -> JobState:
    """Return what a state's word means; ``CANCELLED by 1000`` and a trailing ``+`` are understood."""
    first = word.split()[0].rstrip("+") if word.split() else ""
    return _STATES.get(first, JobState.UNKNOWN)


_TASKS = re.compile(r"(\d+)_\[([^\]]*)(\]?)")


def _rows(identifier: str, word: str, name: str, reason: str) -> list[JobRow]:
    state = state_of(word)
    match = _TASKS.match(identifier)
    if match:
        # Slurm cuts long lists in the middle of a number (recorded), which is another one then.
        listed = match.group(2) if match.group(3) else match.group(2).rpartition(",")[0]
        return [JobRow(match.group(1), task, state, word, name, reason) for task in expand_tasks(listed)]
    job_id, _, task = identifier.partition("_")
    return [JobRow(job_id, task, state, word, name, reason)] if job_id.isdigit() else []


def expand_tasks(text: str) -> list[str]:
    """Return the tasks in ``1,3-5``, ``0-8:2%4`` or a list that Slurm cut short with ``...``."""
    tasks: list[str] = []
    for part in text.partition("%")[0].split(","):
        match = re.fullmatch(r"(\d+)(?:-(\d+)(?::(\d+))?)?", part.strip())
        if match:
            first, last, step = int(match.group(1)), int(match.group(2) or match.group(1)), int(match.group(3) or 1)
            tasks += [str(number) for number in range(first, last + 1, max(step, 1))]
    return tasks


@dataclass(frozen=True)
class Limits:
    """What the scheduler allows.

    Args:
        max_array_size: array tasks in one array.
        cores: cores of the largest node of the partition, 0 if unknown.
    """

    max_array_size: int
    cores: int


CONFIG_ARGV = ("scontrol", "show", "config")


def parse_max_array_size(done: Completed) -> int:
    """Return how many tasks an array may have; Slurm's default where the answer doesn't say.

    MaxArraySize is the first index that is refused, and arrays begin at 0 here, so it is the number of tasks.

    Raises:
        Unreachable: scontrol failed.
    """
    if done.exit_status != 0:
        raise Unreachable(
            f"scontrol failed: {last_words(done) or 'no answer in time'}",
            "Is this a login node, and is the controller up? Without a cluster: --engine local.",
            *_facts(done),
        )
    match = re.search(r"^MaxArraySize\s*=\s*(\d+)", done.stdout, re.MULTILINE)
    size = int(match.group(1)) if match else 1001
    if size < 1:
        raise UnreadableAnswer("MaxArraySize is 0: arrays are switched off", "Ask the site.", *_facts(done))
    return size


def nodes_argv(partition: str) -> list[str]:
    """Return the question for the nodes of a partition, or of all."""
    argv = ["sinfo", "--noheader", "--format=%P|%c|%m"]
    return [*argv, f"--partition={partition}"] if partition else argv


def parse_cores(done: Completed, partition: str) -> int:
    """Return the cores of a partition's largest node; of the default partition where none is named; 0 if unknown.

    Raises:
        ProfileError: there is no such partition.
    """
    found = 0
    if partition and done.exit_status == 0 and not done.stdout.strip():
        raise ProfileError(f"partition {partition}: Slurm knows none of this name", "See sinfo.", "", "partition")
    for line in done.stdout.splitlines() if done.exit_status == 0 else ():
        parts = line.split("|")
        if len(parts) >= 2 and (partition or parts[0].endswith("*")):
            digits = re.match(r"\d+", parts[1])
            found = max(found, int(digits.group()) if digits else 0)
    return found


def last_words(done: Completed) -> str:
    """Return the last line that says something, for a user."""
    lines = [line.strip() for line in (done.stderr or done.stdout).splitlines() if line.strip()]
    telling = [line for line in lines if not line.startswith('Try "')]
    return (telling or lines or [""])[-1]


def _facts(done: Completed) -> tuple[tuple[str, ...], int, str, str]:
    return done.argv, -1 if done.exit_status is None else done.exit_status, done.stdout, done.stderr
