"""What this machine allows, beside having the packages: probes for tests that skip where it does not."""

from __future__ import annotations

import os
from pathlib import Path

from clusters.slurm_config import CGROUP_MOUNTPOINT


def can_limit_memory() -> bool:
    """Return whether ``memory_limits`` are possible here: there are cgroups of version 1 for memory."""
    return os.access(CGROUP_MOUNTPOINT / "memory" / "memory.limit_in_bytes", os.R_OK) and os.geteuid() == 0


def can_have_own_hostnames() -> bool:
    """Return whether ``own_hostnames`` are possible here: this process may make namespaces (CAP_SYS_ADMIN, bit 21)."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("CapEff:"):
            return bool(int(line.split()[1], 16) >> 21 & 1)
    return False
