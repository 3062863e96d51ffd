"""The time of a job: what fits, when programs end, and whether a tomodir is to blame."""

from __future__ import annotations

import dataclasses
import signal

import pytest

from crh_batch.pilot.job_time import NOTICE_S, JobTime
from unit.ledger.making import make_item


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


def job(clock: Clock, minutes: float | None = 60, *, warn_s: float = 0) -> JobTime:
    """A job that began now; its last 20 s are for recording."""
    end = None if minutes is None else clock.now + 60 * minutes
    return JobTime(clock.now, end, warn_s=warn_s, clock=clock)


@pytest.mark.parametrize(("left_s", "estimate_s", "fits"), [(1300, 1000, True), (1200, 1000, False), (10, 0, False)])
def test_fits_when_time_is_left_then_a_fifth_more_than_the_estimate_is_wanted(
    clock: Clock, left_s: float, estimate_s: float, fits: bool
) -> None:
    time = job(clock)
    clock.now += 3600 - left_s
    assert time.fits(dataclasses.replace(make_item(0), estimate_s=estimate_s)) is fits


def test_fits_when_the_job_is_fresh_then_anything_is_tried(clock: Clock) -> None:
    time = job(clock)
    clock.now += 300
    assert time.fits(dataclasses.replace(make_item(0), estimate_s=1e9))
    clock.now += 100
    assert not time.fits(dataclasses.replace(make_item(0), estimate_s=1e9))


def test_too_long_when_it_had_nearly_all_of_the_job_then_what_to_do(clock: Clock) -> None:
    time = job(clock, 120)
    began = clock.now + 60
    clock.now += 7180
    time.notice_end()
    assert time.is_over
    assert time.too_long(began) == (
        "needs more than the 120 minutes of a job\n"
        "raise time_minutes in the profile, then run crh-batch retry and crh-batch submit"
    )


def test_too_long_when_it_began_late_then_it_may_do_better_in_the_next_job(clock: Clock) -> None:
    time = job(clock, 120)
    began = clock.now + 1000
    clock.now += 7190
    assert time.too_long(began) == ""


def test_too_long_when_the_job_is_ended_before_its_time_then_no_word(clock: Clock) -> None:
    """Cancelled, or preempted: that says nothing about the tomodir."""
    time = job(clock, 120)
    clock.now += 6000
    time.signalled(signal.SIGTERM)
    clock.now += 3
    assert time.is_over
    assert time.too_long(1000.0) == ""


def test_too_long_when_the_end_is_not_known_then_no_word(clock: Clock) -> None:
    time = job(clock, None)
    clock.now += 1e6
    time.signalled(signal.SIGTERM)
    assert time.too_long(1000.0) == ""


@pytest.mark.parametrize(
    ("minutes", "warn_s", "deadline"), [(60, 120, 1000 + 3600 - 20), (None, 120, 1100), (None, 0, 1000 + NOTICE_S)]
)
def test_signalled_when_a_warning_comes_then_programs_go_on_until_shortly_before_the_end(
    clock: Clock, minutes: float | None, warn_s: float, deadline: float
) -> None:
    """Slurm: by --signal. SGE: at s_rt."""
    time = job(clock, minutes, warn_s=warn_s)
    time.signalled(signal.SIGUSR1)
    assert (time.stopping, time.deadline) == ("SIGUSR1", deadline)
    assert not time.is_over


def test_signalled_when_sge_notifies_twice_then_programs_still_get_their_moment(clock: Clock) -> None:
    time = job(clock)
    time.signalled(signal.SIGUSR2)
    time.signalled(signal.SIGUSR2)
    assert (time.stopping, time.deadline) == ("SIGUSR2", 1003)
    assert not time.is_over


def test_signalled_when_told_to_end_twice_then_at_once(clock: Clock) -> None:
    time = job(clock)
    time.signalled(signal.SIGTERM)
    assert time.deadline == 1003
    time.signalled(signal.SIGTERM)
    assert time.is_over
