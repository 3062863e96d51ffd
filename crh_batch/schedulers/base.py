"""What all schedulers have in common: requests, job states, rows of answers, and what each must be able to say."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Protocol

from crh_batch.errors import Unreachable
from crh_batch.hosts.base import Completed
from crh_batch.profile import Profile
from crh_batch.site import Capacity, Partition, Site

# Job names begin with it; a submission's token follows. SGE wants a letter at the beginning.
JOB_NAME_PREFIX = "crh-"
_TASKS = re.compile(r"([0-9]{1,10})(?:-([0-9]{1,10})(?::([0-9]{1,10}))?)?")
# Bytes of the largest memory, and seconds of the longest job, have fewer.
_MOST_DIGITS = 18


class JobState(Enum):
    """What a scheduler's job is at, as far as a pilot's life is concerned.

    PENDING: waiting. RUNNING: a pilot may live in it. ENDED: no process of it lives. UNKNOWN: anything else.
    """

    PENDING = "pending"
    RUNNING = "running"
    ENDED = "ended"
    UNKNOWN = "unknown"


@dataclass(frozen=True)
class JobRow:
    """One array task (or job that is none) in a scheduler's answer.

    Args:
        job_id: of the array.
        task: its index, empty if it is no array.
        raw_state: the scheduler's own word.
        name: the job's name, which holds the submission's token.
        reason: why it waits or ended.
        out_of_memory: whether it ended for want of memory.
    """

    job_id: str
    task: str
    state: JobState
    raw_state: str
    name: str
    reason: str = ""
    out_of_memory: bool = False

    @property
    def token(self) -> str:
        """The submission's token."""
        return self.name.removeprefix(JOB_NAME_PREFIX)


@dataclass(frozen=True)
class JobUsage:
    """What the accounting says about one life of an array task; a task that was started again has several.

    Args:
        job_id: of the array.
        task: its index, empty if it is no array.
        token: the submission's.
        submitted: from when on it could have started, seconds since 1970; None where it isn't said.
        started: seconds since 1970; None if it never started.
        elapsed_s: how long it ran.
        cores: cores (SGE: slots) that it had.
        cpu_s: processor time that it used.
        requested_memory_bytes: what was asked for, for all its cores together; None where it isn't said.
        peak_bytes: the most memory that it had, as the accounting counts it; None where it isn't said.
        state: the scheduler's own word.
        host: the node, as the scheduler calls it.
    """

    job_id: str
    task: str
    token: str
    submitted: float | None
    started: float | None
    elapsed_s: float
    cores: int
    cpu_s: float
    requested_memory_bytes: int | None
    peak_bytes: int | None
    state: str
    host: str

    @property
    def waited_s(self) -> float | None:
        """How long it was in the queue, None if it has not started or that isn't known."""
        if self.submitted is None or self.started is None:
            return None
        return max(0.0, self.started - self.submitted)


