"""The JSON forms that scripts rely on, described in docs/reference/json.md.

``schema`` rises when a key's meaning changes; new keys may come at any time.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping
from typing import Any

from crh_batch.engines.submit import SubmitReport
from crh_batch.ledger.batch import Batch
from crh_batch.ledger.collect import CollectReport
from crh_batch.ledger.names import Failure, StateName
from crh_batch.ledger.steering import batch_hold
from crh_batch.plan.history import Accuracy
from crh_batch.plan.survey import Survey
from crh_batch.report.clusters import ClusterStatus
from crh_batch.report.figures import BatchReport, ClassReport, HostReport
from crh_batch.report.forecast import Forecast
from crh_batch.report.pace import last_hour
from crh_batch.report.states import STATE_ORDER, Row, Status

SCHEMA = 1


def status_json(status: Status, *, with_tomodirs: bool) -> dict[str, Any]:
    """Return what ``status --json`` and ``wait --json`` print."""
    data: dict[str, Any] = {
        "schema": SCHEMA,
        "batch": status.batch.batch_id,
        "root": status.batch.paths.root,
        "counts": {name.value: status.counts[name] for name in STATE_ORDER},
        "failures": {kind.value: number for kind, number in sorted(status.failures.items())},
        "complete": status.complete,
        "held": batch_hold(status.batch.paths).is_held,
        "clusters": [cluster_json(one) for one in status.clusters],
    }
    if with_tomodirs:
        data["tomodirs"] = [row_json(row) for row in status.rows]
    return data


def cluster_json(one: ClusterStatus) -> dict[str, Any]:
    """Return what it says of a cluster that a part of the batch was sent to."""
    counts = {name.value: one.counts[name] for name in STATE_ORDER}
    return {"on": one.on, "host": one.host, "counts": counts, "seen": _rounded(one.seen)}


def last_hour_json(batch: Batch) -> dict[str, Any]:
    """Return what ``status --json`` says about the last hour."""
    hosts, window_s = last_hour(batch)
    return {"finished": sum(hosts.values()), "seconds": round(window_s, 3), "by_host": hosts}


def row_json(row: Row) -> dict[str, Any]:
    """Return one tomodir's part of it."""
    return {
        "path": row.path,
        "state": row.state.name.value,
        "attempt": row.state.attempt,
        "failure": row.state.failure.value if row.state.failure else None,
        "stage": row.stage or None,
        "iteration": row.iteration,
        "rms": row.rms if row.rms is not None and math.isfinite(row.rms) else None,
        "host": row.host or None,
        "on": row.on or None,
        "error": row.error or None,
        "seconds": row.seconds,
        "peak_bytes": row.peak_bytes,
        "peak_is_bound": row.peak_is_bound if row.peak_bytes is not None else None,
    }


def check_json(
    survey: Survey, left: Mapping[str, str], expected: Forecast | None = None, accuracy: Accuracy | None = None
) -> dict[str, Any]:
    """Return what ``check --json`` prints.

    Args:
        accuracy: how far off past estimates were; None if there were none.
        expected: how long it may take; None if that can't be told here.
        left: registered tomodirs with the reason why they are left alone.
    """
    tomodirs: list[dict[str, Any]] = []
    for one in survey.planned:
        tomodirs.append(
            {
                "path": one.path,
                "number": survey.numbers.get(one.path),
                "stages": [stage.name.value for stage in one.description.stages],
                "dims": one.description.dims,
                "wavenumbers": one.description.wavenumbers,
                "threads": one.threads,
                "reason": one.reason,
                "after": list(one.after),
                "estimate_s": round(one.estimate_s, 3),
                "estimate_low_s": round(one.low_s, 3),
                "estimate_high_s": round(one.high_s, 3),
                "memory_bytes": one.memory_bytes,
            }
        )
    for path, description in survey.finished:
        tomodirs.append(
            {
                "path": path,
                "number": survey.numbers.get(path),
                "stages": [],
                "dims": description.dims,
                "wavenumbers": description.wavenumbers,
                "threads": 0,
                "reason": description.reason,
            }
        )
    for path, reason in left.items():
        tomodirs.append({"path": path, "stages": [], "dims": None, "wavenumbers": None, "threads": 0, "reason": reason})
    return {
        "schema": SCHEMA,
        "tomodirs": sorted(tomodirs, key=lambda one: str(one["path"])),
        "problems": [{"path": path, "error": error} for path, error in sorted(survey.problems)],
        "expected": None if expected is None else expected.to_json(),
        "past_estimates": None if accuracy is None else accuracy_json(accuracy),
    }


