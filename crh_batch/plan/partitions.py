"""Which of the allowed partitions a request goes to: all in which a job of its size and time can run."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from crh_batch.errors import ProfileError
from crh_batch.site import Partition

# Estimates are guesses: a partition is preferred whose limit is this much longer than the longest of them.
TIME_MARGIN = 1.5


@dataclass(frozen=True)
class Need:
    """What a job asks for.

    Args:
        cores: on one node.
        memory_mb: on one node, MB of 2^20 bytes; 0 if none is asked for.
        minutes: the time limit asked for; 0 for the partition's default.
        longest_s: the estimate of the longest tomodir, in seconds.
    """

    cores: int
    memory_mb: int
    minutes: int
    longest_s: float


def fitting(partitions: Sequence[Partition], need: Need) -> list[Partition]:
    """Return the partitions in which a job can run; where none is asked for a time, those of long enough a limit.

    Args:
        partitions: the allowed ones, at least one. What is unknown of them fits.

    Raises:
        ProfileError: none fits; says what is needed and what each has.
    """
    able = [one for one in partitions if not _lacks(one, need)]
    if not able:
        raise ProfileError(
            f"no partition fits a job that needs {_needed(need)}: "
            + "; ".join(f"{one.name} {_lacks(one, need)}" for one in partitions),
            "Name another partition in the profile, or lower time_minutes, max_threads, cores or memory_mb.",
            "",
            "partition",
        )
    # What is down now, for maintenance most often, takes jobs and keeps them until it is up.
    able = [one for one in able if one.is_up] or able
    if need.minutes:
        return able
    long_enough = [one for one in able if _holds(one, need.longest_s * TIME_MARGIN)]
    return long_enough or able


def _lacks(partition: Partition, need: Need) -> str:
    """Return why a job can't run there; empty if it can."""
    if need.minutes and partition.max_minutes is not None and need.minutes > partition.max_minutes:
        return f"allows {partition.max_minutes} minutes"
    # One node must have both: the node with the most cores is not always the one with the most memory.
    kinds = [kind for kind in partition.kinds if not kind.cores or kind.cores >= need.cores]
    if partition.kinds and not kinds:
        return f"has nodes of {partition.largest.cores} cores"
    if kinds and not any(not kind.memory_mb or kind.memory_mb >= need.memory_mb for kind in kinds):
        most = max(kind.memory_mb for kind in kinds)
        few = len(kinds) < len(partition.kinds)
        return f"has {most} MB on a node" + (f" with {need.cores} cores" if few else "")
    return ""


def _holds(partition: Partition, seconds: float) -> bool:
    limit = partition.default_minutes if partition.default_minutes is not None else partition.max_minutes
    return limit is None or seconds <= 60 * limit


def _needed(need: Need) -> str:
    parts = [f"{need.cores} core" if need.cores == 1 else f"{need.cores} cores"]
    if need.memory_mb:
        parts.append(f"{need.memory_mb} MB")
    if need.minutes:
        parts.append(f"{need.minutes} minutes")
    return ", ".join(parts)
