"""The report on a batch: what became of its tomodirs, and what that cost against what was asked for.

From the ledger; where there is accounting, what was asked for and the times in the queue are the scheduler's.
"""

from __future__ import annotations

import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Sequence

from crh_batch.engines.target import Target
from crh_batch.ledger.items import Item
from crh_batch.ledger.names import Failure, StateName, marks_of
from crh_batch.ledger.session import SessionHeader
from crh_batch.report.figures import BatchReport, ClassReport, HostReport
from crh_batch.report.jobs import Jobs
from crh_batch.report.states import Status, status_of
from crh_batch.report.usage import SessionUse, read_usage
from crh_batch.schedulers.base import JobUsage

ClassKey = tuple[str, str, int]


def report_on(
    target: Target,
    usages: Sequence[JobUsage] | None,
    lives: Callable[[SessionHeader], bool] = lambda header: False,
) -> BatchReport:
    """Make the report.

    Args:
        usages: what the accounting says; None where there is none.
        lives: whether a session that has not ended lives; its time counts until now then.
    """
    status = status_of(target.batch, lambda item_id, state: state.name is StateName.FAILED, target.only)
    report = BatchReport(status, has_accounting=usages is not None)
    now = time.time()
    sessions = list(read_usage(target.batch, lambda header: now if lives(header) else None))
    classes = _Classes(target)
    _count_states(target, classes)
    _count_attempts(target, classes, sessions)
    _share_out(target, classes, sessions, Jobs(target.batch, sessions, usages), report)
    report.classes = sorted(classes.reports(), key=lambda one: (-one.threads, one.dims, one.stages))
    report.hosts = _hosts(classes, sessions)
    report.hours = _union_s((one.header.started, one.ended) for one in sessions) / 3600
    report.pilots = len(sessions)
    report.messages = _messages(status)
    return report


class _Classes:
    """The classes of a target's tomodirs; items are read once each."""

    def __init__(self, target: Target) -> None:
        self._target = target
        self._reports: dict[ClassKey, ClassReport] = {}
        self._of: dict[int, ClassReport] = {}
        for item_id in target.ids:
            item = target.batch.items[item_id]
            key = _class_key(item)
            report = self._reports.setdefault(key, ClassReport(*key))
            report.estimated_bytes = max(report.estimated_bytes, item.memory_bytes)
            self._of[item_id] = report

    def width(self, item_id: int) -> int:
        """Return the cores of a tomodir, also of one that isn't meant."""
        one = self._of.get(item_id)
        return one.threads if one is not None else self._target.batch.items[item_id].threads

    def of(self, item_id: int) -> ClassReport | None:
        """Return a tomodir's class; None if it isn't meant."""
        return self._of.get(item_id)

    def reports(self) -> Iterable[ClassReport]:
        """Return those that have tomodirs."""
        return [one for one in self._reports.values() if one.tomodirs]


def _class_key(item: Item) -> ClassKey:
    dims = str(item.stages[-1].get("dims", "")) if item.stages else ""
    return " + ".join(str(one.get("stage", "")) for one in item.stages), dims, item.threads


def _count_states(target: Target, classes: _Classes) -> None:
    policy = target.batch.settings.policy
    for item_id, marks in marks_of(target.batch.paths, target.ids):
        one = classes.of(item_id)
        state = marks.state(policy)
        if one is None or state.name is StateName.MOVED:
            continue
        one.tomodirs += 1
        one.finished += state.name in (StateName.DONE, StateName.COLLECTED)
        if state.name is StateName.FAILED and state.failure is not None:
            one.failures[state.failure] += 1


def _count_attempts(target: Target, classes: _Classes, sessions: Sequence[SessionUse]) -> None:
    """Count what pilots began: by their claims, and by names, for a node that crashed may have lost the former."""
    begun = {claim for session in sessions for claim in session.claims}
    for item_id, marks in marks_of(target.batch.paths, target.ids):
        one = classes.of(item_id)
        for number, failure in marks.fails.items():
            # A tomodir that was cancelled before it ran has a claim of the client that cancelled it.
            if one is not None and (failure is not Failure.CANCELLED or (item_id, number) in begun):
                one.failed_attempts[failure] += 1
                begun.add((item_id, number))
    for item_id, _ in begun:
        one = classes.of(item_id)
        if one is not None:
            one.attempts += 1


