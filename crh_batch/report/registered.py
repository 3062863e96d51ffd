"""Why registered tomodirs are left alone, with the state that their batch has them in."""

from __future__ import annotations

from collections.abc import Iterable

from crh_batch.errors import CrhBatchError
from crh_batch.ledger.batch import Batch, counts
from crh_batch.ledger.names import StateName, states
from crh_batch.ledger.registration import Registration


def explain_registered(registered: Iterable[tuple[str, Registration]]) -> dict[str, str]:
    """Return a reason for each registered tomodir, by its path; batches are listed once each."""
    by_batch: dict[str, dict[int, str]] = {}
    reasons = {}
    for path, registration in registered:
        reasons[path] = registration.describe()
        directory = registration.batch_directory
        if registration.flaw:
            reasons[path] += "; if nobody is at work on it, submit --force takes it over"
            continue
        if not counts(directory):
            continue
        if directory not in by_batch:
            by_batch[directory] = _states_of(directory)
        state = by_batch[directory].get(registration.item_id)
        if state:
            reasons[path] = f"{state}; {reasons[path]}"
    return reasons


def _states_of(directory: str) -> dict[int, str]:
    try:
        batch = Batch(directory)
        found = states(batch.paths, batch.items.ids, batch.settings)
        return {
            item_id: f"{state.name.value} ({state.failure.value})"
            if state.name is StateName.FAILED and state.failure
            else state.name.value
            for item_id, state in found
        }
    except CrhBatchError:
        return {}
