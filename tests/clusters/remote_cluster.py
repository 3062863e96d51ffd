"""A cluster behind SSH as a user has it: a login node that has the scheduler, and a laptop that has nothing but ssh.

The two see different paths. ``laptop.real`` is a directory of this machine, which the login node and the compute nodes
see under that name. The laptop's commands run in a mount namespace of their own, in which the same directory is at
``laptop.here`` and nothing is at ``laptop.real``. So the paths that the laptop knows lead nowhere on the other side,
where ``laptop.here`` stays empty, and a test can still look at everything.
"""

from __future__ import annotations

import getpass
import os
import shutil
import subprocess
import sys
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from clusters.cluster import Cluster
from clusters.machine import can_have_own_hostnames
from clusters.packages import cannot, need_ssh
from clusters.ssh_server import Client, SshServer, make_client

# What crh-batch may start on a machine without a scheduler.
_LAPTOP_PROGRAMS = ("env", "bash", "sh", "cat", "uname", "ssh", "ldd", "true", "sleep")
_OF_THE_SCHEDULER = {
    "slurm": ("sbatch", "squeue", "scancel", "scontrol", "sinfo", "sacct", "sacctmgr", "srun"),
    "sge": ("qsub", "qstat", "qdel", "qacct", "qconf", "qmod", "qhost", "qhold", "qrls", "qalter"),
}
_SYSTEM_PATH = "/usr/local/bin:/usr/bin:/bin"
# Behind it: the laptop's real and here, its PATH, where to start, and the command.
_IN_NAMESPACE = (
    "/usr/bin/unshare",
    "--mount",
    "--uts",
    "/bin/sh",
    "-c",
    'hostname laptop && mount --bind "$1" "$2" && mount -t tmpfs -o ro,size=4k none "$1" && cd -- "$4" && PATH=$3 '
    '&& shift 4 && exec "$@"',
    "sh",
)


def need_remote_cluster() -> None:
    """Skip the test that asks, with the reason, when no such pair can be had here; on CI fail."""
    need_ssh()
    if not can_have_own_hostnames():
        cannot("a laptop that sees other paths than the cluster needs namespaces (CAP_SYS_ADMIN)")


class LoginNode:
    """A login node of a scheduler.

    Its users' login shells know no more programs than a plain system has, and those of the scheduler; nothing of this
    checkout. What is not in ``~/.bash_profile`` isn't there, as at sites with modules.

    Args:
        cluster: the scheduler; None for a login node from which none can be used, such as a jump host.
        directory: for its files; doesn't exist.
        name: what it is called.
    """

    def __init__(self, cluster: Cluster | None, directory: Path, name: str) -> None:
        directory.mkdir(parents=True)
        self.name = name
        self.cluster = cluster
        self._bin = directory / "bin"
        self.server = SshServer(directory / "sshd", name)
        self.home = directory / "sshd" / "home"
        self.set_programs()

    @property
    def stages(self) -> Path:
        """Where stages are, unless a profile names another place."""
        return self.home / "crh-batch-stages"

    def set_programs(self, *more: Path, without: Sequence[str] = ()) -> None:
        """Say which programs a login shell finds from now on.

        Args:
            more: of programs beside the usual ones.
            without: names of those that are missing.
        """
        own = _OF_THE_SCHEDULER[self.cluster.scheduler] if self.cluster else ()
        foreign = {name for names in _OF_THE_SCHEDULER.values() for name in names if name not in own}
        wanted = {path.name: path for path in (*_found({*os.listdir("/usr/bin"), *own} - foreign - {*without}), *more)}
        # Jobs use them at any time: what stays isn't gone for a moment.
        self._bin.mkdir(exist_ok=True)
        for link in self._bin.iterdir():
            if link.readlink() != wanted.get(link.name):
                link.unlink()
        for name, path in wanted.items():
            if not (self._bin / name).is_symlink():
                (self._bin / name).symlink_to(path)
        # As a module file or a site's profile would.
        known = self.cluster.env if self.cluster else {}
        exports = "".join(f"export {key}='{value}'\n" for key, value in known.items() if key != "PATH")
        (self.home / ".bash_profile").write_text(f"export PATH='{self._bin}'\n{exports}")

    def close(self) -> None:
        """End it."""
        self.server.close()


