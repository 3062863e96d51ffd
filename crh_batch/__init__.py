"""Run CRMod and CRTomo directories (tomodirs) on clusters, each exactly once."""

from __future__ import annotations

__version__ = "0.1.0"
