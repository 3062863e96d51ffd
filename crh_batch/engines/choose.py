"""Which engine a command uses: what the user or the profile says, else Slurm where it is, else this machine."""

from __future__ import annotations

from crh_batch.engines.array import SlurmEngine
from crh_batch.engines.base import Engine
from crh_batch.engines.local import LocalEngine
from crh_batch.errors import UsageError
from crh_batch.hosts.base import Host
from crh_batch.hosts.this_machine import ThisMachine
from crh_batch.profile import Profile

ENGINES = ("array", "local")


def choose_engine(wanted: str, profile: Profile, *, cores: int = 0, host: Host | None = None) -> Engine:
    """Return the engine for new pilots.

    Args:
        wanted: ``array``, ``local``, or empty to find out.
        cores: for local pilots; 0 for all of this machine.

    Raises:
        UsageError: an array is wanted and there is no scheduler.
    """
    host = host or ThisMachine()
    has_slurm = host.has("sbatch")
    if wanted == "array" or (profile.scheduler == "slurm" and wanted != "local"):
        if not has_slurm:
            raise UsageError(
                "no scheduler here: sbatch is not on PATH",
                "Log in to the cluster's login node, load its Slurm module, or use --engine local.",
            )
        return SlurmEngine(host, profile)
    if wanted == "local" or profile.scheduler == "local" or not has_slurm:
        return LocalEngine(cores, profile.max_threads, profile.scratch)
    return SlurmEngine(host, profile)
