"""The report as text."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence

from rich.table import Table

from crh_batch.ledger.names import Failure
from crh_batch.report.figures import BatchReport, ClassReport, HostReport
from crh_batch.report.table import bytes_text, make_table, number, seconds_text

_SHOWN_MESSAGES = 20


def class_table(classes: Sequence[ClassReport]) -> Table:
    """Return one row a class: what became of it, and what it used of what was asked for."""
    headers = [
        ("stages", "left"),
        ("dims", "left"),
        ("threads", "right"),
        ("tomodirs", "right"),
        ("finished", "right"),
        ("failed", "left"),
        ("attempts", "left"),
        ("CPU used", "right"),
        ("requested", "right"),
        ("peak memory", "right"),
        ("estimated", "right"),
        ("a job's peak", "right"),
        ("a job's request", "right"),
    ]
    rows = [_class_cells(one) for one in classes]
    # Nobody knows of jobs where none were, nor of failures.
    used = [place for place in range(len(headers)) if any(row[place] for row in rows)]
    return make_table([headers[place] for place in used], ([row[place] for place in used] for row in rows))


def _class_cells(one: ClassReport) -> list[str]:
    attempts = str(one.attempts) + (f" ({causes_text(one.failed_attempts)})" if one.failed_attempts else "")
    return [
        one.stages,
        one.dims,
        str(one.threads),
        str(one.tomodirs),
        str(one.finished),
        causes_text(one.failures),
        attempts,
        seconds_text(one.cpu_s),
        seconds_text(one.requested_cpu_s),
        ("< " if one.peak_bytes and one.peak_is_bound else "") + bytes_text(one.peak_bytes),
        bytes_text(one.estimated_bytes),
        bytes_text(one.job_peak_bytes),
        bytes_text(one.requested_memory_bytes),
    ]


def causes_text(causes: Counter[Failure]) -> str:
    """Return causes with their numbers, most first: ``3 crash, 1 lost``."""
    return ", ".join(f"{many} {cause.value}" for cause, many in causes.most_common())


def host_table(hosts: Iterable[HostReport]) -> Table:
    """Return one row a machine."""
    headers = [
        ("host", "left"),
        ("pilots", "right"),
        ("finished", "right"),
        ("an hour", "right"),
        ("failed attempts", "right"),
        ("time", "right"),
        ("cores busy", "right"),
    ]
    return make_table(
        headers,
        (
            [
                one.host,
                str(one.pilots),
                str(one.finished),
                number(one.per_hour, "{:.1f}"),
                str(one.failed),
                seconds_text(3600 * one.hours),
                number(None if one.busy is None else 100 * one.busy, "{:.0f}%"),
            ]
            for one in hosts
        ),
    )


def message_table(report: BatchReport) -> Table:
    """Return what failed tomodirs say, most first."""
    headers = [("cause", "left"), ("tomodirs", "right"), ("what it says", "left"), ("for example", "left")]
    rows = report.messages[:_SHOWN_MESSAGES]
    return make_table(headers, ([cause, str(many), text, path] for cause, text, many, path in rows))


def summary_lines(report: BatchReport) -> Iterator[str]:
    """Yield what holds for all classes together."""
    asked = report.requested_cpu_s
    used = report.cpu_s + report.own_cpu_s
    share = f", {100 * used / asked:.0f}%" if asked else ""
    source = "by the scheduler's accounting" if report.has_accounting else "cores times the pilots' lives"
    yield f"CPU: {seconds_text(used)} used of {seconds_text(asked)} requested{share} ({source})"
    if report.longest_wait_s is not None:
        yield f"longest time in the queue: {seconds_text(report.longest_wait_s)}"
    if report.per_hour is not None:
        finished = report.status.finished
        yield f"{finished} finished in {seconds_text(3600 * report.hours)}: {report.per_hour:.1f} an hour"
