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


@pytest.mark.parametrize(
    ("line", "socket"),
    [
        ("${RUNTIME}/agent.sock", "/run/me/agent.sock"),
        ("$RUNTIME", "/run/me"),
        ("$UNSET", ""),
        ("%d/agent.sock", "/home/me/agent.sock"),
        ('"~/Group Containers/agent.sock"', "/home/me/Group Containers/agent.sock"),
        ("SSH_AUTH_SOCK", "/tmp/usual"),
        ("none", ""),
    ],
)
def test_read_options_when_an_agent_is_named_then_it_is_found_as_ssh_finds_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, line: str, socket: str
) -> None:
    for name, text in {"HOME": "/home/me", "RUNTIME": "/run/me", "SSH_AUTH_SOCK": "/tmp/usual"}.items():
        monkeypatch.setenv(name, text)
    (tmp_path / "config").write_text(f"Host h\n  IdentityAgent {line}\n")
    assert read_options("h", config_file=str(tmp_path / "config")).agent == socket


@pytest.mark.parametrize(
    ("lines", "key_name"),
    [
        ("HostName Login.Example", "login.example"),
        ("HostName login.example\n  Port 2200", "[login.example]:2200"),
        ("HostKeyAlias cluster\n  Port 2200", "cluster"),
    ],
)
def test_read_options_when_a_host_key_is_looked_up_then_by_the_name_that_ssh_uses(
    tmp_path: Path, lines: str, key_name: str
) -> None:
    (tmp_path / "config").write_text(f"Host h\n  {lines}\n")
    assert read_options("h", config_file=str(tmp_path / "config")).key_name == key_name


@pytest.mark.parametrize(
    "text",
    [
        "Include {more}\nUser me\nHost h\n  Port 2200\n",
        "Host h\n  Include {more}\n  User me\n  Port 2200\n",
        "Host *\n  User me # not her\nHost h other\n  Port 2200 # of ours\n",
        "User=me\nHost=h\nPort=2200\n",
    ],
)
def test_read_options_when_files_are_included_or_lines_commented_then_it_reads_as_ssh_does(
    tmp_path: Path, text: str
) -> None:
    (tmp_path / "more").write_text("Host other\n  User her\n")
    (tmp_path / "config").write_text(text.format(more=tmp_path / "more"))
    options = read_options("h", config_file=str(tmp_path / "config"))
    assert (options.user, options.port) == ("me", 2200)


@pytest.mark.parametrize(("said", "seconds"), [("1m30s", 90), ("45", 45), ("none", 20), ("0", 20)])
def test_read_options_when_a_time_has_units_then_it_is_understood(tmp_path: Path, said: str, seconds: float) -> None:
    (tmp_path / "config").write_text(f"Host h\n  ConnectTimeout {said}\n")
    assert read_options("h", config_file=str(tmp_path / "config")).connect_s == seconds


@pytest.mark.parametrize("text", ["CanonicalizeHostname yes\n", "IdentityAgent ~me\0\n"])
def test_read_options_when_it_can_not_be_used_then_the_file_is_named(tmp_path: Path, text: str) -> None:
    (tmp_path / "config").write_text(text)
    with pytest.raises(HostError, match="config: "):
        read_options("h", config_file=str(tmp_path / "config"))


@pytest.mark.parametrize("said", ["soon", "1" * 40 + "x", "-1", "1.5", "m"])
def test_read_options_when_a_time_is_none_then_it_is_refused_at_once(tmp_path: Path, said: str) -> None:
    (tmp_path / "config").write_text(f"Host h\n  ConnectTimeout {said}\n")
    with pytest.raises(HostError, match="not a time"):
        read_options("h", config_file=str(tmp_path / "config"))
