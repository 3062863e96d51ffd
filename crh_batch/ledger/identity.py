"""Who a process is, and whether it still lives.

A process id alone is no identity: it is used again. Host, boot id, process id and start time together are one
(proc(5), field 22 of /proc/<pid>/stat, in clock ticks since boot).
"""

from __future__ import annotations

import getpass
import os
import socket
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from enum import Enum
from pathlib import Path
from typing import Any

from crh_batch.ledger.reading import taken, text, whole_number

# pid_t has 32 bits; Linux counts to 2^22.
_LAST_PID = (1 << 31) - 1


class Verdict(Enum):
    """Whether something lives. UNKNOWN is an answer: nothing may be taken away on it."""

    ALIVE = "alive"
    DEAD = "dead"
    UNKNOWN = "unknown"


@dataclass(frozen=True)
class Who:
    """One process on one machine.

    Args:
        host: its host name.
        boot_id: changes at each boot; empty where the system doesn't tell.
        pid: process id.
        started: start time in clock ticks since boot; 0 where the system doesn't tell.
        user: login name, for reading.
        namespace: the process id namespace; numbers of another one mean nothing here.
    """

    host: str
    boot_id: str
    pid: int
    started: int
    user: str
    namespace: str = ""

    def to_json(self) -> dict[str, Any]:
        """Return the plain form that control files hold."""
        return asdict(self)

    @classmethod
    def from_json(cls, data: Any) -> Who:
        """Read the plain form; what is missing or of the wrong type becomes empty, which is never provably dead."""
        if not isinstance(data, Mapping):
            data = {}

        host, boot, user, namespace = (
            taken(text, data.get(key), "") for key in ("host", "boot_id", "user", "namespace")
        )
        pid, started = (taken(whole_number, data.get(key), 0) for key in ("pid", "started"))
        return cls(host, boot, pid if pid <= _LAST_PID else 0, started, user, namespace)

    def __str__(self) -> str:
        return f"{self.user or 'somebody'} on {self.host or 'an unknown host'}, process {self.pid}"


def boot_id() -> str:
    """Return this boot's id, empty where there is none."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        return ""


def start_ticks(pid: int) -> int | None:
    """Return when a process started, in clock ticks since boot; None if there is no such process (or only a zombie)."""
    try:
        status = Path(f"/proc/{pid}/stat").read_bytes()
    except OSError:
        return None
    # The second field, the command in parentheses, may itself hold blanks and parentheses.
    fields = status[status.rindex(b")") + 2 :].split()
    if fields[0] in (b"Z", b"X"):
        return None
    return int(fields[19])


def this_process() -> Who:
    """Return the identity of the running process."""
    pid = os.getpid()
    return Who(socket.gethostname(), boot_id(), pid, start_ticks(pid) or 0, login_name(), pid_namespace())


def pid_namespace() -> str:
    """Return the name of this process's process id namespace: a container may have its own, with the host's name."""
    try:
        return os.readlink("/proc/self/ns/pid")
    except OSError:
        return ""


def login_name() -> str:
    """Return the user's name; a container may have none for the user id, then ``uid<number>``."""
    try:
        return getpass.getuser()
    except (KeyError, OSError, ImportError):
        return f"uid{os.getuid()}"


def _is_hidden(pid: int) -> bool:
    """Return whether there is such a process of another user, which /proc doesn't show (mounted with hidepid)."""
    try:
        os.kill(pid, 0)
    except PermissionError:
        return not os.path.exists(f"/proc/{pid}")
    except OSError:
        pass
    return False


def verdict_here(who: Who) -> Verdict:
    """Judge a process by looking at this machine; UNKNOWN for processes of other machines."""
    if not who.host or who.host != socket.gethostname() or not who.boot_id:
        return Verdict.UNKNOWN
    if who.boot_id != boot_id():
        return Verdict.DEAD
    if who.namespace != pid_namespace():
        return Verdict.UNKNOWN
    started = start_ticks(who.pid) if who.pid else 0
    if started is None:
        return Verdict.UNKNOWN if _is_hidden(who.pid) else Verdict.DEAD
    if not started or not who.started:
        return Verdict.UNKNOWN
    return Verdict.ALIVE if started == who.started else Verdict.DEAD
