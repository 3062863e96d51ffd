"""Clusters behind SSH that a command names: their schedulers and settings, and planning for one or several of them."""

from __future__ import annotations

import posixpath
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

from crh_batch.engines.array import ArrayEngine
from crh_batch.engines.base import Started
from crh_batch.engines.choose import find_scheduler, no_scheduler
from crh_batch.engines.profile_then import profile_from
from crh_batch.errors import CrhBatchError, HostError, UsageError
from crh_batch.hosts.base import FarHost
from crh_batch.hosts.far_commands import FarCommands
from crh_batch.hosts.reach import reach
from crh_batch.ledger.batch import Batch
from crh_batch.ledger.memory import MemoryRule
from crh_batch.plan.arrays import ArrayRequest, ClassWork
from crh_batch.plan.shares import shares_from_capacity
from crh_batch.profile import Profile
from crh_batch.profile_files import load_profile, named_profiles
from crh_batch.schedulers.base import Scheduler


@dataclass(frozen=True)
class Cluster:
    """A cluster behind SSH.

    Args:
        on: what the user calls it.
        far: its login node.
        profile: its settings.
    """

    on: str
    far: FarHost
    scheduler: Scheduler
    profile: Profile

    @cached_property
    def base(self) -> str:
        """The directory there that stages are made in.

        Raises:
            HostError: it can't be reached.
        """
        facts, wanted = self.far.facts(), self.profile.stage
        if not wanted:
            return facts["stages"]
        return posixpath.normpath(facts["home"] + wanted[1:] if wanted.startswith("~/") else wanted)


def cluster_profile(on: str, root: str, name: str = "", **overrides: Any) -> Profile:
    """Return the settings of a cluster for a survey: the named profile of this name if there is one.

    Args:
        name: the profile that the command line names; empty for the cluster's own.

    Raises:
        ProfileError: a file has a fault.
    """
    profile = load_profile(root, name or (on if on in named_profiles() else ""), **overrides)
    return replace(profile, on=on, host=profile.host or on)


def profile_now(on: str, root: str, then: Mapping[str, Any]) -> Profile:
    """Return a cluster's settings as they are now; if they can't be read, as they were."""
    try:
        return cluster_profile(on, root)
    except CrhBatchError:
        return profile_from(then)


def open_cluster(profile: Profile) -> Cluster:
    """Reach a cluster and find its scheduler.

    Args:
        profile: as ``cluster_profile`` gives it.

    Raises:
        HostError: it can't be reached.
        UsageError: it has no scheduler.
    """
    far = reach(profile.host)
    scheduler = find_scheduler(profile, FarCommands(far))
    if scheduler is None:
        raise no_scheduler(profile, profile.on)
    return Cluster(profile.on, far, scheduler, profile)


class ClustersEngine:
    """Plans for clusters that don't see this filesystem; a batch's stages have engines of their own.

    Args:
        shares: what part of the work each gets, in any unit; empty to ask what is free.
    """

    def __init__(self, clusters: Sequence[Cluster], shares: Sequence[float] = ()) -> None:
        self.clusters = clusters
        self._asked_shares = shares
        self._engines = [ArrayEngine(one.scheduler, FarCommands(one.far), one.profile) for one in clusters]

    @property
    def name(self) -> str:
        """The schedulers' names."""
        return ",".join(dict.fromkeys(one.scheduler.name for one in self.clusters))

    @property
    def names(self) -> str:
        """The clusters, for people."""
        return " and ".join(one.on for one in self.clusters)

    @cached_property
    def shares(self) -> list[float]:
        """What part of the work each cluster gets.

        Raises:
            Unreachable: a scheduler doesn't answer.
        """
        if self._asked_shares or len(self.clusters) == 1:
            return list(self._asked_shares) or [1.0]
        found = []
        for one in self.clusters:
            answers = [one.far.run(argv) for argv in one.scheduler.capacity_argvs(one.profile)]
            found.append(one.scheduler.parse_capacity(answers, one.profile))
        return shares_from_capacity(found)

    def profile_of(self, on: str) -> Profile | None:
        """Return the settings of one of the clusters; None if it isn't among them."""
        return next((one.profile for one in self.clusters if one.on == on), None)

    @property
    def most_threads(self) -> int:
        """Cores for one tomodir: what every cluster has."""
        return min(one.most_threads for one in self._engines)

    @property
    def memory_rule(self) -> MemoryRule:
        """What is known of the memory of jobs: of the cluster with the least, so that every tomodir fits anywhere."""
        return min(self.memory_rules, key=lambda rule: (rule.most_mb or 1 << 62, rule.job_mb))

    @property
    def memory_rules(self) -> list[MemoryRule]:
        """What is known of the memory of jobs on each cluster."""
        return [one.memory_rule for one in self._engines]

    def plan(self, work: Sequence[ClassWork]) -> list[ArrayRequest]:
        """Size the requests of all clusters, as if the tomodirs of each class were dealt out one by one."""
        requests = []
        for part, engine in zip(_dealt(work, self.shares), self._engines):
            requests += engine.plan(part) if part else []
        return requests

    def scripts(self, batch_id: str, requests: Sequence[ArrayRequest]) -> list[str]:
        """Return what would be submitted to the first of them, as text; the others' differ in their settings alone."""
        return self._engines[0].scripts(batch_id, requests)

    def start(self, batch: Batch, requests: Sequence[ArrayRequest]) -> list[Started]:
        """Refuse: a batch that has no stages can't run there.

        Raises:
            HostError: always.
        """
        raise HostError(f"batch {batch.batch_id}: {self.names} can't see it", "Submit it without --on.", self.names)


def _dealt(work: Sequence[ClassWork], shares: Sequence[float]) -> list[list[ClassWork]]:
    """Deal the tomodirs of each class out in proportion; each part's times and needs are those of real tomodirs."""
    total = sum(shares)
    parts: list[list[ClassWork]] = [[] for _ in shares]
    for one in work:
        hands: list[list[int]] = [[] for _ in shares]
        for place in range(len(one.estimates_s)):
            owed = [share / total * (place + 1) - len(hand) for share, hand in zip(shares, hands)]
            hands[owed.index(max(owed))].append(place)
        for part, hand in zip(parts, hands):
            if hand:
                estimates = [one.estimates_s[place] for place in hand]
                needs = [one.needs_bytes[place] for place in hand]
                part.append(replace(one, estimates_s=estimates, needs_bytes=needs))
    return parts


def refuse(engine: str, on: str) -> UsageError:
    """Return the error for an engine that can't be had over SSH."""
    why = {
        "local": ("runs on this machine alone", "Leave --engine out, or --on."),
        "dask": ("needs a network between this machine and the workers", "Log in there and submit from there."),
    }[engine]
    return UsageError(f"--engine {engine} --on {on}: it {why[0]}", why[1])
