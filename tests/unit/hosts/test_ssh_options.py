"""Names of hosts, as a user says them."""

from __future__ import annotations

from pathlib import Path

import pytest

from crh_batch.errors import HostError
from crh_batch.hosts.ssh_options import read_options

NOT_HOSTS = ["", "me@", "-oProxyCommand=x", "me@-x", "a b", "../../etc", "$(x)", "a;b", "a'b", "h:x"]


@pytest.fixture
def config(tmp_path: Path) -> str:
    path = tmp_path / "config"
    path.write_text("Host levante\n  HostName login.example\n  Port 2200\n  User me\n")
    return str(path)


@pytest.mark.parametrize(
    ("name", "hostname", "port", "user"),
    [
        ("levante", "login.example", 2200, "me"),
        ("you@levante:22", "login.example", 22, "you"),
        ("you@host.example", "host.example", 22, "you"),
        ("you@[::1]:2222", "::1", 2222, "you"),
        ("you@fe80::1%eth0", "fe80::1%eth0", 22, "you"),
        ("you@r\u00f6hre.example", "r\u00f6hre.example", 22, "you"),
    ],
)
def test_read_options_when_it_is_a_host_then_user_and_port_may_stand_with_it(
    config: str, name: str, hostname: str, port: int, user: str
) -> None:
    options = read_options(name, config_file=config)
    assert (options.hostname, options.port, options.user) == (hostname, port, user)


@pytest.mark.parametrize("name", NOT_HOSTS)
def test_read_options_when_it_is_no_host_then_it_is_refused_by_name(config: str, name: str) -> None:
    with pytest.raises(HostError, match="not a host") as caught:
        read_options(name, config_file=config)
    assert caught.value.message.startswith(f"{name}: ")
    assert "USER@NAME:PORT" in caught.value.next_step
