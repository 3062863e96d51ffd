"""The options --on and --share, and what commands need to work on clusters behind SSH."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING

import click

from crh_batch.errors import UsageError
from crh_batch.hosts import transfers
from crh_batch.hosts.transfers import Transfer
from crh_batch.ledger.arbiter import arbitrate
from crh_batch.ledger.paths import BatchPaths
from crh_batch.mirror.stage import is_staged

if TYPE_CHECKING:
    from collections.abc import Callable

    from crh_batch.engines.base import Engine
    from crh_batch.engines.place import Place
    from crh_batch.ledger.arbiter import Arbiter
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


def set_up() -> None:
    """Tell the parts below how to ask this user, how to show transfers, and who decides about names elsewhere."""
    from crh_batch.hosts.mounted import stay_here
    from crh_batch.hosts.reach import ask_with

    ask_with(_ask)
    transfers.show_with(_shown)
    arbitrate(_arbiter)
    stay_here(_said(_ON) == HERE)


def tear_down() -> None:
    """End the connections."""
    if "crh_batch.hosts.reach" in sys.modules:
        from crh_batch.hosts.reach import close_all

        close_all()


def _arbiter(paths: BatchPaths) -> Arbiter | None:
    if not is_staged(paths):
        return None
    # Imported when needed: SSH takes its time to load, and most batches have no use for it.
    from crh_batch.mirror.arbiter import find_arbiter

    return find_arbiter(paths)


def _ask(prompt: str, *, secret: bool) -> str | None:
    """Ask the user; None where nobody is there to answer."""
    if not (sys.stdin.isatty() and sys.stderr.isatty()):
        return None
    return str(click.prompt(prompt, hide_input=secret, default="", show_default=False, prompt_suffix="", err=True))


@contextmanager
def _shown(what: str) -> Iterator[Transfer]:
    """Show a transfer's bytes, rate and time left; only on a terminal."""
    if not sys.stderr.isatty():
        yield _Silent()
        return
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn, TransferSpeedColumn

    from crh_batch.report.table import console

    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        DownloadColumn(),
        TransferSpeedColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=console(stderr=True), transient=True) as progress:
        yield _Bar(progress, what)


class _Telling:
    def tell(self, text: str) -> None:
        """See Transfer."""
        # Imported when needed: it imports this module.
        from crh_batch.cli.common import talk

        talk(text)


class _Silent(_Telling):
    def expect(self, total: int) -> None:
        """See Transfer."""

    def add(self, count: int) -> None:
        """See Transfer."""


class _Bar(_Telling):
    def __init__(self, progress: object, what: str) -> None:
        from rich.progress import Progress

        assert isinstance(progress, Progress)
        self._progress = progress
        self._total = 0
        self._task = progress.add_task(what, total=None)

    def expect(self, total: int) -> None:
        """See Transfer."""
        self._total += total
        self._progress.update(self._task, total=self._total)

    def add(self, count: int) -> None:
        """See Transfer."""
        self._progress.update(self._task, advance=count)


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
