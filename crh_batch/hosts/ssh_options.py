"""What ~/.ssh/config says of a host, in the words of ssh_config(5); read with paramiko, completed as OpenSSH does."""

from __future__ import annotations

import getpass
import glob
import os
import re
import shlex
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import paramiko

from crh_batch.errors import HostError

USER_CONFIG = "~/.ssh/config"
SYSTEM_CONFIG = "/etc/ssh/ssh_config"
# What can be neither a name, an address nor a Host of a configuration: a leading dash, blanks, quotes, slashes.
_HOST = re.compile(r"(?!-)[^\s'\"`$\\/;&<>|(){}]+")
_LONGEST_S = 86400
# Their value is the rest of the line, with whatever # stands in it.
_COMMANDS = frozenset({"proxycommand", "localcommand", "remotecommand", "knownhostscommand"})
_DEFAULT_IDENTITIES = ("~/.ssh/id_ed25519", "~/.ssh/id_ecdsa", "~/.ssh/id_rsa")
_DEFAULT_KNOWN_HOSTS = ("~/.ssh/known_hosts", "~/.ssh/known_hosts2", "/etc/ssh/ssh_known_hosts")


@dataclass(frozen=True)
class SshOptions:
    """How one host is reached.

    Args:
        name: as the user says it.
        identities: private keys to try, or public ones that the agent has the other half of; those that exist.
        is_identity_given: whether the user named identities; then a missing one is worth a word.
        identities_only: whether the agent's other keys are left alone.
        certificates: files of certificates, of whichever identity, beside those that lie next to one.
        agent: the socket of the agent; empty for none.
        key_alias: HostKeyAlias; empty for none.
        jumps: hosts to go through, the first one first.
        proxy_command: a program whose input and output are the connection; empty for none.
        keepalive_s: seconds between signs of life.
        connect_s: seconds for the connection to come up.
    """

    name: str
    hostname: str
    port: int
    user: str
    key_alias: str = ""
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
        """The name that known_hosts has a key under: ``[host]:port`` where the port isn't 22; an alias as it is."""
        name = self.hostname.lower()
        return self.key_alias or (name if self.port == 22 else f"[{name}]:{self.port}")


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
    port = port or _number(name, found, "port", 22)
    if not 0 < port < 1 << 16:
        raise HostError(f"{name}: port {port}: there is no such port", "Mend it in ~/.ssh/config.", name)
    user = user or str(found.get("user", "")) or getpass.getuser()

    def paths(said: Iterable[str]) -> list[str]:
        return [_expanded(path, place, hostname, port, user) for path in said if path.lower() != "none"]

    wanted = paths(found.get("identityfile", ()))
    # "none" is an answer, too: no file then.
    identities = wanted if "identityfile" in found else paths(_DEFAULT_IDENTITIES)
    known_hosts = [*_split(found.get("userknownhostsfile")), *_split(found.get("globalknownhostsfile"))]
    return SshOptions(
        name=name,
        hostname=hostname,
        port=port,
        user=user,
        key_alias=str(found.get("hostkeyalias", "")),
        identities=tuple(path for path in identities if _has_half(path)),
        missing_identities=tuple(path for path in wanted if not _has_half(path)),
        identities_only=str(found.get("identitiesonly", "no")).lower() in ("yes", "true"),
        # Of several paramiko gives the first.
        certificates=tuple(paths([found["certificatefile"]] if "certificatefile" in found else [])),
        agent=next(iter(paths([_agent_socket(str(found.get("identityagent", "SSH_AUTH_SOCK")))])), ""),
        known_hosts=tuple(paths(known_hosts or _DEFAULT_KNOWN_HOSTS)),
        jumps=() if jump.lower() == "none" else tuple(one.strip() for one in jump.split(",")),
        proxy_command="" if command.lower() == "none" or jump.lower() != "none" else command,
        keepalive_s=_seconds(name, found, "serveraliveinterval", 30),
        connect_s=float(_seconds(name, found, "connecttimeout", 20)),
    )


def _has_half(path: str) -> bool:
    return os.path.exists(path) or os.path.exists(f"{path}.pub")


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
        text = "\nHost *\n".join(texts)
        if "\0" in text:
            raise ValueError("holds a NUL character")
        return paramiko.SSHConfig.from_text(text).lookup(place)
    except (paramiko.SSHException, ValueError, KeyError, ImportError) as error:
        # KeyError: an option that goes with another one, such as CanonicalDomains, isn't there.
        raise HostError(
            f"{' and '.join(files)}: {error}", "Mend it; `ssh -G NAME` shows what ssh reads.", place
        ) from error


