"""Tests of the ledger, and what tests of other parts need of it: batches made by hand."""

from __future__ import annotations