def _share_out(
    target: Target, classes: _Classes, sessions: Sequence[SessionUse], jobs: Jobs, report: BatchReport
) -> None:
    """Give each class its use, and its share of what was asked for: by the time that its programs kept cores busy."""
    for session in sessions:
        busy: defaultdict[int, float] = defaultdict(float)
        by_id: dict[int, ClassReport] = {}
        total = 0.0
        for attempt in session.attempts:
            one = classes.of(attempt.item_id)
            core_s = attempt.wall_s * classes.width(attempt.item_id)
            total += core_s
            if one is None:
                continue
            by_id[id(one)] = one
            busy[id(one)] += core_s
            one.cpu_s += attempt.cpu_s
            _take_in_peak(one, attempt.peak_bytes, is_bound=attempt.peak_is_bound)
        requested = jobs.requested_cpu_s(session)
        peak, asked = jobs.memory(session.header)
        for key, one in by_id.items():
            one.requested_cpu_s += requested * busy[key] / total if total else 0.0
            one.job_peak_bytes = max(one.job_peak_bytes or 0, peak or 0) or None
            one.requested_memory_bytes = max(one.requested_memory_bytes or 0, asked or 0) or None
        report.own_cpu_s += session.own_cpu_s
        report.requested_cpu_s += requested
    report.cpu_s = sum(one.cpu_s for one in classes.reports())
    report.longest_wait_s = jobs.longest_wait_s(sessions)
    if target.only is None:
        report.requested_cpu_s += jobs.without_session_s()
    else:
        # What the pilots did beside is not this part's.
        report.requested_cpu_s = sum(one.requested_cpu_s for one in classes.reports())


def _take_in_peak(one: ClassReport, peak: int | None, *, is_bound: bool) -> None:
    if peak is not None and peak >= (one.peak_bytes or 0):
        # Of equal ones the one that is known counts.
        one.peak_is_bound = is_bound and (peak > (one.peak_bytes or 0) or one.peak_is_bound)
        one.peak_bytes = peak


def _hosts(classes: _Classes, sessions: Sequence[SessionUse]) -> list[HostReport]:
    found: dict[str, HostReport] = {}
    lives: dict[str, list[tuple[float, float]]] = {}
    worked: defaultdict[str, float] = defaultdict(float)
    had: defaultdict[str, float] = defaultdict(float)
    for session in sessions:
        host = session.header.who.host
        one = found.setdefault(host, HostReport(host))
        one.pilots += 1
        lives.setdefault(host, []).append((session.header.started, session.ended))
        had[host] += session.core_s
        for attempt in session.attempts:
            worked[host] += attempt.wall_s * classes.width(attempt.item_id)
            if classes.of(attempt.item_id) is not None:
                one.finished += attempt.finished
                one.failed += not attempt.finished
    for host, one in found.items():
        one.hours = _union_s(lives[host]) / 3600
        one.busy = min(1.0, worked[host] / had[host]) if had[host] else None
    return sorted(found.values(), key=lambda one: (-one.finished, one.host))


def _union_s(intervals: Iterable[tuple[float, float]]) -> float:
    """Return the seconds that at least one interval covers."""
    covered, until = 0.0, float("-inf")
    for began, ended in sorted(intervals):
        covered += max(0.0, ended - max(began, until))
        until = max(until, ended)
    return covered


def _messages(status: Status) -> list[tuple[str, str, int, str]]:
    """Rank what failed tomodirs say."""
    numbers: Counter[tuple[str, str]] = Counter()
    examples: dict[tuple[str, str], str] = {}
    for row in status.rows:
        lines = [line.strip() for line in row.error.splitlines() if line.strip()]
        key = (row.state.failure.value if row.state.failure else "", lines[0] if lines else "")
        numbers[key] += 1
        examples.setdefault(key, row.path)
    return [(*key, number, examples[key]) for key, number in numbers.most_common()]
