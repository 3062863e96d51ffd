"""Which keys are tried, and in which order, by what the agent and the files say."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import paramiko
import pytest
from cryptography.hazmat.primitives import serialization as forms
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from crh_batch.hosts import ssh_identities
from crh_batch.hosts.ssh_identities import identities
from crh_batch.hosts.ssh_login import nobody
from crh_batch.hosts.ssh_options import read_options
from unit.hosts.fake_agent import FakeAgent

StartAgent = Callable[..., Path]


@pytest.fixture
def start_agent(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[StartAgent]:
    """Start an agent with these keys; SSH_AUTH_SOCK names it."""
    agents = []

    def start(*keys: bytes, is_silent: bool = False) -> Path:
        monkeypatch.chdir(tmp_path)  # a socket's path is short
        agents.append(FakeAgent(Path("agent"), *keys, is_silent=is_silent))
        monkeypatch.setenv("SSH_AUTH_SOCK", "agent")
        return tmp_path / "agent"

    yield start
    for agent in agents:
        agent.close()


def make_key(path: Path, passphrase: str = "") -> bytes:
    """Write a key pair as ssh-keygen does; return the public half."""
    key = Ed25519PrivateKey.generate()
    lock = forms.BestAvailableEncryption(passphrase.encode()) if passphrase else forms.NoEncryption()
    path.write_bytes(key.private_bytes(forms.Encoding.PEM, forms.PrivateFormat.OpenSSH, lock))
    line = key.public_key().public_bytes(forms.Encoding.OpenSSH, forms.PublicFormat.OpenSSH)
    Path(f"{path}.pub").write_bytes(line + b" a comment\n")
    return paramiko.Ed25519Key.from_private_key_file(str(path), passphrase or None).asbytes()


def tried_with(tmp_path: Path, *lines: str) -> tuple[list[tuple[bytes, str]], list[str]]:
    """Return the keys that are given with such a configuration, and what could not be used."""
    config = tmp_path / "config"
    config.write_text("\n".join(["Host h", *lines]))
    tried: list[str] = []
    given = []
    for key, name in identities(read_options("h", config_file=str(config)), nobody, tried):
        given.append((key.asbytes(), name))
    return given, tried


@pytest.mark.parametrize("way", ["the public file is named", "the private file is not here", "no public file"])
def test_identities_when_the_agent_has_the_key_of_a_named_file_then_it_alone_is_tried(
    tmp_path: Path, start_agent: StartAgent, way: str
) -> None:
    """As with ssh, the file that is named may be either half, and the half that is there tells which key is meant."""
    key, other = make_key(tmp_path / "id", "a passphrase"), make_key(tmp_path / "other")
    start_agent(other, key)
    named = tmp_path / "id"
    if way == "no public file":
        Path(f"{named}.pub").unlink()
    else:
        named.unlink()
    if way == "the public file is named":
        named = Path(f"{named}.pub")
    given, tried = tried_with(tmp_path, f"IdentityFile {named}", "IdentitiesOnly yes")
    assert (given, tried) == ([(key, "ssh-ed25519 of the agent")], [])


def test_identities_when_nobody_has_the_private_half_then_it_is_said(tmp_path: Path, start_agent: StartAgent) -> None:
    make_key(tmp_path / "id")
    (tmp_path / "id").unlink()
    start_agent()
    given, tried = tried_with(tmp_path, f"IdentityFile {tmp_path}/id.pub")
    assert given == []
    assert tried == [f"{tmp_path}/id.pub (of which the agent hasn't got the private half)"]


def test_identities_when_none_are_wanted_then_the_usual_files_are_left_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("SSH_AUTH_SOCK", raising=False)
    (tmp_path / ".ssh").mkdir()
    key = make_key(tmp_path / ".ssh" / "id_ed25519")
    assert [found for found, _ in tried_with(tmp_path)[0]] == [key]
    assert tried_with(tmp_path, "IdentityFile none") == ([], [])


def test_identities_when_the_agent_refuses_to_sign_then_the_next_key_is_tried(
    tmp_path: Path, start_agent: StartAgent
) -> None:
    other, key = make_key(tmp_path / "other"), make_key(tmp_path / "id")
    start_agent(other)
    (tmp_path / "config").write_text(f"Host h\n  IdentityFile {tmp_path}/id\n")
    options = read_options("h", config_file=str(tmp_path / "config"))
    tried: list[str] = []
    given = []
    for one, name in identities(options, nobody, tried):
        given.append(one.asbytes())
        one.sign_ssh_data(b"what the server will refuse")
        tried.append(name)
    assert given == [other, key]
    assert tried[0] == "ssh-ed25519 of the agent (it did not sign)"


def test_identities_when_the_agent_falls_silent_then_files_are_tried(
    tmp_path: Path, start_agent: StartAgent, monkeypatch: pytest.MonkeyPatch
) -> None:
    key = make_key(tmp_path / "id")
    start_agent(is_silent=True)
    monkeypatch.setattr(ssh_identities, "_LIST_S", 0.05)
    given, _ = tried_with(tmp_path, f"IdentityFile {tmp_path}/id")
    assert [found for found, _ in given] == [key]
