"""A cluster behind SSH as a user has it: a login node that has the scheduler, and a laptop that has nothing but ssh.

The two see different paths. What a test calls ``laptop.real`` is a directory of this machine, which login node and
compute nodes see under that name. The laptop's commands run in a mount namespace of their own, in which the same
directory is at ``laptop.here`` and nothing is at ``laptop.real``. So the paths that the laptop knows lead nowhere on the
other side, whose ``laptop.here`` stays empty, and a test can still look at everything.
"""

from __future__ import annotations

import contextlib
import getpass
import os
import shutil
import subprocess
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

from clusters.cluster import Cluster
from clusters.packages import cannot, need_ssh
from clusters.machine import can_have_own_hostnames
from clusters.ssh_server import Client, SshServer, make_client

# What crh-batch may start on a machine without a scheduler.
_LAPTOP_PROGRAMS = ("env", "bash", "sh", "cat", "uname", "ssh", "ldd", "true", "sleep")
# What the program at the other end, job scripts and their tests need of a login node.
_LOGIN_PROGRAMS = ("env", "bash", "sh", "cat", "uname", "ldd", "python3", "mkdir", "rm", "cp", "id", "sleep", "hostname")
_OF_THE_SCHEDULER = {
    "slurm": ("sbatch", "squeue", "scancel", "scontrol", "sinfo", "sacct", "sacctmgr", "srun"),
    "sge": ("qsub", "qstat", "qdel", "qacct", "qconf", "qmod", "qhost", "qhold", "qrls", "qalter"),
}
_SYSTEM_PATH = "/usr/local/bin:/usr/bin:/bin"
# argv after "sh": real, here, where to start, the command.
_IN_NAMESPACE = (
    "unshare",
    "--mount",
    "--uts",
    "sh",
    "-c",
    'hostname laptop && mount --bind "$1" "$2" && mount -t tmpfs -o ro,size=4k none "$1" && cd -- "$3" && shift 3 '
    '&& exec "$@"',
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
        shutil.rmtree(self._bin, ignore_errors=True)
        self._bin.mkdir()
        names = _LOGIN_PROGRAMS + (_OF_THE_SCHEDULER[self.cluster.scheduler] if self.cluster else ())
        _link(self._bin, names, without)
        for path in more:
            (self._bin / path.name).symlink_to(path)
        known = self.cluster.env if self.cluster else {}
        exports = "".join(f"export {key}='{value}'\n" for key, value in known.items() if key != "PATH")
        (self.home / ".bash_profile").write_text(f"export PATH='{self._bin}'\n{exports}")

    def close(self) -> None:
        """End it."""
        self.server.close()


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
        _link(self._bin, _LAPTOP_PROGRAMS)
        self._profiles = self.home / ".config" / "crh-batch" / "profiles"
        self._profiles.mkdir(parents=True)

    @property
    def roots(self) -> str:
        """The pair of paths for a profile's ``roots``."""
        return f"{self.here}:{self.real}"

    def set_profile(self, name: str, text: str) -> None:
        """Write a profile of the user's."""
        (self._profiles / f"{name}.toml").write_text(text)

    def set_port(self, node: LoginNode, port: int) -> None:
        """Let the laptop come to a login node by another port, behind which is something that leads there."""
        entry = node.server.entry(self.ssh)
        text = self.ssh.config.read_text()
        assert entry in text
        changed = entry.replace(f"Port {node.server.port}\n", f"Port {port}\n")
        self.ssh.config.write_text(text.replace(entry, changed))
        with (self.ssh.directory / "known_hosts").open("a") as stream:
            stream.write(node.server.known_hosts_line().replace(f":{node.server.port} ", f":{port} "))

    def argv(self, cwd: Path, *command: str | Path) -> list[str]:
        """Return how a command is started on the laptop.

        Args:
            cwd: a directory at or below ``real``, where the command starts; it sees it below ``here``.
            command: the command and its arguments.
        """
        there = self.here / cwd.relative_to(self.real)
        return [*_IN_NAMESPACE, *map(os.fspath, (self.real, self.here, there, *command))]

    @property
    def environment(self) -> dict[str, str]:
        """The whole environment of its commands."""
        kept = ("LANG", "PYTHONPATH", "COVERAGE_PROCESS_START")
        return {
            "PATH": f"{self._bin}",
            "HOME": str(self.home),
            "XDG_CONFIG_HOME": str(self.home / ".config"),
            "XDG_STATE_HOME": str(self.home / ".state"),
            "USER": getpass.getuser(),
            **{key: os.environ[key] for key in kept if key in os.environ},
        }

    def start(self, *arguments: str | Path, cwd: Path) -> subprocess.Popen[str]:
        """Start crh-batch; the process is crh-batch itself."""
        return subprocess.Popen(
            self.argv(cwd, sys.executable, "-m", "crh_batch", *arguments),
            cwd="/",
            env={**self.environment, "PATH": f"{self._bin}:/usr/bin:/usr/sbin:/bin"}
            if False
            else self._with_tools(),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            errors="surrogateescape",
        )
