"""The options --on and --share, and what they choose."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import click

from crh_batch.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Callable

    from crh_batch.engines.base import Engine
    from crh_batch.engines.place import Place
    from crh_batch.profile import Profile

HERE = "here"
_ON, _SHARE = "crh_batch.on", "crh_batch.share"
# What works on this machine alone, or on no cluster at all.
_NOT_THERE = frozenset({"demo", "history", "pilot", "run", "verify-fs", "dashboard"})


def on_option(command: click.Command) -> click.Command:
    """Add --on and --share to the group."""
    command.params += [
        click.Option(
            ["--on"],
            metavar="CLUSTER[,CLUSTER]...",
            expose_value=False,
            callback=_remember(_ON),
            help="Work on a cluster over SSH: a profile of yours, or a host that ssh knows. Several: a new batch is "
            "split. here: this machine, whatever the profile says.",
        ),
        click.Option(
            ["--share"],
            metavar="CLUSTER=NUMBER,...",
            expose_value=False,
            callback=_remember(_SHARE),
            help="How a new batch is split over the clusters of --on. Default: by what is free there.",
        ),
    ]
    return command


def _remember(key: str) -> Callable[[click.Context, click.Parameter, str | None], None]:
    def remember(context: click.Context, parameter: click.Parameter, value: str | None) -> None:
        context.meta[key] = value

    return remember


def _said(key: str) -> str | None:
    context = click.get_current_context(silent=True)
    return context.meta.get(key) if context is not None else None


def check_use(command: str | None) -> None:
    """Refuse --on where it has no meaning; --share without it has none either.

    Raises:
        UsageError: it was given.
    """
    if command in _NOT_THERE and _said(_ON) not in (None, HERE):
        raise UsageError(f"--on: crh-batch {command} works on this machine alone", "Leave --on out, or log in there.")
    if _said(_SHARE) and command not in ("submit", "check"):
        raise UsageError(f"--share: has no meaning for crh-batch {command}", "It is for submit and check.")


def refuse_share() -> None:
    """Refuse --share where nothing names clusters: the tomodirs would run on this machine instead.

    Raises:
        UsageError: it was given.
    """
    if _said(_SHARE):
        raise UsageError(
            f"--share {_said(_SHARE)}: neither --on nor a profile names clusters", "Name them: --on levante,mistral."
        )


# ---- which cluster


def chosen_on() -> str | None:
    """Return what --on says; None if nothing."""
    return _said(_ON)


def for_clusters(profile: Profile, load: Callable[[str], Profile]) -> Profile:
    """Return the settings of the cluster that a profile names; of several the first one's, with all their names.

    Args:
        load: reads the settings of a cluster, by its name.
    """
    names = profile.clusters
    if names == (HERE,):
        refuse_share()
        return replace(profile, on="")
    return replace(load(names[0]), on=profile.on)


def engine_over_ssh(engine: str, profile: Profile, root: str, adjust: Callable[[Profile], Profile]) -> Engine:
    """Return the engine of the clusters that a profile names.

    Args:
        engine: what --engine says; empty if nothing.
        profile: of the first one, as ``for_clusters`` gives it.
        root: the survey's directory.
        adjust: puts what the command line says into the profile of each.

    Raises:
        HostError: one can't be reached, or has no scheduler.
        UsageError: the shares don't fit the clusters, or the engine can't be had there.
    """
    from crh_batch.engines.array import ArrayEngine
    from crh_batch.engines.clusters import ClustersEngine, cluster_profile, open_cluster, refuse
    from crh_batch.engines.far_places import sees
    from crh_batch.hosts.mounted import MountedHost
    from crh_batch.plan.shares import parse_shares

    if engine not in ("", "array"):
        raise refuse(engine, profile.on)
    names = profile.clusters
    if len(set(names)) < len(names):
        raise UsageError(f"--on {profile.on}: names a cluster twice", "Name each once.")
    share = _said(_SHARE)
    shares = parse_shares(share, names) if share else ()
    if len(names) == 1:
        one = open_cluster(replace(profile, on=names[0]))
        if sees(one.far, one.profile.root_pairs, root):
            return ArrayEngine(one.scheduler, MountedHost(one.far, one.profile.root_pairs), one.profile)
        return ClustersEngine([one], shares)
    return ClustersEngine([open_cluster(adjust(cluster_profile(name, root))) for name in names], shares)


def place_for(engine: Engine, say: Callable[[str], None]) -> Place:
    """Return where a new batch of this engine runs."""
    from crh_batch.engines.array import ArrayEngine
    from crh_batch.engines.clusters import ClustersEngine
    from crh_batch.engines.far_places import Mounted, Staged
    from crh_batch.engines.place import Here
    from crh_batch.hosts.mounted import MountedHost

    if isinstance(engine, ClustersEngine):
        return Staged(engine, say)
    if isinstance(engine, ArrayEngine) and isinstance(engine.host, MountedHost):
        return Mounted(engine.host, say)
    return Here()
