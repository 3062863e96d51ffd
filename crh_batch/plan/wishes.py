"""What a user may ask of a batch, beside which tomodirs are in it: a group, an order, an end."""

from __future__ import annotations

import datetime
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from crh_batch.errors import UsageError
from crh_batch.plan.order import Planned
from crh_batch.profile import Profile

# One step of --priority in the scheduler's own measure: Slurm's nice (by default priorities go by thousands), SGE's -p.
NICE_A_STEP = 100
_GROUP = re.compile(r"[A-Za-z0-9._-]+\Z")
_UNITS_S = {"m": 60.0, "h": 3600.0, "d": 86400.0}
_DEADLINE_HINT = "Write +3h, +90m, +2d, 18:00 or 2026-11-23T08:00 (this machine's time)."


@dataclass(frozen=True)
class Wishes:
    """What is asked of a new batch.

    Args:
        group: name for these tomodirs together; empty for none.
        priority: of the jobs; see ``nice_of``.
        priorities: for tomodirs whose path matches: that priority; the last that matches holds.
        reverse: shortest first, and where the estimates are equal the last path first.
        deadline: when nothing of it may run any more, seconds since 1970; None for never.
        keep_going: whether follow-up jobs go on with what a time limit leaves unfinished.
        max_time_s: how long one attempt may take, in seconds; 0 for no limit but the job's.
    """

    group: str = ""
    priority: int = 0
    priorities: tuple[tuple[re.Pattern[str], int], ...] = ()
    reverse: bool = False
    deadline: float | None = None
    keep_going: bool = False
    max_time_s: float = 0.0

    def applied_to(self, planned: Iterable[Planned]) -> list[Planned]:
        """Return the tomodirs with their group and priority."""
        return [replace(one, group=self.group, priority=self._priority_of(one.path)) for one in planned]

    def _priority_of(self, path: str) -> int:
        found = 0
        for pattern, priority in self.priorities:
            if pattern.search(path):
                found = priority
        return found

    def applied_to_profile(self, profile: Profile) -> Profile:
        """Return the profile with the priority of the jobs."""
        return replace(profile, nice=nice_of(self.priority, profile.nice))


NO_WISHES = Wishes()


def nice_of(priority: int, nice: int) -> int:
    """Return the nice value of jobs.

    Only operators may go below 0, so a priority above 0 takes back what the profile's ``nice`` gives away, and no more:
    who wants to rank the own batches gives them all some nice in the profile.
    """
    wanted = nice - NICE_A_STEP * priority
    return wanted if priority <= 0 else max(wanted, min(nice, 0))


def check_group(name: str) -> str:
    """Return a group's name if it is one.

    Raises:
        UsageError: it isn't.
    """
    if not _GROUP.match(name):
        raise UsageError(f"--group {name}: not a name for a group", "Use letters, digits, dots, dashes, underscores.")
    return name


def parse_priorities(texts: Sequence[str]) -> tuple[int, tuple[tuple[re.Pattern[str], int], ...]]:
    """Read ``N`` (the jobs) and ``REGEX=N`` (tomodirs whose path matches); the last N holds.

    Raises:
        UsageError: one of them isn't of this form.
    """
    jobs = 0
    tomodirs = []
    for text in texts:
        expression, equals, number = text.rpartition("=")
        if not re.fullmatch(r"[+-]?\d{1,6}", number.strip()):
            raise UsageError(
                f"--priority {text}: {number!r} is not a whole number", "Write N for the jobs, or REGEX=N for tomodirs."
            )
        if not equals:
            jobs = int(number)
            continue
        try:
            tomodirs.append((re.compile(expression), int(number)))
        except (re.error, RecursionError, OverflowError) as error:
            raise UsageError(
                f"--priority {text}: {expression} is not a regular expression: {error}",
                "See the manual of Python's re.",
            ) from error
    return jobs, tuple(tomodirs)


def parse_deadline(text: str, now: float) -> float:
    """Return a deadline in seconds since 1970.

    Args:
        text: ``+3h`` (from now), ``18:00`` (the next time that it is), or a date and time in ISO form, local.
        now: seconds since 1970.

    Raises:
        UsageError: it isn't of this form, or it is over.
    """
    deadline = _parse_deadline(text.strip(), now)
    if deadline is None:
        raise UsageError(f"--deadline {text}: not a time", _DEADLINE_HINT)
    if deadline <= now:
        raise UsageError(f"--deadline {text}: this time is over", _DEADLINE_HINT)
    return deadline


def _parse_deadline(text: str, now: float) -> float | None:
    match = re.fullmatch(r"\+(\d{1,6}(?:\.\d+)?)([mhd])", text)
    if match:
        return now + float(match[1]) * _UNITS_S[match[2]]
    here = datetime.datetime.fromtimestamp(now)
    try:
        if re.fullmatch(r"\d{1,2}:\d{2}(:\d{2})?", text):
            clock = datetime.time.fromisoformat(text.zfill(5) if text.count(":") == 1 else text.zfill(8))
            today = datetime.datetime.combine(here.date(), clock)
            # By the calendar, so that the day on which clocks are changed is right too.
            return (today if today > here else today + datetime.timedelta(days=1)).timestamp()
        if re.match(r"\d{4}-\d{2}-\d{2}", text):
            return datetime.datetime.fromisoformat(text).timestamp()
    except (ValueError, OverflowError):
        pass
    return None
