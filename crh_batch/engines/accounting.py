"""What the schedulers' accounting says about a batch's jobs; everything works without it."""

from __future__ import annotations

from crh_batch.engines.machines import by_scheduler
from crh_batch.errors import HostError
from crh_batch.hosts.base import Host
from crh_batch.ledger.batch import Batch
from crh_batch.schedulers.base import JobUsage, UsageSource
from crh_batch.schedulers.known_usage import USAGE_SOURCES

# Clocks of client and scheduler may differ.
_GRACE_S = 86400.0


def job_usages(batch: Batch, host: Host) -> list[JobUsage] | None:
    """Return what the accounting says about all jobs of a batch; None where there is none, or it doesn't answer."""
    found: list[JobUsage] = []
    answered = False
    for scheduler, machine, asked in by_scheduler(batch, host):
        source = USAGE_SOURCES[scheduler.name]
        tokens, first = [one.token for one in asked], min(one.time for one in asked)
        usages = _ask(source, machine, tokens, first, _memory_resource(batch))
        if usages is not None:
            answered = True
            found += usages
    return found if answered else None


def _ask(source: UsageSource, host: Host, tokens: list[str], first: float, resource: str) -> list[JobUsage] | None:
    found: list[JobUsage] = []
    try:
        if not host.has(source.program):
            return None
        for argv in source.argvs(tokens, first - _GRACE_S):
            usages = source.parse(host.run(argv), tokens, resource)
            if usages is None:
                return None
            found += usages
    except HostError:
        return None
    return found


def _memory_resource(batch: Batch) -> str:
    profile = batch.settings.extra.get("profile")
    return str(profile.get("memory_resource") or "") if isinstance(profile, dict) else ""
