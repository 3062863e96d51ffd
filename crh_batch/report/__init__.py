"""States into tables, pages and JSON. Reads the ledger, writes nothing."""

from __future__ import annotations
