"""Which engine a command uses: what the user or the profile says, else a scheduler where one is, else this machine."""

from __future__ import annotations

import os

from crh_batch.engines.array import ArrayEngine
from crh_batch.engines.base import LOCAL
from crh_batch.engines.local import LocalEngine
from crh_batch.errors import HostError, UsageError
from crh_batch.hosts.base import Host
from crh_batch.hosts.this_machine import ThisMachine
from crh_batch.profile import Profile
from crh_batch.schedulers.base import Scheduler
from crh_batch.schedulers.known import SCHEDULERS

DASK = "dask"
ENGINES = ("array", "local", DASK)


def choose_engine(
    wanted: str, profile: Profile, *, cores: int = 0, host: Host | None = None
) -> ArrayEngine | LocalEngine:
    """Return the engine for new pilots, or the one below the dask engine.

    Args:
        wanted: ``array``, ``local``, or empty to find out.
        cores: for local pilots; 0 for all of this machine.

    Raises:
        UsageError: an array is wanted and there is no scheduler.
    """
    host = host or ThisMachine()
    if wanted == LOCAL or (profile.scheduler == LOCAL and wanted != "array"):
        return LocalEngine(cores, profile.max_threads, profile.scratch, profile.memory_mb)
    scheduler = find_scheduler(profile, host)
    if scheduler is not None:
        return ArrayEngine(scheduler, host, profile)
    if wanted == "array" or profile.scheduler in SCHEDULERS:
        raise no_scheduler(profile)
    return LocalEngine(cores, profile.max_threads, profile.scratch, profile.memory_mb)


def choose_scheduler(wanted: str, host: Host) -> Scheduler:
    """Return the scheduler of this name, else the first that is here.

    Raises:
        UsageError: its commands aren't here.
    """
    profile = Profile(scheduler=wanted)
    found = find_scheduler(profile, host)
    if found is None:
        raise no_scheduler(profile, otherwise="")
    return found


def find_scheduler(profile: Profile, host: Host) -> Scheduler | None:
    """Return the scheduler that the profile names, else the first that is on the host; None if its commands aren't.

    Raises:
        HostError: the host can't be reached.
    """
    named = SCHEDULERS.get(profile.scheduler)
    for one in [named] if named is not None else SCHEDULERS.values():
        # A scheduler that is named needs no sign: its commands say themselves what they miss.
        if host.has(one.submit_program) and (named is not None or not one.sign or _variable(host, one.sign)):
            return one
    return None


def _variable(host: Host, name: str) -> str:
    return host.run(["printenv", name]).stdout.strip() if host.name else os.environ.get(name, "")


def no_scheduler(profile: Profile, on: str = "", otherwise: str = ", or use --engine local") -> UsageError | HostError:
    """Return the error for a scheduler whose commands aren't on PATH, here or on a cluster."""
    named = SCHEDULERS.get(profile.scheduler)
    programs = named.submit_program if named else ", ".join(one.submit_program for one in SCHEDULERS.values())
    title = f"its {named.title} module" if named else "the scheduler's module"
    if on:
        return HostError(
            f"{on}: no scheduler there: not on PATH of a login shell: {programs}",
            f"Load {title} in ~/.bash_profile there, so that `ssh {on} bash -lc env` shows it.",
            on,
        )
    return UsageError(
        f"no scheduler here: not on PATH: {programs}",
        f"Log in to the cluster's login node, load {title}{otherwise}.",
    )
