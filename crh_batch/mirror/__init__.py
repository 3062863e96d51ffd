"""Batches whose pilots run where this filesystem isn't: a copy of the batch there, a copy of the ledger here."""

from __future__ import annotations
