"""The machines behind SSH that this process talks to: one connection each, kept open until it ends."""

from __future__ import annotations

import threading

from crh_batch.hosts.base import Asker, FarHost

_hosts: dict[str, FarHost] = {}
_lock = threading.Lock()
# One question at a time, though several machines be connected to at once.
_asking = threading.Lock()
_asker: Asker | None = None


def reach(name: str) -> FarHost:
    """Return the machine that SSH knows by a name; it is connected to when it is first asked something.

    Args:
        name: a Host of ~/.ssh/config, or ``[user@]host[:port]``.
    """
    # Imported here: SSH takes its time to load, and most commands have no use for it.
    from crh_batch.hosts.ssh import SshHost

    with _lock:
        return _hosts.setdefault(name, SshHost(name, _ask))


def ask_with(asker: Asker) -> None:
    """Say, for this whole process, who is asked for passphrases, passwords and second factors."""
    global _asker
    _asker = asker


def abandon_all() -> None:
    """End all connections while threads wait for answers over them, so that these threads end."""
    with _lock:
        hosts = list(_hosts.values())
    for host in hosts:
        host.abandon()


def close_all() -> None:
    """End all connections."""
    with _lock:
        hosts = list(_hosts.values())
        _hosts.clear()
    for host in hosts:
        host.close()


def _ask(prompt: str, *, secret: bool) -> str | None:
    with _asking:
        return None if _asker is None else _asker(prompt, secret=secret)
