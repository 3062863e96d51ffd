"""Host keys as ssh knows them: an unknown or changed one is shown and refused; nothing is ever added to known_hosts."""

from __future__ import annotations

import base64
import contextlib
import hashlib
import os
import shlex
from collections.abc import Sequence

import paramiko

from crh_batch.errors import HostError
from crh_batch.hosts.ssh_options import SshOptions


def plain_type(algorithm: str) -> str:
    """Return the type of the keys that an algorithm signs with: known_hosts has types."""
    return "ssh-rsa" if algorithm.startswith("rsa-sha2-") else algorithm


def known_keys(options: SshOptions) -> list[paramiko.PKey]:
    """Return the keys that known_hosts has of a host."""
    return [key for file in options.known_hosts for key in _keys_in(file, options.key_name)]


def _keys_in(file: str, name: str) -> list[paramiko.PKey]:
    keys = paramiko.HostKeys()
    for line in _lines(file):
        # Lines that paramiko doesn't know (@revoked, @cert-authority) or can't read say nothing of this host.
        with contextlib.suppress(paramiko.SSHException, ValueError, IndexError):
            entry = None if line.startswith("@") else paramiko.hostkeys.HostKeyEntry.from_line(line)
            if entry is not None and entry.key is not None:
                for known_as in entry.hostnames:
                    keys.add(known_as, entry.key.get_name(), entry.key)
    return list((keys.lookup(name) or {}).values())


def fingerprint(key: paramiko.PKey) -> str:
    """Return a key's fingerprint as ssh-keygen -l prints it."""
    digest = base64.b64encode(hashlib.sha256(key.asbytes()).digest()).decode().rstrip("=")
    return f"{key.get_name()} SHA256:{digest}"


def check_key(options: SshOptions, key: paramiko.PKey, known: Sequence[paramiko.PKey]) -> None:
    """Refuse a host whose key isn't known, has changed, or was revoked.

    Raises:
        HostError: which, with the fingerprint, and how to accept it.
    """
    if key.asbytes() in _revoked(options):
        raise HostError(
            f"{options.name}: its host key {fingerprint(key)} was revoked (known_hosts)",
            "Don't use this host; ask its administrators.",
            options.name,
        )
    if any(one.asbytes() == key.asbytes() for one in known):
        return
    if known:
        kept = "; ".join(fingerprint(one) for one in known)
        raise HostError(
            f"{options.name}: its host key is another than the known one: {fingerprint(key)} instead of {kept}",
            "Somebody may be listening in. Ask the cluster's administrators; if the key was changed: "
            f"`ssh-keygen -R '{options.key_name}'{_where(options)}`, then `ssh {options.name}` once.",
            options.name,
        )
    # Where ssh goes by certificates of hosts, which paramiko doesn't know, it would not remember the key by itself.
    plain = f"-o HostKeyAlgorithms={key.get_name()} " if _has_authority(options) else ""
    raise HostError(
        f"{options.name}: its host key is not known: {fingerprint(key)}",
        f"Compare it with what the cluster's administrators publish, then accept it: `ssh {plain}{options.name}` once.",
        options.name,
    )


def _where(options: SshOptions) -> str:
    """Return the option that names the file a key is in, where ssh-keygen would not look by itself."""
    holding = [file for file in options.known_hosts if _keys_in(file, options.key_name)]
    if not holding or holding[0] == os.path.expanduser("~/.ssh/known_hosts"):
        return ""
    return f" -f {shlex.quote(holding[0])}"


def _has_authority(options: SshOptions) -> bool:
    return any(line.startswith("@cert-authority") for file in options.known_hosts for line in _lines(file))


def _revoked(options: SshOptions) -> set[bytes]:
    found = set()
    for file in options.known_hosts:
        for line in _lines(file):
            words = line.split()
            if len(words) >= 4 and words[0] == "@revoked":
                with contextlib.suppress(ValueError):
                    found.add(base64.b64decode(words[3]))
    return found


def _lines(file: str) -> list[str]:
    with contextlib.suppress(OSError), open(file, encoding="utf-8", errors="replace") as stream:
        return [text for line in stream if (text := line.strip()) and not text.startswith("#")]
    return []
