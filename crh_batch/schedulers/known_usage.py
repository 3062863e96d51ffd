"""The accountings that crh-batch can ask, by their scheduler's name."""

from __future__ import annotations

from crh_batch.schedulers.base import UsageSource
from crh_batch.schedulers.sge_usage import SgeUsage
from crh_batch.schedulers.slurm_usage import SlurmUsage

USAGE_SOURCES: dict[str, UsageSource] = {"slurm": SlurmUsage(), "sge": SgeUsage()}
