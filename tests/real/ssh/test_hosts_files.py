"""Files over a real sshd: lines that break, are slow or go dead, full disks, and Ctrl-C; what has arrived is kept."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from clusters.cutting_proxy import CuttingProxy
from clusters.packages import need_ssh
from clusters.ssh_server import SshServer, make_client
from clusters.waiting import wait_until
from crh_batch.errors import ConnectionLost, HostError
from crh_batch.hosts.line_host import SILENCE_S
from crh_batch.hosts.ssh import SshHost

MB = 1_000_000
CUTS = 50


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SshServer]:
    need_ssh()
    server = SshServer(tmp_path_factory.mktemp("sshd") / "login")
    server.start()
    yield server
    server.close()


class Bed:
    """A host behind a line that can be bad."""

    def __init__(self, server: SshServer, directory: Path) -> None:
        self._server = server
        self._client = make_client(directory / "client", server)
        self._proxies: list[CuttingProxy] = []
        self._hosts: list[SshHost] = []

    def behind(self, silence_s: float = SILENCE_S, bytes_per_s: int = 0, block: int = 16384) -> SshHost:
        self.proxy = CuttingProxy(self._server.port, bytes_per_s=bytes_per_s, block=block)
        self._proxies.append(self.proxy)
        ports = (str(self._server.port), str(self.proxy.port))
        for name in ("config", "known_hosts"):
            path = self._client.directory / name
            path.write_text(path.read_text().replace(*ports) + ("  ConnectTimeout 3\n" if name == "config" else ""))
        host = SshHost("login", config_file=str(self._client.config), silence_s=silence_s)
        self._hosts.append(host)
        return host

    def close(self) -> None:
        for host in self._hosts:
            host.close()
        for proxy in self._proxies:
            proxy.close()


@pytest.fixture
def bed(server: SshServer, tmp_path: Path) -> Iterator[Bed]:
    bed = Bed(server, tmp_path)
    yield bed
    bed.close()


def make_file(path: Path, size: int) -> Path:
    path.write_bytes(random.Random(7).randbytes(size))
    return path


@pytest.mark.parametrize("way", ["put", "fetch_tail"])
def test_files_when_the_line_breaks_fifty_times_then_they_arrive_and_little_goes_twice(
    bed: Bed, tmp_path: Path, way: str
) -> None:
    size = 32 * MB
    source, target = make_file(tmp_path / "source", size), tmp_path / "target"
    host = bed.behind()
    host.ask("ping")
    # Keys, login, and the program of the other end; then some questions about what is there.
    handshake = bed.proxy.went + 10_000
    moments = sorted(random.Random(50).randrange(size) for _ in range(CUTS))
    steps = [later - earlier for earlier, later in zip([0, *moments], moments)]
    bed.proxy.cut_after(steps[0], *(handshake + step for step in steps[1:]))
    broken = 0
    while True:
        try:
            if way == "put":
                host.put(str(source), str(target))
            else:
                host.fetch_tail(str(source), str(target), size)
            break
        except ConnectionLost:
            broken += 1
    assert target.read_bytes() == source.read_bytes()
    assert not list(tmp_path.glob("*.part"))
    assert bed.proxy.connections == CUTS + 1
    assert broken == CUTS // 2, "every other break is mended without a word"
    assert bed.proxy.went <= 1.1 * size + handshake * bed.proxy.connections


@pytest.mark.parametrize("way", ["put", "fetch_tail"])
def test_files_when_the_line_is_slow_then_it_takes_as_long_as_it_takes(bed: Bed, tmp_path: Path, way: str) -> None:
    source, target = make_file(tmp_path / "source", 300_000), tmp_path / "target"
    # All of it takes several silences.
    host = bed.behind(silence_s=1.5, bytes_per_s=80_000, block=2048)
    counted: list[int] = []
    if way == "put":
        host.put(str(source), str(target), counted.append)
    else:
        host.fetch_tail(str(source), str(target), 300_000, counted.append)
    assert target.read_bytes() == source.read_bytes()
    assert sum(counted) == 300_000, "nothing went twice"
    assert bed.proxy.connections == 1


def test_connection_when_the_peer_goes_dead_then_it_is_noticed(bed: Bed, tmp_path: Path) -> None:
    host = bed.behind(silence_s=1.0)
    source = make_file(tmp_path / "source", 30 * MB)
    host.ask("ping")
    bed.proxy.is_dead = True
    with pytest.raises(ConnectionLost, match="nothing came for"):
        host.run(["true"])
    bed.proxy.is_dead = False

    def go_dead(count: int) -> None:
        bed.proxy.is_dead = True

    with pytest.raises(HostError):
        host.put(str(source), str(tmp_path / "target"), go_dead)
    assert not (tmp_path / "target").exists()
    assert SILENCE_S < 60, "users wait less than a minute for that"


def test_put_when_interrupted_then_the_part_is_kept_and_the_next_goes_on(bed: Bed, tmp_path: Path) -> None:
    source, target = make_file(tmp_path / "source", 2 * MB), tmp_path / "target"
    host = bed.behind(bytes_per_s=400_000, block=4096)
    host.ask("ping")
    begun = bed.proxy.went

    def press_ctrl_c() -> None:
        wait_until(lambda: bed.proxy.went > begun + 600_000, 60, "a part has gone")
        os.kill(os.getpid(), signal.SIGINT)

    presser = threading.Thread(target=press_ctrl_c)
    presser.start()
    with pytest.raises(KeyboardInterrupt):
        host.put(str(source), str(target))
    presser.join()
    assert [path.stat().st_size > 300_000 for path in tmp_path.glob("target.*.part")] == [True]
    host = bed.behind()
    assert host.put(str(source), str(target)) < 2 * MB
    assert target.read_bytes() == source.read_bytes()


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    need_ssh()
    disk = tmp_path / "disk"
    disk.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=2m,nr_inodes=50", "tmpfs", disk], check=True)
    yield disk
    subprocess.run(["umount", disk], check=True)


def test_put_when_the_disk_there_is_full_then_one_line_says_so_and_the_next_goes_on(
    bed: Bed, tmp_path: Path, small_disk: Path
) -> None:
    source, target = make_file(tmp_path / "source", 5 * MB), small_disk / "target"
    host = bed.behind()
    for _ in range(2):
        with pytest.raises(HostError) as caught:
            host.put(str(source), str(target))
        assert not isinstance(caught.value, ConnectionLost)
        (part,) = small_disk.iterdir()
        assert part.name.endswith(".part")
        assert caught.value.message == f"login: {part}: No space left on device"
        assert "Free space there" in caught.value.next_step
        assert part.stat().st_size > MB, "what arrived is kept"
    subprocess.run(["mount", "-o", "remount,size=20m", small_disk], check=True)
    assert host.put(str(source), str(target)) < 4 * MB
    assert target.read_bytes() == source.read_bytes()
    assert list(small_disk.iterdir()) == [target]


def _write(host: SshHost, disk: Path) -> None:
    host.ask("write", path=str(disk / "f"), text="x" * 3 * MB)


def _inodes(host: SshHost, disk: Path) -> None:
    host.ask("make_directories", paths=[str(disk / str(number)) for number in range(60)])


def _names(host: SshHost, disk: Path) -> None:
    host.ask("make_directories", paths=[str(disk / "names"), str(disk / "sessions")])
    names = [[f"{number:06d}.claim.001", "../sessions/me.crh"] for number in range(60)]
    host.ask("win", directory=str(disk), links="symlink", sessions={"me": "{}\n"}, names=names)


@pytest.mark.parametrize("asked", [_write, _inodes, _names])
def test_requests_when_the_disk_there_is_full_then_one_line_names_the_path(
    bed: Bed, small_disk: Path, asked: Callable[[SshHost, Path], None]
) -> None:
    host = bed.behind()
    with pytest.raises(HostError) as caught:
        asked(host, small_disk)
    assert caught.value.message.startswith(f"login: {small_disk}/")
    assert caught.value.message.endswith(": No space left on device")
    assert not [path for path in small_disk.rglob("*") if path.name.endswith(".part")]


def test_space_when_the_disk_there_is_full_then_it_says_so(bed: Bed, small_disk: Path) -> None:
    host = bed.behind()
    make_file(small_disk / "f", 2 * 1024 * 1024)
    found = host.ask("space", path=str(small_disk / "to" / "be"))
    assert (found["free_bytes"], found["problem"], found["code"]) == (0, "No space left on device", "ENOSPC")