@dataclass(frozen=True)
class ArrayScript:
    """What goes into an array's job script, for the template.

    Args:
        token: the submission's; part of the job's name.
        pilots: array tasks.
        cores: cores an array task.
        memory_bytes: memory an array task.
        threads: which class of tomodirs the pilots take; 0 for all.
        partition: where to; empty for what the profile says.
        after_job: begins when all tasks of this job have ended, however they did; empty for at once.
        parallel_environment: what SGE gives several cores by, where the profile names none.
        deadline: after which nothing may begin, seconds since 1970; 0 for never.
        module: what the client's own Python runs in place of pilot.pyz, with the same arguments; empty for the pilot.
        driver: for such a module, the directory below ``dask/`` with what it needs to know.
        overhead_bytes: how much of the memory such a module takes for itself, more than a pilot does.
    """

    token: str
    batch_id: str
    pilots: int
    cores: int
    memory_bytes: int
    threads: int
    partition: str = ""
    after_job: str = ""
    parallel_environment: str = ""
    deadline: float = 0.0
    module: str = ""
    driver: str = ""
    overhead_bytes: int = 0

    @property
    def memory_mb(self) -> int:
        """Memory an array task in MB of 2^20 bytes, rounded up."""
        return -(-self.memory_bytes // (1 << 20))


@dataclass(frozen=True)
class Limits:
    """What the scheduler allows.

    Args:
        max_array_size: array tasks in one array.
        cores: cores of the largest node at hand, 0 if unknown.
        memory_mb: memory of the largest node at hand, MB of 2^20 bytes, 0 if unknown.
        partitions: those that jobs may go to: the profile's, else the scheduler's default; empty if unknown.
        parallel_environment: SGE's for several cores of one node; empty if there is none, or it isn't needed.
    """

    max_array_size: int
    cores: int
    memory_mb: int = 0
    partitions: tuple[Partition, ...] = ()
    parallel_environment: str = ""


def limits_of(max_array_size: int, partitions: Sequence[Partition], profile: Profile) -> Limits:
    """Return the limits over the partitions that jobs may go to, and those partitions.

    Args:
        partitions: all that were found.
    """
    chosen = tuple(
        one for one in partitions if (one.name in profile.partitions if profile.partitions else one.is_default)
    )
    largest = max((one.largest for one in chosen), key=lambda kind: (kind.cores, kind.memory_mb), default=None)
    return Limits(max_array_size, largest.cores if largest else 0, largest.memory_mb if largest else 0, chosen)


MOST_TASKS = 1_000_000
"""More tasks than an array of pilots has; Slurm takes no more than 4,000,001, SGE 75,000 unless told otherwise."""


def expand_tasks(text: str) -> list[str]:
    """Return the tasks in ``1,3-5``, ``0-8:2%4``, or a list that was cut short with ``...``.

    Raises:
        Unreachable: it says more tasks than any array has, so nothing is known; they would fill the memory.
    """
    tasks: list[str] = []
    for part in text.partition("%")[0].split(","):
        match = _TASKS.fullmatch(part.strip())
        if match:
            first, last, step = int(match.group(1)), int(match.group(2) or match.group(1)), int(match.group(3) or 1)
            many = range(first, last + 1, max(step, 1))
            if len(tasks) + len(many) > MOST_TASKS:
                raise Unreachable(
                    f"a scheduler's answer has more tasks than an array can have: {text[:60]}",
                    "Nothing is taken for dead; try again later.",
                )
            tasks += [str(number) for number in many]
    return tasks


def keyed_lines(text: str, separator: str | None = None) -> dict[str, str]:
    """Return the values of lines such as ``key value``, or ``key = value`` where that is the separator; the last holds.

    Without a regular expression: one that leaves out blanks at the end takes a minute for a line of 60,000.
    """
    found = {}
    for line in text.split("\n"):
        if not line[:1].strip():
            continue
        key, *rest = line.split(separator, 1)
        key = key.rstrip()
        # "key " has an empty value, "key" is none; a key is one word.
        if (rest or (separator is None and line != key)) and len(key.split()) == 1:
            found[key] = rest[0].strip() if rest else ""
    return found


def whole_number(text: str) -> int | None:
    """Return the number that a cell of an answer holds; None where it holds none, or one that nothing has."""
    text = text.strip()
    return int(text) if is_number(text) else None


def is_number(text: str) -> bool:
    """Return whether a text is a whole number, in plain digits and of a size that something has."""
    return text.isascii() and text.isdigit() and len(text) <= _MOST_DIGITS


def scaled(number: str, unit: float) -> int | None:
    """Return a decimal number times a unit, as a whole number; None where that is none, or nothing has so much."""
    try:
        value = float(number) * unit
    except ValueError:
        return None
    return int(value) if 0 <= value < 10.0**_MOST_DIGITS else None


class UsageSource(Protocol):
    """A scheduler's accounting as text: what is asked about jobs that have ended or run, and what it answers."""

    @property
    def program(self) -> str:
        """The command that is asked."""
        ...

    def argvs(self, tokens: Sequence[str], since: float) -> list[list[str]]:
        """Return what to ask about the jobs of submissions; ``since`` in seconds since 1970."""
        ...

    def parse(self, done: Completed, tokens: Sequence[str], memory_resource: str) -> list[JobUsage] | None:
        """Return what is said about these submissions; None where there is no accounting or it doesn't answer.

        Args:
            memory_resource: the profile's, by which memory was asked for (SGE).
        """
        ...


class Scheduler(Protocol):
    """A scheduler as text: what is said to its commands, and what they answer. Runs nothing."""

    @property
    def name(self) -> str:
        """What submissions.jsonl and sessions call it: ``slurm``, ``sge``."""
        ...

    @property
    def title(self) -> str:
        """What people call it."""
        ...

    @property
    def submit_program(self) -> str:
        """The command whose presence tells that the scheduler is here."""
        ...

    @property
    def sign(self) -> str:
        """The environment variable that tells that the command is this scheduler's; empty if the command does."""
        ...

    @property
    def template(self) -> str:
        """The job script's template, in jobscripts/."""
        ...

    def directives(self, script: ArrayScript, profile: Profile) -> list[str]:
        """Return the options that stand in the script's head; nothing that nobody asked for."""
        ...

    def submit_argv(self, directory: str, script: str) -> list[str]:
        """Return how a script is submitted, so that its tasks start in a directory and their output goes there."""
        ...

    def parse_submitted(self, done: Completed) -> str:
        """Return the job's id.

        Raises:
            MaybeSubmitted: it may or may not have been submitted.
            SchedulerError: it was refused.
        """
        ...

    def queue_argvs(self, tokens: Sequence[str]) -> list[list[str]]:
        """Return what to ask the queue about the jobs of submissions; as few questions as can be."""
        ...

    def parse_queue(self, done: Completed, tokens: Sequence[str]) -> list[JobRow]:
        """Return the queue's rows of these submissions, one an array task.

        Raises:
            Unreachable: it failed or timed out; nothing is known then.
        """
        ...

    @property
    def forgets_ended_tasks(self) -> bool:
        """Whether an answer that has an array leaves out its tasks that have ended, and no others."""
        ...

    def stuck_argv(self, rows: Sequence[JobRow]) -> list[str]:
        """Return what to ask about tasks that wait in error; empty if none does."""
        ...

    def parse_stuck(self, done: Completed) -> list[str]:
        """Return the tasks that a late filesystem alone holds up, and that may be tried again."""
        ...

    def free_argv(self, tasks: Sequence[str]) -> list[str]:
        """Return how such tasks are tried again."""
        ...

    @property
    def accounting_program(self) -> str:
        """The command that knows jobs which the queue has forgotten."""
        ...

    def accounting_argvs(self, tokens: Sequence[str], since: float) -> list[list[str]]:
        """Return what to ask the accounting; ``since`` in seconds since 1970."""
        ...

    def parse_accounting(self, done: Completed, tokens: Sequence[str], since: float) -> list[JobRow] | None:
        """Return the accounting's rows; None where it is off or doesn't answer, for everything must work without it."""
        ...

    def cancel_argv(self, job_ids: Sequence[str]) -> list[str]:
        """Return how jobs are cancelled: politely first, so that pilots can say how far they came."""
        ...

    def was_cancelled(self, done: Completed) -> bool:
        """Return whether the jobs are cancelled or were over anyway."""
        ...

    def limits_argvs(self, profile: Profile) -> list[list[str]]:
        """Return what to ask about the site's limits."""
        ...

    def more_limits_argvs(self, answers: Sequence[Completed], profile: Profile) -> list[list[str]]:
        """Return what those answers leave to be asked.

        Raises:
            ProfileError: the profile names something that the scheduler doesn't know.
        """
        ...

    def parse_limits(self, answers: Sequence[Completed], profile: Profile) -> Limits:
        """Read the answers to ``limits_argvs`` and ``more_limits_argvs``, in their order.

        Raises:
            Unreachable: the scheduler doesn't answer.
            ProfileError: the profile names something that the scheduler doesn't know.
        """
        ...

    def capacity_argvs(self, profile: Profile) -> list[list[str]]:
        """Return what to ask about the cores that are idle where the profile's jobs may go."""
        ...

    def parse_capacity(self, answers: Sequence[Completed], profile: Profile) -> Capacity:
        """Read the answers to ``capacity_argvs``, in their order.

        Raises:
            Unreachable: the scheduler doesn't answer.
            UnreadableAnswer: its answer tells nothing of nodes.
        """
        ...

    def submitting_argvs(self) -> list[list[str]]:
        """Return what to ask about whether jobs can be submitted from within jobs; nothing if they always can."""
        ...

    def nodes_may_submit(self, answers: Sequence[Completed]) -> bool:
        """Return whether a node may submit jobs, by the answers to ``submitting_argvs``; also if that isn't known."""
        ...

    def site_questions(self, answers: Sequence[Completed], user: str) -> list[list[str]]:
        """Return what to ask next about the whole site, given the answers so far; nothing when all is known."""
        ...

    def parse_site(self, answers: Sequence[Completed], user: str) -> Site:
        """Read the answers to ``site_questions``, in their order.

        Args:
            user: whose accounts are wanted.

        Raises:
            Unreachable: the scheduler doesn't answer.
        """
        ...

    def away_from(self, node: str) -> str:
        """Return the line of a script's head that keeps a job off a node."""
        ...

    def last_words(self, done: Completed) -> str:
        """Return the line of a failed command's output that says most, for a user."""
        ...
