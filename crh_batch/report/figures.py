"""The figures of a report: what became of tomodirs, and what that cost against what was asked for."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

from crh_batch.ledger.names import Failure
from crh_batch.report.states import Status


@dataclass
class ClassReport:
    """Tomodirs that run alike: the same stages, dimensions and threads.

    Args:
        failures: tomodirs that have failed for good, by cause.
        attempts: how often a pilot began one.
        failed_attempts: attempts that ended badly, by cause, also of tomodirs that finished later.
        cpu_s: processor time of the programs, seconds.
        requested_cpu_s: the share of cores times seconds of the jobs that it ran in.
        peak_bytes: the largest resident set of one tomodir; ``peak_is_bound``: only known not to be exceeded.
        estimated_bytes: the largest estimate that memory was asked for by.
        job_peak_bytes: the most memory of one job that it ran in, by the accounting; None where that isn't known.
        requested_memory_bytes: the most memory asked for of such a job; None where that isn't known.
    """

    stages: str
    dims: str
    threads: int
    tomodirs: int = 0
    finished: int = 0
    failures: Counter[Failure] = field(default_factory=Counter)
    attempts: int = 0
    failed_attempts: Counter[Failure] = field(default_factory=Counter)
    cpu_s: float = 0.0
    requested_cpu_s: float = 0.0
    peak_bytes: int | None = None
    peak_is_bound: bool = False
    estimated_bytes: int = 0
    job_peak_bytes: int | None = None
    requested_memory_bytes: int | None = None


@dataclass
class HostReport:
    """One machine.

    Args:
        hours: how long at least one pilot lived there.
        busy: the share of its pilots' cores times life in which programs ran, 0 to 1; None if they had no time.
    """

    host: str
    pilots: int = 0
    finished: int = 0
    failed: int = 0
    hours: float = 0.0
    busy: float | None = None

    @property
    def per_hour(self) -> float | None:
        """Tomodirs finished an hour; None if there was no time."""
        return self.finished / self.hours if self.hours else None


@dataclass
class BatchReport:
    """A batch, or some tomodirs of it.

    Args:
        messages: how often which failure says what, most first: cause, first line, number, one of the tomodirs.
        requested_cpu_s: cores times seconds of all jobs, those included that had nothing to do.
        own_cpu_s: processor time of the pilots themselves, seconds.
        has_accounting: whether the scheduler's accounting answered.
        longest_wait_s: the longest time of a job in the queue; None if none was there.
        hours: how long at least one pilot lived.
    """

    status: Status
    classes: list[ClassReport] = field(default_factory=list)
    hosts: list[HostReport] = field(default_factory=list)
    messages: list[tuple[str, str, int, str]] = field(default_factory=list)
    cpu_s: float = 0.0
    own_cpu_s: float = 0.0
    requested_cpu_s: float = 0.0
    pilots: int = 0
    has_accounting: bool = False
    longest_wait_s: float | None = None
    hours: float = 0.0

    @property
    def per_hour(self) -> float | None:
        """Tomodirs finished an hour; None if there was no time."""
        return self.status.finished / self.hours if self.hours else None
