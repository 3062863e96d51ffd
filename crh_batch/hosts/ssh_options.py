"""What ~/.ssh/config says of a host, in the words of ssh_config(5); read with paramiko, completed as OpenSSH does."""

from __future__ import annotations

import getpass
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import paramiko

from crh_batch.errors import HostError

USER_CONFIG = "~/.ssh/config"
SYSTEM_CONFIG = "/etc/ssh/ssh_config"
# What can be neither a name, an address nor a Host of a configuration: a leading dash, blanks, quotes, slashes.
_HOST = re.compile(r"(?!-)[^\s'\"`$\\/;&<>|(){}]+")
_DEFAULT_IDENTITIES = ("~/.ssh/id_ed25519", "~/.ssh/id_ecdsa", "~/.ssh/id_rsa")
_DEFAULT_KNOWN_HOSTS = ("~/.ssh/known_hosts", "~/.ssh/known_hosts2", "/etc/ssh/ssh_known_hosts")


@dataclass(frozen=True)
class SshOptions:
    """How one host is reached.

    Args:
        name: as the user says it.
        known_as: the name that its key is looked up by.
        identities: private keys to try, without those that don't exist.
        is_identity_given: whether the user named identities; then a missing one is worth a word.
        identities_only: whether the agent's other keys are left alone.
        certificates: files of certificates, of whichever identity, beside those that lie next to one.
        agent: the socket of the agent; empty for none.
        jumps: hosts to go through, the first one first.
        proxy_command: a program whose input and output are the connection; empty for none.
        keepalive_s: seconds between signs of life.
        connect_s: seconds for the connection to come up.
    """

    name: str
    hostname: str
    port: int
    user: str
    known_as: str
    identities: tuple[str, ...] = ()
    missing_identities: tuple[str, ...] = ()
    identities_only: bool = False
    certificates: tuple[str, ...] = ()
    agent: str = ""
    known_hosts: tuple[str, ...] = ()
    jumps: tuple[str, ...] = ()
    proxy_command: str = ""
    keepalive_s: int = 30
    connect_s: float = 20.0

    @property
    def key_name(self) -> str:
        """The name that known_hosts has a key under: ``[host]:port`` where the port isn't 22."""
        return self.known_as if self.port == 22 else f"[{self.known_as}]:{self.port}"


def read_options(name: str, *, config_file: str = "") -> SshOptions:
    """Return how a host is reached.

    Args:
        name: a Host of the configuration, or ``[user@]host[:port]``.
        config_file: instead of the user's and the system's.

    Raises:
        HostError: a configuration can't be read, or says what can't be used.
    """
    user, _, place = name.rpartition("@")
    place, port = _split_port(name, place)
    found = _lookup(place, config_file)
    hostname = str(found.get("hostname", place))
    jump = str(found.get("proxyjump", "none"))
    command = str(found.get("proxycommand", "none"))
    wanted = _paths(found.get("identityfile", ()))
    port = port or _number(name, found, "port", 22)
    if not 0 < port < 1 << 16:
        raise HostError(f"{name}: port {port}: there is no such port", "Mend it in ~/.ssh/config.", name)
    identities = wanted or [os.path.expanduser(path) for path in _DEFAULT_IDENTITIES]
    known_hosts = [*_split(found.get("userknownhostsfile")), *_split(found.get("globalknownhostsfile"))]
    return SshOptions(
        name=name,
        hostname=hostname,
        port=port,
        user=user or str(found.get("user", "")) or getpass.getuser(),
        known_as=str(found.get("hostkeyalias", hostname)),
        identities=tuple(path for path in identities if os.path.exists(path)),
        missing_identities=tuple(path for path in wanted if not os.path.exists(path)),
        identities_only=found.get("identitiesonly") == "yes",
        # Of several paramiko gives the first.
        certificates=tuple(_paths([found["certificatefile"]] if "certificatefile" in found else [])),
        agent=_agent_socket(str(found.get("identityagent", "SSH_AUTH_SOCK"))),
        known_hosts=tuple(os.path.expanduser(path) for path in known_hosts or _DEFAULT_KNOWN_HOSTS),
        jumps=() if jump == "none" else tuple(one.strip() for one in jump.split(",")),
        proxy_command="" if command == "none" or jump != "none" else command,
        keepalive_s=_number(name, found, "serveraliveinterval", 30) or 30,
        connect_s=float(_number(name, found, "connecttimeout", 20) or 20),
    )


