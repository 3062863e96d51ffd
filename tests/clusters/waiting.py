"""Waiting with a deadline, in place of sleeps of guessed length."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")

POLL_S = 0.05


class WaitTimeoutError(AssertionError):
    """What was waited for did not come; the message ends with what was seen instead."""


def wait_until(
    predicate: Callable[[], T],
    timeout_s: float,
    what: str,
    describe: Callable[[], str] | None = None,
    poll_s: float = POLL_S,
) -> T:
    """Call ``predicate`` until it gives something true and return that.

    The predicate is asked once more after the deadline, so that a machine that stood still for the whole time
    does not fail a test whose condition holds.

    Args:
        predicate: what is asked; it may raise, which ends the waiting at once.
        timeout_s: seconds until giving up.
        what: what is waited for, for the message: "node n1 is idle".
        describe: more about the state at the end, for the message.
        poll_s: seconds between two questions.

    Raises:
        WaitTimeoutError: with ``what``, the last value and what ``describe`` says.
    """
    deadline = time.monotonic() + timeout_s
    while True:
        last_chance = time.monotonic() >= deadline
        value = predicate()
        if value:
            return value
        if last_chance:
            more = f"\n{describe()}" if describe else ""
            raise WaitTimeoutError(f"not within {timeout_s:g} s: {what}; last seen: {value!r}{more}")
        time.sleep(poll_s)
