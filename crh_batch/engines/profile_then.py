"""The profile that a batch was submitted with."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

from crh_batch.ledger.batch import Batch
from crh_batch.profile import Profile


def profile_of(batch: Batch) -> Profile:
    """Return the profile that a batch was submitted with; keys that another version knew are left out."""
    return profile_from(batch.settings.extra.get("profile") or {})


def profile_from(noted: Mapping[str, Any]) -> Profile:
    """Return a profile that was written down; keys that another version knew are left out."""
    known = {one.name for one in dataclasses.fields(Profile)}
    values: dict[str, Any] = {
        key: tuple(value) if isinstance(value, list) else value for key, value in noted.items() if key in known
    }
    return Profile(**values)
