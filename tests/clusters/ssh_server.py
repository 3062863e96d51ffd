"""A real sshd of a test's own on loopback: own port, own host key, own list of keys that it lets in, own ~/.ssh."""

from __future__ import annotations

import getpass
import os
import shutil
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path

from clusters.daemons import Daemon
from clusters.ports import free_ports

_READY_S = 15.0


@dataclass(frozen=True)
class Client:
    """What a user of it has: a directory with a configuration, a key and known hosts."""

    directory: Path

    @property
    def config(self) -> Path:
        """Its ssh_config."""
        return self.directory / "config"


class SshServer:
    """One sshd.

    Args:
        directory: for its keys, configuration and log.
        chroot: the root directory of who logs in; the machine's own if None.
        lines: more lines of its sshd_config.
    """

    def __init__(self, directory: Path, name: str = "login", chroot: Path | None = None, lines: str = "") -> None:
        directory.mkdir(parents=True)
        self.name = name
        self.directory = directory
        (self.port,) = free_ports(1)
        self.host_key = directory / "host_key"
        make_key(self.host_key)
        self.authorized = directory / "authorized_keys"
        self.authorized.touch()
        self.log = directory / "sshd.log"
        Path("/run/sshd").mkdir(exist_ok=True)
        home = directory / "home"
        home.mkdir()
        config = directory / "sshd_config"
        config.write_text(
            # The first value of a key counts.
            f"{lines}\nPort {self.port}\nListenAddress 127.0.0.1\nHostKey {self.host_key}\n"
            f"AuthorizedKeysFile {self.authorized}\nPidFile none\nStrictModes no\nUsePAM no\n"
            "PermitRootLogin yes\nPasswordAuthentication no\nKbdInteractiveAuthentication no\n"
            "Subsystem sftp internal-sftp\nLogLevel VERBOSE\nMaxStartups 100\n"
            # A home of its own: what the machine's user has in login scripts is none of a test's business.
            f"SetEnv HOME={home}\n"
            f"{f'ChrootDirectory {chroot}' if chroot else ''}\n"
        )
        program = shutil.which("sshd", path="/usr/sbin:/usr/bin")
        assert program is not None
        environment = {"PATH": os.environ.get("PATH", os.defpath)}
        self.daemon = Daemon("sshd", [program, "-D", "-e", "-f", str(config)], environment, directory, self.log)

    def start(self) -> None:
        """Start it and wait until it listens."""
        self.daemon.start()
        deadline = time.monotonic() + _READY_S
        while "listening on" not in (self.log.read_text() if self.log.exists() else ""):
            self.daemon.check()
            assert time.monotonic() < deadline, self.log.read_text()
            time.sleep(0.01)

    def cut(self) -> None:
        """End all connections and the server, as a failing network or login node would."""
        self.daemon.kill_all()
        self.log.unlink(missing_ok=True)

    def close(self) -> None:
        """End it."""
        self.daemon.close()

    def entry(self, client: Client, more: str = "") -> str:
        """Return its Host block for a client's configuration."""
        return (
            f"Host {self.name}\n  HostName 127.0.0.1\n  Port {self.port}\n  User {getpass.getuser()}\n"
            f"  IdentityFile {client.directory / 'id'}\n  IdentitiesOnly yes\n"
            f"  UserKnownHostsFile {client.directory / 'known_hosts'}\n{more}\n"
        )

    def known_hosts_line(self) -> str:
        """Return what a client's known_hosts says of it."""
        return f"[127.0.0.1]:{self.port} {' '.join(self.host_key.with_suffix('.pub').read_text().split()[:2])}\n"


def make_client(directory: Path, *servers: SshServer, passphrase: str = "") -> Client:
    """Make a user who knows these servers and is let in by them."""
    directory.mkdir(parents=True)
    client = Client(directory)
    make_key(directory / "id", passphrase)
    for server in servers:
        with server.authorized.open("a") as stream:
            stream.write((directory / "id.pub").read_text())
    client.config.write_text("".join(server.entry(client) for server in servers))
    (directory / "known_hosts").write_text("".join(server.known_hosts_line() for server in servers))
    return client


def make_key(path: Path, passphrase: str = "") -> None:
    """Make a key pair."""
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", passphrase, "-C", "", "-f", path], check=True)
