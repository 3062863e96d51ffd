"""The scheduler's job that a pilot finds itself in, read from the environment.

Sources: the manuals of sbatch ("OUTPUT ENVIRONMENT VARIABLES") and qsub ("ENVIRONMENTAL VARIABLES").
"""

from __future__ import annotations

import re
import socket
from collections.abc import Mapping
from dataclasses import dataclass

from crh_batch.ledger.session import Job

# Seconds since 1970 have ten digits, and nothing here is larger.
_N = "[0-9]{1,18}"


@dataclass(frozen=True)
class Surroundings:
    """Where a pilot runs: its job, a label that its session's token begins with, and when the job will be ended.

    Args:
        end_time: seconds since 1970, None if unknown or unlimited.
    """

    job: Job
    label: str
    end_time: float | None


def surroundings(environment: Mapping[str, str], pid: int) -> Surroundings:
    """Read the environment of a pilot."""
    if environment.get("SLURM_JOB_ID"):
        job = Job(
            "slurm",
            environment.get("SLURM_ARRAY_JOB_ID") or environment["SLURM_JOB_ID"],
            environment.get("SLURM_ARRAY_TASK_ID", ""),
            _number(environment.get("SLURM_RESTART_COUNT")),
        )
        end = _number(environment.get("SLURM_JOB_END_TIME"))
        return Surroundings(job, label_of(job), float(end) if end else None)
    if environment.get("JOB_ID") and environment.get("SGE_TASK_ID"):
        task = environment["SGE_TASK_ID"]
        # RESTARTED is 1 however often it was (pilot/requeue.py). The job script says how much time is left.
        job = Job(
            "sge", environment["JOB_ID"], "" if task == "undefined" else task, _number(environment.get("RESTARTED"))
        )
        return Surroundings(job, label_of(job), None)
    host = re.sub(r"[^a-z0-9]+", "-", socket.gethostname().lower())[:20].strip("-") or "host"
    return Surroundings(Job(), f"{host}-{pid}", None)


def parse_time_left(text: str) -> float | None:
    """Return the seconds in ``[DAYS-][[HOURS:]MINUTES:]SECONDS``; None for UNLIMITED, INVALID, or anything else.

    Source: squeue(1), format %L.
    """
    match = re.fullmatch(rf"(?:({_N})-)?(?:({_N}):)?(?:({_N}):)?({_N})", text.strip())
    if match is None:
        return None
    days, first, second, seconds = match.groups()
    # With one colon the first number is minutes, with two it is hours.
    hours, minutes = (first, second) if second is not None else (None, first)
    return float(((_number(days) * 24 + _number(hours)) * 60 + _number(minutes)) * 60 + int(seconds))


def label_of(job: Job) -> str:
    """Return how the tokens of a job's sessions begin; a requeued job finds its own former sessions by it."""
    return f"{label_without_restart(job)}{job.restart}"


def label_without_restart(job: Job) -> str:
    """Return the part of the label that all lives of one job share."""
    task = f"_{job.task}" if job.task else ""
    return f"{job.scheduler}-{job.job_id}{task}-r"


def _number(text: str | None) -> int:
    return int(text) if text is not None and re.fullmatch(_N, text) else 0
