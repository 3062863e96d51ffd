"""How a pilot's time goes: what fits into the rest of its job, when programs are ended, and why.

Decides only; docs/protocol.md, "A pilot", has the numbers in order.
"""

from __future__ import annotations

import signal
import time
from collections.abc import Callable

from crh_batch.ledger.items import Item

# How long programs may go on after a warning signal of which nobody said how long before the end it comes.
NOTICE_S = 20.0
# A claim must have a fair chance to finish before the job's end.
TIME_MARGIN = 1.2
# With at least this share of its time left a job is fresh.
FRESH_JOB = 0.9
# How much before its time a job may be ended that is ended for its time: clocks differ, and numbers are rounded.
END_SLACK_S = 5.0

_BEGAN = time.time() - time.monotonic()


def steady_time() -> float:
    """Return the seconds since 1970 by a clock that goes on evenly when somebody sets the machine's.

    A clock that is set an hour forward would end all programs, and blame the tomodirs for taking so long.
    """
    return _BEGAN + time.monotonic()


class JobTime:
    """The time of one pilot's job. ``signalled`` may be called from a signal handler: it takes no lock.

    Args:
        started: when the pilot began, seconds since 1970.
        end_time: when the job will be ended, seconds since 1970; None if never or not known.
        warn_s: how long before the end SIGUSR1 comes, as the job was submitted; Slurm may send it a minute earlier.
        grace_s: seconds before ``end_time`` at which running programs are ended, so that this can be recorded.
        term_grace_s: seconds from SIGTERM to the same.
        by_deadline: whether ``end_time`` is the user's deadline and the job itself might go on.
    """

    def __init__(
        self,
        started: float,
        end_time: float | None = None,
        *,
        warn_s: float = 0.0,
        grace_s: float = 20.0,
        term_grace_s: float = 3.0,
        by_deadline: bool = False,
        clock: Callable[[], float] = steady_time,
    ) -> None:
        self._started = started
        self._end_time = end_time
        self._warn_s = warn_s
        self._grace_s = grace_s
        self._term_grace_s = term_grace_s
        self._by_deadline = by_deadline
        self._clock = clock
        #: Why nothing more is claimed; empty as long as something is.
        self.stopping = ""
        #: When running programs are ended, seconds since 1970.
        self.deadline: float | None = None

    def signalled(self, number: int) -> None:
        """Take in a signal: USR1 announces the end of the job, anything else is the end.

        USR2 is what SGE says before it kills (qsub -notify), as Slurm does by TERM; SGE may say it twice.
        """
        now = self._clock()
        name = signal.Signals(number).name
        if number == signal.SIGUSR1:
            until = now + NOTICE_S
            if self._end_time is not None or self._warn_s:
                until = (now + self._warn_s if self._end_time is None else self._end_time) - self._grace_s
        else:
            insists = self.stopping == name and number != signal.SIGUSR2
            until = now if insists else now + self._term_grace_s
        self.stopping = name
        self.deadline = until if self.deadline is None else min(self.deadline, until)

    def stop(self, why: str) -> None:
        """End everything now."""
        self.stopping = self.stopping or why
        self.deadline = self._clock()

    def notice_end(self) -> None:
        """Find out whether the end of the job has come."""
        end = self._end_time
        if end is not None and self.deadline is None and self._clock() >= end - self._grace_s:
            self.stop("the deadline" if self._by_deadline else "end of the job")

    @property
    def is_over(self) -> bool:
        """Whether programs must end now."""
        return self.deadline is not None and self._clock() >= self.deadline

    def fits(self, item: Item) -> bool:
        """Return whether a tomodir may be begun: estimates are guesses, so a fresh job tries whatever there is.

        But a job that begins shortly before the user's deadline is not fresh.
        """
        if self._end_time is None:
            return True
        usable_s = self._end_time - self._grace_s - self._clock()
        wanted_s = max(item.high_s, TIME_MARGIN * item.estimate_s)
        if self._by_deadline:
            return usable_s > 0 and usable_s >= wanted_s
        return usable_s > 0 and usable_s >= min(wanted_s, FRESH_JOB * self._usable_s)

    @property
    def _usable_s(self) -> float:
        """What the whole job has for programs."""
        assert self._end_time is not None
        return self._end_time - self._grace_s - self._started

    def too_long(self, began: float) -> str:
        """Return what to say of an attempt that ends now with the job, if it had (nearly) all of its time; else "".

        A job that is ended long before its time (cancelled, preempted) says nothing about its tomodirs, nor does the
        user's deadline.

        Args:
            began: when the attempt began, seconds since 1970.
        """
        end = self._end_time
        if end is None or self._by_deadline:
            return ""
        slack_s = min(END_SLACK_S, (1 - FRESH_JOB) * self._usable_s)
        if self._clock() < end - self._grace_s - slack_s:
            return ""
        had_s = end - self._grace_s - began
        if had_s < FRESH_JOB * self._usable_s:
            return ""
        minutes = round((end - self._started) / 60, 1)
        return (
            f"needs more than the {minutes:g} minutes of a job\n"
            "raise time_minutes in the profile, then run crh-batch retry and crh-batch submit"
        )
