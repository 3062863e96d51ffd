"""The schedulers that crh-batch speaks to, by name."""

from __future__ import annotations

from crh_batch.schedulers.base import Scheduler
from crh_batch.schedulers.sge import Sge
from crh_batch.schedulers.slurm import Slurm

# In the order in which they are looked for.
SCHEDULERS: dict[str, Scheduler] = {one.name: one for one in (Slurm(), Sge())}
