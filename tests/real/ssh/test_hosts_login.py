"""Ways to a host behind SSH, each with a real sshd: keys, agents, jump hosts, questions; and one clear line if not."""

from __future__ import annotations

import base64
import contextlib
import getpass
import logging
import os
import re
import shlex
import shutil
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import paramiko
import pytest

from clusters import asking_server
from clusters.asking_server import AskingServer
from clusters.packages import need_ssh
from clusters.ports import free_ports
from clusters.ssh_server import Client, SshServer, make_client, make_key
from clusters.waiting import wait_until
from crh_batch.errors import ConnectionLost, HostError
from crh_batch.hosts import reach, ssh
from crh_batch.hosts.base import Asker
from crh_batch.hosts.ssh import SshHost
from crh_batch.hosts.ssh_identities import identities
from crh_batch.hosts.ssh_login import nobody
from crh_batch.hosts.ssh_options import read_options
from unit.hosts.fake_agent import FakeAgent

PASSPHRASE = "correct horse battery staple"
PASSWORD = "Tr0ub4dor&3"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SshServer]:
    need_ssh()
    server = SshServer(tmp_path_factory.mktemp("sshd") / "login")
    server.start()
    yield server
    server.close()


@pytest.fixture(scope="module")
def jump(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SshServer]:
    need_ssh()
    server = SshServer(tmp_path_factory.mktemp("sshd") / "jump", "jump")
    server.start()
    yield server
    server.close()