def accuracy_json(accuracy: Accuracy) -> dict[str, Any]:
    """Return how far off past estimates were, as factors."""
    return {
        "runs": accuracy.runs,
        "median_factor": round(accuracy.median, 3),
        "worst_factor": round(accuracy.worst, 3),
    }


def submit_json(report: SubmitReport) -> dict[str, Any]:
    """Return what ``submit --json`` prints."""
    return {
        "schema": SCHEMA,
        "batch": report.batch.batch_id if report.batch else None,
        "tomodirs": len(report.batch.items) if report.batch else 0,
        "started": [one.where for one in report.started],
        "resumed": [
            {
                "batch": one.batch.batch_id,
                "counts": {name.value: one.counts[name] for name in StateName},
                "lost": one.lost,
                "alive": one.alive,
                "started": [start.where for start in one.started],
                "collected": one.collected.collected,
            }
            for one in report.resumed
        ],
        "left": [{"path": path, "reason": reason} for path, reason in report.left],
        "problems": [{"path": path, "error": error} for path, error in report.problems],
        "trouble": [str(error) for error in report.trouble],
    }


def collect_json(batch_id: str, report: CollectReport, status: Status) -> dict[str, Any]:
    """Return what ``collect --json`` prints."""
    return {
        "schema": SCHEMA,
        "batch": batch_id,
        "collected": report.collected,
        "refused": [{"path": path, "error": str(error)} for path, error in report.refused],
        "counts": {name.value: status.counts[name] for name in STATE_ORDER},
        "complete": status.complete,
    }


def report_json(report: BatchReport) -> dict[str, Any]:
    """Return one batch's part of what ``report --json`` prints."""
    return {
        **status_json(report.status, with_tomodirs=False),
        "classes": [_class_json(one) for one in report.classes],
        "hosts": [_host_json(one) for one in report.hosts],
        "messages": [
            {"failure": cause, "error": text, "tomodirs": number, "example": path}
            for cause, text, number, path in report.messages
        ],
        "pilots": report.pilots,
        "accounting": report.has_accounting,
        "cpu_s": round(report.cpu_s, 3),
        "own_cpu_s": round(report.own_cpu_s, 3),
        "requested_cpu_s": round(report.requested_cpu_s, 3),
        "longest_wait_s": _rounded(report.longest_wait_s),
        "hours": round(report.hours, 6),
        "per_hour": _rounded(report.per_hour),
    }


def _class_json(one: ClassReport) -> dict[str, Any]:
    return {
        "stages": one.stages.split(" + "),
        "dims": one.dims,
        "threads": one.threads,
        "tomodirs": one.tomodirs,
        "finished": one.finished,
        "failures": _ranked(one.failures),
        "attempts": one.attempts,
        "failed_attempts": _ranked(one.failed_attempts),
        "cpu_s": round(one.cpu_s, 3),
        "requested_cpu_s": round(one.requested_cpu_s, 3),
        "peak_bytes": one.peak_bytes,
        "peak_is_bound": one.peak_is_bound if one.peak_bytes is not None else None,
        "estimated_bytes": one.estimated_bytes,
        "job_peak_bytes": one.job_peak_bytes,
        "requested_memory_bytes": one.requested_memory_bytes,
    }


def _host_json(one: HostReport) -> dict[str, Any]:
    return {
        "host": one.host,
        "pilots": one.pilots,
        "finished": one.finished,
        "failed_attempts": one.failed,
        "hours": round(one.hours, 6),
        "per_hour": _rounded(one.per_hour),
        "busy": _rounded(one.busy),
    }


def _ranked(failures: Counter[Failure]) -> dict[str, int]:
    return {cause.value: number for cause, number in failures.most_common()}


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 3)
