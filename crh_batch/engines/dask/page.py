"""Pages of the dashboard."""

from __future__ import annotations

from typing import Any

from crh_batch.ledger.batch import Batch


def add_pages(scheduler: Any, batch: Batch) -> None:
    """Add what dask doesn't show."""