@pytest.fixture(autouse=True)
def _no_agent(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No test meets an agent or a ~/.ssh that is none of its own."""
    monkeypatch.delenv("SSH_AUTH_SOCK", raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))


class Answers:
    """A user who answers what is asked, and remembers what that was."""

    def __init__(self, *answers: str) -> None:
        self._answers = list(answers)
        self.asked: list[tuple[str, bool]] = []

    def __call__(self, prompt: str, *, secret: bool) -> str | None:
        self.asked.append((prompt, secret))
        return self._answers.pop(0) if self._answers else None


def greet(client: Client, name: str = "login", ask: Asker = nobody) -> str:
    """Log in, run one command, and leave; return what it said."""
    host = SshHost(name, ask, config_file=str(client.config))
    try:
        return host.run(["echo", "hello", "$HOME"]).stdout
    finally:
        host.close()


def refused(client: Client, name: str = "login", ask: Asker = nobody) -> HostError:
    """Return why a host can't be used: a message of one line, with a next step, and surely nothing has been run."""
    with pytest.raises(HostError) as caught:
        greet(client, name, ask)
    error = caught.value
    assert error.message.startswith(f"{name}: ")
    assert "\n" not in error.message
    assert error.next_step
    assert not isinstance(error, ConnectionLost)
    return error


def add(client: Client, text: str) -> None:
    client.config.write_text(client.config.read_text() + text)


# ---- ways in


def test_login_when_a_key_is_known_then_it_is_used(server: SshServer, tmp_path: Path) -> None:
    assert greet(make_client(tmp_path / "c", server)) == "hello $HOME\n"


def test_login_when_a_key_has_a_passphrase_then_it_is_asked_for(server: SshServer, tmp_path: Path) -> None:
    client = make_client(tmp_path / "c", server, passphrase=PASSPHRASE)
    user = Answers("wrong", PASSPHRASE)
    assert greet(client, ask=user) == "hello $HOME\n"
    prompt = (f"Passphrase for {client.directory / 'id'}: ", True)
    assert user.asked == [prompt, prompt]


def test_login_when_nobody_knows_the_passphrase_then_an_agent_is_named(server: SshServer, tmp_path: Path) -> None:
    client = make_client(tmp_path / "c", server, passphrase=PASSPHRASE)
    assert "needs its passphrase, and there is no terminal: use an agent" in refused(client).message
    assert "wrong passphrase" in refused(client, ask=Answers("a", "b", "c")).message


@contextlib.contextmanager
def agent_with(key: Path, socket: Path) -> Iterator[None]:
    """Run an agent that has been given a key, with its passphrase."""
    agent = subprocess.Popen(["ssh-agent", "-D", "-a", socket], stdout=subprocess.DEVNULL)
    try:
        wait_until(socket.exists, 60, "the agent listens")
        giving = socket.with_name("askpass")
        giving.write_text(f"#!/bin/sh\necho {shlex.quote(PASSPHRASE)}\n")
        giving.chmod(0o700)
        environment = {"PATH": os.environ["PATH"], "SSH_AUTH_SOCK": str(socket), "SSH_ASKPASS": str(giving)}
        add_key = ["ssh-add", "-q", str(key)]
        subprocess.run(add_key, env={**environment, "SSH_ASKPASS_REQUIRE": "force"}, check=True)
        yield
    finally:
        agent.terminate()
        agent.wait()


def test_login_when_an_agent_has_the_key_then_nothing_is_asked(
    server: SshServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = make_client(tmp_path / "c", server, passphrase=PASSPHRASE)
    with agent_with(client.directory / "id", tmp_path / "a"):
        monkeypatch.setenv("SSH_AUTH_SOCK", str(tmp_path / "a"))
        assert greet(client) == "hello $HOME\n"


def test_login_when_the_agent_does_not_sign_then_the_server_is_shown_the_next_key(
    server: SshServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A key on a device that isn't plugged in, or that nobody agrees to use."""
    client = make_client(tmp_path / "c", server)
    client.config.write_text(client.config.read_text().replace("IdentitiesOnly yes", ""))
    make_key(tmp_path / "other")
    public = base64.b64decode((tmp_path / "other.pub").read_text().split()[1])
    monkeypatch.chdir(tmp_path)
    agent = FakeAgent(Path("agent"), public)
    monkeypatch.setenv("SSH_AUTH_SOCK", "agent")
    assert greet(client) == "hello $HOME\n"
    server.authorized.write_text("")
    assert "ssh-ed25519 of the agent (it did not sign)" in refused(client).message
    agent.close()


@pytest.mark.parametrize("said", ["{socket}", "$MINE", "none"])
def test_login_when_the_configuration_names_an_agent_then_that_is_asked(
    server: SshServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, said: str
) -> None:
    client = make_client(tmp_path / "c", server, passphrase=PASSPHRASE)
    socket = tmp_path / "a"
    add(client, f"Host *\n  IdentityAgent {said.format(socket=socket)}\n")
    with agent_with(client.directory / "id", socket):
        monkeypatch.setenv("MINE", str(socket))
        if said == "none":
            monkeypatch.setenv("SSH_AUTH_SOCK", str(socket))
            assert "needs its passphrase" in refused(client).message
        else:
            assert greet(client) == "hello $HOME\n"


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A key that signs those of users."""
    path = tmp_path_factory.mktemp("authority") / "ca"
    make_key(path)
    return path


@pytest.fixture(scope="module")
def trusting(tmp_path_factory: pytest.TempPathFactory, authority: Path) -> Iterator[SshServer]:
    """A server that knows no keys, only who signs them, as sites with short-lived certificates have it."""
    need_ssh()
    server = SshServer(tmp_path_factory.mktemp("sshd") / "trusting", lines=f"TrustedUserCAKeys {authority}.pub")
    server.start()
    yield server
    server.close()


def sign(authority: Path, key: Path, *, valid: str = "+1h") -> None:
    """Make a certificate beside a key."""
    who = ["-I", "me", "-n", getpass.getuser(), "-V", valid]
    subprocess.run(["ssh-keygen", "-q", "-s", authority, *who, f"{key}.pub"], check=True, capture_output=True)


@pytest.mark.parametrize("kind", ["ed25519", "rsa", "ecdsa"])
@pytest.mark.parametrize(
    "way", ["beside the key", "named", "agent has both", "agent has the key", "agent has it alone"]
)
def test_login_when_only_a_certificate_is_let_in_then_it_is_found(
    trusting: SshServer, authority: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str, way: str
) -> None:
    client = make_client(tmp_path / "c", trusting)
    trusting.authorized.write_text("")
    key = client.directory / "id"
    for old in (key, key.with_suffix(".pub")):
        old.unlink()
    passphrase = PASSPHRASE if way.startswith("agent") else ""
    subprocess.run(["ssh-keygen", "-q", "-t", kind, "-N", passphrase, "-C", "", "-f", key], check=True)
    assert "was not let in" in refused(client, ask=Answers(PASSPHRASE)).message
    sign(authority, key)
    certificate, away = client.directory / "id-cert.pub", client.directory / "elsewhere"
    if way == "named":
        add(client, f"Host *\n  CertificateFile {certificate.rename(away)}\n")
    if not passphrase:
        assert greet(client) == "hello $HOME\n"
        return
    if way == "agent has the key":
        certificate.rename(away)
    with agent_with(key, tmp_path / "a"):
        if way == "agent has it alone":
            plain = shutil.copy(f"{key}.pub", tmp_path / "plain.pub")
            environment = {**os.environ, "SSH_AUTH_SOCK": str(tmp_path / "a")}
            subprocess.run(["ssh-add", "-q", "-d", plain], env=environment, check=True)
        away.rename(certificate) if away.exists() else certificate.unlink()
        monkeypatch.setenv("SSH_AUTH_SOCK", str(tmp_path / "a"))
        assert greet(client) == "hello $HOME\n"


@pytest.mark.parametrize("kind", ["ed25519", "rsa", "ecdsa"])
def test_login_when_a_key_has_a_comment_of_any_length_then_it_is_read(tmp_path: Path, kind: str) -> None:
    """paramiko by itself refuses those whose length makes padding unnecessary."""
    options = read_options("nowhere")
    for length in range(8):
        path = tmp_path / f"key{length}"
        ask = Answers(PASSPHRASE) if length % 2 else nobody
        secret = PASSPHRASE if length % 2 else ""
        argv = ["ssh-keygen", "-q", "-t", kind, "-N", secret, "-C", "c" * length, "-f", str(path)]
        subprocess.run(argv, check=True)
        tried: list[str] = []
        ((key, _),) = identities(replace(options, identities=(str(path),)), ask, tried)
        assert key.get_base64() == path.with_suffix(".pub").read_text().split()[1], tried


def test_login_when_a_certificate_has_run_out_or_is_another_s_then_the_key_alone_is_tried(
    server: SshServer, authority: Path, tmp_path: Path
) -> None:
    client, other = make_client(tmp_path / "c", server), make_client(tmp_path / "d", server)
    sign(authority, client.directory / "id", valid="20200101:20200102")
    assert greet(client) == "hello $HOME\n"
    sign(authority, other.directory / "id")
    (other.directory / "id-cert.pub").rename(client.directory / "id-cert.pub")
    assert greet(client) == "hello $HOME\n"


@pytest.mark.parametrize("way", ["ProxyJump jump", "ProxyCommand ssh -F {config} -W %h:%p jump"])
def test_login_when_a_host_is_in_between_then_it_goes_through_it(
    server: SshServer, jump: SshServer, tmp_path: Path, way: str
) -> None:
    client = make_client(tmp_path / "c", server, jump)
    add(
        client,
        f"Host far\n  {way.format(config=client.config)}\n" + server.entry(client).replace("Host login", "Host far"),
    )
    before = jump.log.read_text().count("Accepted publickey")
    assert greet(client, "far") == "hello $HOME\n"
    assert jump.log.read_text().count("Accepted publickey") == before + 1


def test_connection_when_the_jump_host_goes_while_it_is_closed_then_nothing_is_printed(
    server: SshServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    errors: list[object] = []
    monkeypatch.setattr(threading, "excepthook", errors.append)
    jump = SshServer(tmp_path / "jump", "jump")
    jump.start()
    client = make_client(tmp_path / "c", server, jump)
    add(client, "Host far\n  ProxyJump jump\n" + server.entry(client).replace("Host login", "Host far"))
    close = paramiko.Channel.close
    tried = threading.Event()

    def close_on_a_broken_line(channel: paramiko.Channel) -> None:
        transport = channel.get_transport()
        # The channel to the host behind; and not one of another test's that is only now forgotten.
        if isinstance(transport.sock, socket.socket) and transport.is_active():
            jump.cut()
            transport.join()
            tried.set()
            raise EOFError
        close(channel)

    host = SshHost("far", config_file=str(client.config))
    try:
        host.run(["true"])
        monkeypatch.setattr(paramiko.Channel, "close", close_on_a_broken_line)
        host.close()
    finally:
        jump.close()
    assert tried.is_set()
    assert errors == []


def test_login_when_the_jump_host_is_down_then_it_is_named(server: SshServer, tmp_path: Path) -> None:
    client = make_client(tmp_path / "c", server)
    (port,) = free_ports(1)
    add(client, f"Host gone\n  HostName 127.0.0.1\n  Port {port}\nHost far\n  ProxyJump gone\n  HostName 127.0.0.1\n")
    with pytest.raises(HostError, match=r"gone: .*refused"):
        greet(client, "far")


@pytest.fixture
def asking(tmp_path: Path) -> Iterator[AskingServer]:
    server = AskingServer({"Verification code: ": "123456", "Password: ": PASSWORD})
    yield server
    server.close()


def known(tmp_path: Path, server: AskingServer, lines: str = "") -> Client:
    client = Client(tmp_path / "c")
    client.directory.mkdir()
    (client.directory / "known_hosts").write_text(server.known_hosts_line())
    client.config.write_text(
        f"Host site\n  HostName 127.0.0.1\n  Port {server.port}\n  User anna\n"
        f"  UserKnownHostsFile {client.directory / 'known_hosts'}\n{lines}"
    )
    return client


def test_login_when_the_server_asks_twice_then_both_answers_are_given(asking: AskingServer, tmp_path: Path) -> None:
    user = Answers("123456", PASSWORD)
    assert greet(known(tmp_path, asking), "site", user) == "hello $HOME\n"
    heading = "Second factor for the login node: "
    assert user.asked == [(f"{heading}Verification code: ", True), (f"{heading}Password: ", True)]


def test_login_when_answers_are_wrong_or_missing_then_one_line_says_so(asking: AskingServer, tmp_path: Path) -> None:
    client = known(tmp_path, asking)
    assert "anna@127.0.0.1 was not let in" in refused(client, "site", Answers("1", "2")).message
    assert "the server asks 'Verification code:', and there is nobody to answer" in refused(client, "site").message


def test_login_when_a_key_comes_first_then_the_questions_come_after(tmp_path: Path) -> None:
    make_key(tmp_path / "id")
    key = paramiko.PKey.from_path(tmp_path / "id")
    server = AskingServer({"Code: ": "123456"}, first_key=key)
    user = Answers("123456")
    client = known(tmp_path, server, f"  IdentityFile {tmp_path / 'id'}\n")
    assert greet(client, "site", user) == "hello $HOME\n"
    server.close()
    assert server.tried == ["publickey", "keyboard-interactive"]


def test_login_when_only_a_password_is_taken_then_it_is_asked_for(tmp_path: Path) -> None:
    server = AskingServer({}, PASSWORD)
    client = known(tmp_path, server)
    assert greet(client, "site", Answers(PASSWORD)) == "hello $HOME\n"
    assert "tried: a password" in refused(client, "site", Answers("wrong")).message
    assert "The server takes password" in refused(client, "site").next_step
    server.close()


def test_login_when_the_server_never_begins_the_command_then_it_is_given_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A home directory on a filesystem that hangs."""
    gate = threading.Event()

    def hang(session: object, channel: object, command: bytes) -> bool:
        gate.wait()
        return False

    monkeypatch.setattr(asking_server._Session, "check_channel_exec_request", hang)
    monkeypatch.setattr(ssh, "_ANSWER_S", 0.2)
    server = AskingServer({}, PASSWORD)
    try:
        client = known(tmp_path, server)
        assert "site: lets nobody run a command" in refused(client, "site", Answers(PASSWORD)).message
    finally:
        gate.set()
        server.close()


def test_login_when_secrets_are_given_then_they_are_written_nowhere(
    server: SshServer, tmp_path: Path, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    secrets = [PASSPHRASE, PASSWORD, "246810", "a wrong one"]
    caplog.set_level(logging.DEBUG)
    asking = AskingServer({"Code: ": "246810", "Password: ": PASSWORD}, PASSWORD)
    site = known(tmp_path, asking)
    assert greet(site, "site", Answers("246810", PASSWORD))
    errors = [refused(site, "site", Answers("246810", "a wrong one", "a wrong one"))]
    client = make_client(tmp_path / "c2", server, passphrase=PASSPHRASE)
    assert greet(client, ask=Answers(PASSPHRASE))
    server.authorized.write_text("")
    errors.append(refused(client, ask=Answers(PASSPHRASE)))
    asking.close()
    written = "".join(path.read_text(errors="replace") for path in tmp_path.rglob("*") if path.is_file())
    said = [caplog.text, *capfd.readouterr(), *map(str, errors), *(repr(one.__cause__) for one in errors)]
    assert "uthentication" in caplog.text, "it was logged at all"
    for secret in secrets:
        assert all(secret not in text for text in [*said, written, server.log.read_text()])


# ---- host keys


def test_host_key_when_it_is_unknown_then_it_is_shown_and_refused(server: SshServer, tmp_path: Path) -> None:
    client = make_client(tmp_path / "c", server)
    known_hosts = client.directory / "known_hosts"
    known_hosts.write_text("")
    listed = subprocess.run(["ssh-keygen", "-lf", server.host_key], capture_output=True, text=True, check=True).stdout
    error = refused(client)
    assert "its host key is not known" in error.message
    assert listed.split()[1] in error.message, "the fingerprint as ssh-keygen prints it"
    assert "`ssh login` once" in error.next_step
    assert known_hosts.read_text() == "", "nothing is accepted silently"


def test_host_key_when_it_has_changed_then_both_are_shown_and_it_is_refused(
    server: SshServer, jump: SshServer, tmp_path: Path
) -> None:
    client = make_client(tmp_path / "c", server)
    line = jump.known_hosts_line().replace(str(jump.port), str(server.port))
    (client.directory / "known_hosts").write_text(line)
    error = refused(client)
    assert "another than the known one" in error.message
    assert error.message.count("SHA256:") == 2
    assert f"ssh-keygen -R '[127.0.0.1]:{server.port}' -f {client.directory}/known_hosts`" in error.next_step


def test_host_key_when_ssh_goes_by_an_authority_then_it_says_how_to_know_the_key(
    server: SshServer, authority: Path, tmp_path: Path
) -> None:
    client = make_client(tmp_path / "c", server)
    known_hosts = client.directory / "known_hosts"
    known_hosts.write_text(f"@cert-authority * {authority.with_suffix('.pub').read_text()}")
    said = refused(client).next_step
    command = re.search("`(ssh .*)`", said)
    assert command
    argv = shlex.split(command[1])
    options = ["-F", str(client.config), "-o", "BatchMode=yes", "-o", "StrictHostKeyChecking=accept-new"]
    subprocess.run([argv[0], *options, *argv[1:], "true"], check=True)
    assert greet(client) == "hello $HOME\n"


def test_host_key_when_it_was_revoked_then_it_is_refused(server: SshServer, tmp_path: Path) -> None:
    client = make_client(tmp_path / "c", server)
    line = server.known_hosts_line()
    (client.directory / "known_hosts").write_text(line + "@revoked " + line)
    assert "was revoked" in refused(client).message


def test_host_key_when_known_hosts_is_hashed_then_it_is_found(server: SshServer, tmp_path: Path) -> None:
    client = make_client(tmp_path / "c", server)
    subprocess.run(["ssh-keygen", "-q", "-H", "-f", client.directory / "known_hosts"], capture_output=True, check=True)
    assert "127.0.0.1" not in (client.directory / "known_hosts").read_text()
    assert greet(client) == "hello $HOME\n"


# ---- one clear line


def test_login_when_the_user_is_wrong_then_the_user_is_named(server: SshServer, tmp_path: Path) -> None:
    client = make_client(tmp_path / "c", server)
    error = refused(client, "nobody-at-all@login")
    assert "nobody-at-all@127.0.0.1 was not let in" in error.message
    assert "Is nobody-at-all the right user" in error.next_step


def test_login_when_nobody_listens_then_the_address_is_named(server: SshServer, tmp_path: Path) -> None:
    (port,) = free_ports(1)
    assert "Connection refused" in refused(make_client(tmp_path / "c", server), f"login:{port}").message


def test_login_when_the_name_does_not_resolve_then_it_is_said(server: SshServer, tmp_path: Path) -> None:
    error = refused(make_client(tmp_path / "c", server), "no-such-host.invalid")
    assert "not known" in error.message or "resolution" in error.message


def test_login_when_something_else_listens_then_it_is_said(tmp_path: Path) -> None:
    listening = "import socket; s = socket.create_server(('127.0.0.1', 0)); print(s.getsockname()[1], flush=True); "
    talk = "c = s.accept()[0]; c.sendall(b'HTTP/1.1 400 Bad Request\\r\\n\\r\\n'); c.close()"
    other = subprocess.Popen([sys.executable, "-c", listening + talk], stdout=subprocess.PIPE, text=True)
    assert other.stdout is not None
    port = other.stdout.readline().strip()
    client = Client(tmp_path)
    client.config.write_text("")
    with other:
        assert "banner" in refused(client, f"127.0.0.1:{port}").message


# ---- what the login finds there


@pytest.fixture
def login_script(server: SshServer) -> Iterator[Path]:
    path = server.directory / "home" / ".bash_profile"
    yield path
    path.unlink(missing_ok=True)


def test_login_when_python_is_missing_then_one_line_says_so(
    server: SshServer, tmp_path: Path, login_script: Path
) -> None:
    login_script.write_text("echo Welcome to the cluster\nPATH=/nowhere\n")
    error = refused(make_client(tmp_path / "c", server))
    assert "python3 can't be started there" in error.message
    assert "python3: not found" in error.message
    assert "module load python" in error.next_step


def test_login_when_its_scripts_talk_then_answers_are_not_mixed_up(
    server: SshServer, tmp_path: Path, login_script: Path
) -> None:
    login_script.write_text("echo '{\"error\": \"x\"}'; echo loud >&2; printf 'no end of line'; export SBATCH_X=1\n")
    client = make_client(tmp_path / "c", server)
    assert greet(client) == "hello $HOME\n"
    host = SshHost("login", config_file=str(client.config))
    assert "SBATCH_X=1" in host.run(["env"]).stdout.splitlines(), "it is a login shell: modules are loaded"
    host.close()


def test_run_when_the_scheduler_is_missing_then_one_line_says_so(
    server: SshServer, tmp_path: Path, login_script: Path
) -> None:
    python = Path(sys.executable).resolve().parent
    login_script.write_text(f"PATH={tmp_path / 'bin'}\n")
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin/python3").symlink_to(python / "python3")
    host = SshHost("login", config_file=str(make_client(tmp_path / "c", server).config))
    assert not host.has("sbatch")
    with pytest.raises(HostError, match="login: sbatch: can't be started there: No such file"):
        host.run(["sbatch", "x"])
    host.close()


# ---- the connection


def test_connection_when_many_things_are_asked_then_there_is_one(
    server: SshServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = make_client(tmp_path / ".ssh", server)
    assert client.config == tmp_path / ".ssh" / "config"
    before = server.log.read_text().count("Accepted publickey")
    try:
        for _ in range(20):
            assert reach.reach("login").run(["true"]).exit_status == 0
            reach.reach("login").ask("exists", paths=[str(tmp_path)])
        assert server.log.read_text().count("Accepted publickey") == before + 1
    finally:
        reach.close_all()
    assert reach.reach("login").run(["true"]).exit_status == 0
    assert server.log.read_text().count("Accepted publickey") == before + 2
    reach.close_all()


def test_reach_when_somebody_can_be_asked_then_he_is(server: SshServer, tmp_path: Path) -> None:
    make_client(tmp_path / ".ssh", server, passphrase=PASSPHRASE)
    user = Answers(PASSPHRASE)
    host = reach.reach("login")
    reach.ask_with(user)
    try:
        assert host.run(["true"]).exit_status == 0
    finally:
        reach.close_all()
        reach.ask_with(nobody)
    assert len(user.asked) == 1


def test_connection_when_it_is_cut_while_a_command_runs_then_nobody_knows(tmp_path: Path) -> None:
    need_ssh()
    server = SshServer(tmp_path / "sshd")
    server.start()
    host = SshHost("login", config_file=str(make_client(tmp_path / "c", server).config))
    began = tmp_path / "began"
    os.mkfifo(tmp_path / "gate")

    def cut_when_it_has_begun() -> None:
        wait_until(began.exists, 60, "the command has begun")
        server.cut()

    cutting = threading.Thread(target=cut_when_it_has_begun)
    cutting.start()
    with pytest.raises(ConnectionLost, match="login: the connection broke"):
        host.run(["sh", "-c", 'touch "$0"; exec cat "$1"', str(began), str(tmp_path / "gate")])
    cutting.join()
    with pytest.raises(HostError, match="refused"):
        host.run(["true"])
    server.start()
    assert host.run(["echo", "again"]).stdout == "again\n"
    host.close()
    server.close()


def test_connection_when_it_is_idle_then_signs_of_life_are_sent(tmp_path: Path) -> None:
    need_ssh()
    server = SshServer(tmp_path / "sshd", lines="LogLevel DEBUG1")
    server.start()
    client = make_client(tmp_path / "c", server)
    client.config.write_text(server.entry(client, "  ServerAliveInterval 1\n"))
    host = SshHost("login", config_file=str(client.config))
    host.run(["true"])
    wait_until(lambda: "keepalive" in server.log.read_text(), 60, "sshd takes note of a sign of life")
    host.close()
    server.close()


def test_user_when_none_is_named_then_it_is_the_one_here(server: SshServer, tmp_path: Path) -> None:
    client = make_client(tmp_path / "c", server)
    client.config.write_text(client.config.read_text().replace(f"  User {getpass.getuser()}\n", ""))
    assert greet(client) == "hello $HOME\n"
