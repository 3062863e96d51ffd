"""What a failed command of Slurm said, for users and for errors."""

from __future__ import annotations

import re

from crh_batch.hosts.base import Completed


def last_words(done: Completed) -> str:
    """Return the last line that says something, for a user."""
    lines = [line.strip() for line in (done.stderr or done.stdout).splitlines() if line.strip()]
    telling = [line for line in lines if not line.startswith('Try "')]
    return (telling or lines or [""])[-1]


def facts(done: Completed) -> tuple[tuple[str, ...], int, str, str]:
    """Return what a SchedulerError keeps of a command's end."""
    return done.argv, -1 if done.exit_status is None else done.exit_status, done.stdout, done.stderr


def leading_number(text: str) -> int:
    """Return the number that a text begins with, 0 if it begins with none."""
    digits = re.match("[0-9]{1,18}", text)
    return int(digits.group()) if digits else 0