def _without_includes(text: str, directory: str, depth: int = 0) -> str:
    """Put in what Include names, and leave out comments behind values: paramiko knows neither (ssh_config(5))."""
    lines = []
    header = "Host *"
    for line in text.splitlines():
        keyword, value = _split_line(line)
        if keyword == "include" and value and depth < 16:
            for file in _included(value, directory):
                try:
                    with open(file, encoding="utf-8", errors="surrogateescape") as stream:
                        lines.append(_without_includes(stream.read(), directory, depth + 1))
                except OSError as error:
                    raise HostError(f"{file}: {error.strerror}", "Make it readable.", file) from error
            # A Host in an included file ends with that file.
            lines.append(header)
        else:
            lines.append(line if keyword in _COMMANDS else _without_comment(line))
            if keyword in ("host", "match"):
                header = lines[-1]
    return "\n".join(lines)


def _split_line(line: str) -> tuple[str, str]:
    words = re.split(r"\s*=\s*|\s+", line.strip(), maxsplit=1)
    return words[0].lower(), words[1] if len(words) > 1 else ""


def _without_comment(line: str) -> str:
    is_quoted = False
    for place, letter in enumerate(line):
        if letter == '"':
            is_quoted = not is_quoted
        elif letter == "#" and not is_quoted and line[:place].endswith((" ", "\t")):
            return line[:place]
    return line


def _included(value: str, directory: str) -> list[str]:
    try:
        patterns = shlex.split(_without_comment(value))
    except ValueError as error:
        raise HostError(f"Include {value}: {error}", "Mend it in ~/.ssh/config.", directory) from error
    return [
        file for pattern in patterns for file in sorted(glob.glob(os.path.join(directory, os.path.expanduser(pattern))))
    ]


def _expanded(path: str, place: str, hostname: str, port: int, user: str) -> str:
    """Return a path with what ssh_config(5) puts in: "TOKENS" and "ENVIRONMENT VARIABLES"."""
    tokens = {
        "%%": "%",
        "%d": os.path.expanduser("~"),
        "%h": hostname,
        "%i": str(os.getuid()),
        "%n": place,
        "%p": str(port),
        "%r": user,
        "%u": getpass.getuser() if "%u" in path else "",
    }

    def replaced(match: re.Match[str]) -> str:
        return os.environ.get(match[1], match[0]) if match[1] else tokens[match[0]]

    return os.path.expanduser(re.sub(r"\$\{(\w+)\}|%[%dhinpru]", replaced, path))


def _agent_socket(said: str) -> str:
    """Return where the agent listens (ssh_config(5), "IdentityAgent"); "none" if there is none."""
    if said == "SSH_AUTH_SOCK":
        said = "$SSH_AUTH_SOCK"
    if said.startswith("$") and not said.startswith("${"):
        return os.environ.get(said[1:], "") or "none"
    return said.strip('"')


def _split(found: Any) -> Sequence[str]:
    return [] if found in (None, "none") else str(found).split()


def _number(name: str, found: Mapping[str, Any], key: str, default: int) -> int:
    text = str(found.get(key, default))
    if not re.fullmatch("[0-9]{1,9}", text):
        raise HostError(f"{name}: {key} {text}: not a number", "Mend it in ~/.ssh/config.", name)
    return int(text)


def _seconds(name: str, found: Mapping[str, Any], key: str, default: int) -> int:
    """Return a time of sshd_config(5), "TIME FORMATS", such as 90 or 1m30s; the default for 0 and none."""
    text = str(found.get(key, default)).lower()
    if text == "none":
        return default
    if not text or not re.fullmatch(r"(?:[0-9]{1,9}[smhdw])*(?:[0-9]{1,9})?", text):
        raise HostError(f"{name}: {key} {text}: not a time", "Mend it in ~/.ssh/config.", name)
    units = {"": 1, "s": 1, "m": 60, "h": 3600, "d": 86400, "w": 604800}
    seconds = sum(int(count) * units[unit] for count, unit in re.findall(r"([0-9]+)([smhdw]?)", text))
    return min(seconds, _LONGEST_S) or default
