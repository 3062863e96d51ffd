"""What all schedulers have in common: requests, job states, rows of answers."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum


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
    """

    job_id: str
    task: str
    state: JobState
    raw_state: str
    name: str
    reason: str = ""


@dataclass(frozen=True)
class ArrayScript:
    """What goes into an array's job script, for the template.

    Args:
        token: the submission's; part of the job's name.
        pilots: array tasks.
        cores: cores an array task.
        memory_bytes: memory an array task.
        threads: which class of tomodirs the pilots take.
    """

    token: str
    batch_id: str
    pilots: int
    cores: int
    memory_bytes: int
    threads: int