@dataclass(frozen=True)
class Said:
    """How a command ended, and what it said."""

    code: int
    out: str
    err: str


class Laptop:
    """A machine with crh-batch and ssh, and without any scheduler.

    Args:
        directory: for its files; doesn't exist.
        nodes: the login nodes it knows.
    """

    def __init__(self, directory: Path, *nodes: LoginNode) -> None:
        self.real = directory / "data of the cluster"
        self.here = directory / "laptop"
        self.home = directory / "home"
        for path in (self.real, self.here, self.home):
            path.mkdir(parents=True)
        self.ssh: Client = make_client(self.home / ".ssh", *(node.server for node in nodes))
        self._bin = directory / "bin"
        self._bin.mkdir()
        for path in _found(_LAPTOP_PROGRAMS):
            (self._bin / path.name).symlink_to(path)
        self._profiles = self.home / ".config" / "crh-batch" / "profiles"
        self._profiles.mkdir(parents=True)

    @property
    def roots(self) -> str:
        """The pair of paths for a profile's ``roots``."""
        return f"{self.here}:{self.real}"

    def set_profile(self, name: str, text: str) -> None:
        """Write a profile of the user's."""
        (self._profiles / f"{name}.toml").write_text(text)

    def set_way(self, node: LoginNode, *, port: int = 0, user: str = "", more: str = "") -> None:
        """Say how the laptop comes to a login node, in its ~/.ssh/config.

        Args:
            node: one that it knows.
            port: behind which is something that leads there; the node's own if 0.
            user: who logs in; the user of this process if empty.
            more: further lines.
        """
        entry = node.server.entry(self.ssh, more)
        if port:
            entry = entry.replace(f"Port {node.server.port}\n", f"Port {port}\n")
        if user:
            entry = entry.replace(f"User {getpass.getuser()}\n", f"User {user}\n")
        # The first value counts.
        self.ssh.config.write_text(entry + self.ssh.config.read_text())
        with (self.ssh.directory / "known_hosts").open("a") as stream:
            line = node.server.known_hosts_line()
            stream.write(line.replace(f"]:{node.server.port} ", f"]:{port or node.server.port} "))

    def argv(self, cwd: Path, *command: str | Path) -> list[str]:
        """Return how a command is started on the laptop.

        Args:
            cwd: a directory at or below ``real``, where the command starts; it sees it below ``here``.
            command: the command and its arguments.
        """
        start = self.here / cwd.relative_to(self.real)
        return [*_IN_NAMESPACE, *map(str, (self.real, self.here, self._bin, start, *command))]

    def start(self, *arguments: str | Path, cwd: Path) -> subprocess.Popen[str]:
        """Start crh-batch; the process is crh-batch itself as soon as the namespace is made."""
        kept = {key: os.environ[key] for key in ("LANG", "PYTHONPATH") if key in os.environ}
        environment = {
            **kept,
            "PATH": _SYSTEM_PATH,
            "HOME": str(self.home),
            "XDG_CONFIG_HOME": str(self.home / ".config"),
            "XDG_STATE_HOME": str(self.home / ".state"),
        }
        return subprocess.Popen(
            self.argv(cwd, sys.executable, "-m", "crh_batch", *arguments),
            cwd="/",
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            errors="surrogateescape",
        )

    def crh(self, *arguments: str | Path, cwd: Path, code: int | None = 0, timeout_s: float = 120.0) -> Said:
        """Run crh-batch as a user does; fail on a traceback, and on another exit code than ``code`` (None: any)."""
        process = self.start(*arguments, cwd=cwd)
        try:
            out, err = process.communicate(timeout=timeout_s)
        except subprocess.TimeoutExpired:
            process.kill()
            out, err = process.communicate()
            err += f"\nkilled after {timeout_s} s"
        said = Said(process.returncode, out, err)
        assert "Traceback" not in err, (arguments, said)
        assert code is None or said.code == code, f"{arguments}: exit {said.code}\n--- stdout\n{out}\n--- stderr\n{err}"
        return said

    def check(self) -> None:
        """Fail if anything on the other side has used a path of the laptop's."""
        assert not list(self.here.iterdir())


def _found(names: Iterable[str]) -> Iterator[Path]:
    for name in names:
        path = shutil.which(name, path=_SYSTEM_PATH)
        if path is not None:
            yield Path(path)
