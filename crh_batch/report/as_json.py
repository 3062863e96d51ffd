"""The JSON forms that scripts rely on, described in docs/reference/json.md.

``schema`` rises when a key's meaning changes; new keys may come at any time.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from crh_batch.engines.submit import SubmitReport
from crh_batch.ledger.collect import CollectReport
from crh_batch.ledger.names import StateName
from crh_batch.plan.survey import Survey
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
    }
    if with_tomodirs:
        data["tomodirs"] = [row_json(row) for row in status.rows]
    return data


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
        "error": row.error or None,
        "seconds": row.seconds,
        "peak_bytes": row.peak_bytes,
        "peak_is_bound": row.peak_is_bound if row.peak_bytes is not None else None,
    }


def check_json(survey: Survey, left: Mapping[str, str]) -> dict[str, Any]:
    """Return what ``check --json`` prints.

    Args:
        left: registered tomodirs with the reason why they are left alone.
    """
    tomodirs: list[dict[str, Any]] = []
    for one in survey.planned:
        tomodirs.append(
            {
                "path": one.path,
                "stages": [stage.name.value for stage in one.description.stages],
                "dims": one.description.dims,
                "wavenumbers": one.description.wavenumbers,
                "threads": one.threads,
                "reason": one.description.reason,
                "estimate_s": round(one.estimate_s, 3),
                "memory_bytes": one.memory_bytes,
            }
        )
    for path, description in survey.finished:
        tomodirs.append(
            {
                "path": path,
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