def _split_port(name: str, place: str) -> tuple[str, int]:
    if place.startswith("["):  # an IPv6 address
        place, _, rest = place[1:].partition("]")
        port = rest.lstrip(":")
    elif place.count(":") == 1:
        place, _, port = place.partition(":")
    else:
        port = ""
    if not _HOST.fullmatch(place) or (port and not port.isdecimal()):
        raise HostError(f"{name}: not a host", "Write NAME, USER@NAME or USER@NAME:PORT.", name)
    return place, int(port or 0)


def _lookup(place: str, config_file: str) -> Mapping[str, Any]:
    files = [config_file] if config_file else [os.path.expanduser(USER_CONFIG), SYSTEM_CONFIG]
    texts = []
    for file in files:
        try:
            with open(file, encoding="utf-8", errors="surrogateescape") as stream:
                texts.append(_without_includes(stream.read(), os.path.dirname(file)))
        except FileNotFoundError:
            if config_file:
                raise HostError(f"{file}: no such file", "Name the SSH configuration.", place) from None
        except OSError as error:
            raise HostError(f"{file}: {error.strerror}", "Make it readable.", place) from error
    try:
        # The first value counts, so the user's file comes before the system's.
        return paramiko.SSHConfig.from_text("\nHost *\n".join(texts)).lookup(place)
    except (paramiko.SSHException, ValueError) as error:
        raise HostError(
            f"{' and '.join(files)}: {error}", "Mend it; `ssh -G NAME` shows what ssh reads.", place
        ) from error


def _without_includes(text: str, directory: str, depth: int = 0) -> str:
    """Put in what Include names, which paramiko doesn't know (ssh_config(5), "Include")."""
    import glob
    import shlex

    lines = []
    for line in text.splitlines():
        words = line.strip().split(None, 1)
        if len(words) == 2 and words[0].lower() == "include" and depth < 16:
            try:
                patterns = shlex.split(words[1])
            except ValueError as error:
                raise HostError(f"Include {words[1]}: {error}", "Mend it in ~/.ssh/config.", directory) from error
            for pattern in patterns:
                for file in sorted(glob.glob(os.path.join(directory, os.path.expanduser(pattern)))):
                    try:
                        with open(file, encoding="utf-8", errors="surrogateescape") as stream:
                            lines.append(_without_includes(stream.read(), directory, depth + 1))
                    except OSError as error:
                        raise HostError(f"{file}: {error.strerror}", "Make it readable.", file) from error
        else:
            lines.append(line)
    return "\n".join(lines)


def _agent_socket(said: str) -> str:
    """Return where the agent listens (ssh_config(5), "IdentityAgent")."""
    if said == "none":
        return ""
    if said == "SSH_AUTH_SOCK" or said.startswith("$"):
        return os.environ.get(said.lstrip("$").strip("{}"), "")
    return os.path.expanduser(said.strip('"'))


def _paths(found: Any) -> list[str]:
    return [os.path.expanduser(path) for path in found if path != "none"]


def _split(found: Any) -> Sequence[str]:
    return [] if found in (None, "none") else str(found).split()


def _number(name: str, found: Mapping[str, Any], key: str, default: int) -> int:
    text = str(found.get(key, default))
    if not text.isdecimal():
        raise HostError(f"{name}: {key} {text}: not a number", "Mend it in ~/.ssh/config.", name)
    return int(text)
