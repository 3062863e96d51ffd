"""A GlusterFS of one's own, mounted several times on this machine: each mount stands for a node.

What bites, found out here:

- No glusterd is needed. It wants hosts that aren't 127.0.0.1, /var/lib/glusterd and a fixed port; ``glusterfsd`` and
  ``glusterfs`` do with one text file each (a "volfile"), which says what glusterd would have put together.
- Each mount is a process with caches of its own, in user space and in the kernel. The three timeouts are the kernel's
  (``mount.glusterfs(8)``); with 3 s each, this is as stale as NFS with ``acregmax=3`` (its default is 60 s).
- A mount whose process is gone stays and answers ENOTCONN; ``umount --lazy`` takes it away.
- An exclusive name is decided by the brick, that is by the local filesystem below; the caches can't get it wrong. What
  they do get wrong: stat(2) of a name that was asked for before it was made, and the content of a replaced file.
- fsync goes through to the brick's disk. The brick can't lie on an overlay (no ``trusted.`` attributes there).
"""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import socket
import subprocess
from pathlib import Path
from types import TracebackType

from clusters.base_directory import make_directory, remove_dead_directories
from clusters.cluster import DAEMON_ENV
from clusters.daemons import Daemon
from clusters.packages import program_path
from clusters.ports import free_ports
from clusters.waiting import wait_until

PREFIX = "crh-gfs-"
CACHE_S = 3
_START_S = 30.0

_BRICK = """\
volume posix
  type storage/posix
  option directory {brick}
end-volume
volume locks
  type features/locks
  subvolumes posix
end-volume
volume threads
  type performance/io-threads
  subvolumes locks
end-volume
volume brick
  type debug/io-stats
  option log-level WARNING
  subvolumes threads
end-volume
volume server
  type protocol/server
  option transport-type tcp
  option transport.socket.listen-port {port}
  option transport.socket.bind-address 127.0.0.1
  option auth.addr.brick.allow 127.0.0.1
  subvolumes brick
end-volume
"""

_CLIENT = """\
volume client
  type protocol/client
  option transport-type tcp
  option remote-host 127.0.0.1
  option remote-port {port}
  option remote-subvolume brick
  option ping-timeout 10
end-volume
"""
# What glusterd stacks on each client, in its order.
_STACK = (
    "cluster/distribute",
    "performance/write-behind",
    "performance/readdir-ahead",
    "performance/io-cache",
    "performance/open-behind",
    "performance/quick-read",
    "performance/md-cache",
)


class GlusterFs:
    """One brick and its mounts; use it in a ``with`` statement.

    Args:
        mounts: how many.
    """

    def __init__(self, mounts: int = 3) -> None:
        remove_dead_directories(PREFIX, _unmount_below)
        self.base = make_directory(PREFIX)
        self.mounts = tuple(self.base / f"node{number + 1}" for number in range(mounts))
        (self._port,) = free_ports(1)
        self._daemons: list[Daemon] = []

    def __enter__(self) -> GlusterFs:
        try:
            self._start()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Unmount, end everything, remove all files."""
        _unmount_below(self.base)
        for daemon in reversed(self._daemons):
            daemon.close()
        shutil.rmtree(self.base, ignore_errors=True)

    def check(self) -> None:
        """Raise if the brick or a mount has ended by itself."""
        for daemon in self._daemons:
            daemon.check()

    def _start(self) -> None:
        brick = self.base / "brick"
        for directory in (brick, *self.mounts):
            directory.mkdir()
        server = self._volfile("server", _BRICK.format(brick=brick, port=self._port))
        self._run("glusterfsd", "brick", ["-f", str(server)])
        wait_until(self._answers, _START_S, "the brick takes connections", self._logs)
        client = self._volfile("client", _CLIENT.format(port=self._port) + _stack("client"))
        timeouts = [f"--{what}-timeout={CACHE_S}" for what in ("attribute", "entry", "negative")]
        for mount in self.mounts:
            self._run("glusterfs", mount.name, ["-f", str(client), *timeouts, str(mount)])
        for mount in self.mounts:
            wait_until(lambda mount=mount: _works(mount), _START_S, f"{mount.name} is mounted", self._logs)  # type: ignore[misc]

    def _volfile(self, name: str, text: str) -> Path:
        path = self.base / f"{name}.vol"
        path.write_text(text)
        return path

    def _run(self, program: str, name: str, options: list[str]) -> None:
        path = program_path(program)
        assert path is not None
        argv = [path, "--no-daemon", "--log-file", str(self.base / f"{name}.log"), "--log-level", "WARNING"]
        argv += ["--pid-file", str(self.base / f"{name}.pid"), *options]
        daemon = Daemon(name, argv, DAEMON_ENV, self.base, self.base / f"{name}.out")
        self._daemons.append(daemon)
        daemon.start()

    def _answers(self) -> bool:
        self.check()
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self._port), timeout=1.0):
            return True
        return False

    def _logs(self) -> str:
        logs = sorted([*self.base.glob("*.log"), *self.base.glob("*.out")])
        return "\n".join(f"--- {log.name}\n{log.read_text(errors='replace')[-2000:]}" for log in logs)


def _stack(below: str) -> str:
    text = ""
    for kind in _STACK:
        name = kind.partition("/")[2]
        text += f"volume {name}\n  type {kind}\n  subvolumes {below}\nend-volume\n"
        below = name
    return text


def _works(mount: Path) -> bool:
    if not os.path.ismount(mount):
        return False
    probe = mount / ".probe"
    try:
        probe.write_bytes(b"")
        probe.unlink()
    except OSError:
        return False  # not connected to the brick yet
    return True


def _unmount_below(base: Path) -> None:
    """Take away all mounts below a directory, also those whose process is gone."""
    for line in Path("/proc/self/mountinfo").read_text().splitlines():
        mount = re.sub(r"\\([0-7]{3})", lambda code: chr(int(code.group(1), 8)), line.split()[4])
        if mount.startswith(f"{base}/"):
            subprocess.run(["umount", "--lazy", mount], check=False, capture_output=True)
