"""An SSH server that asks questions, as sites with second factors do; a real sshd asks only what the system's PAM says.

Written with paramiko, for one user. It runs commands as the test's own user, in an environment of its own.
"""

from __future__ import annotations

import contextlib
import os
import socket
import subprocess
import threading
from collections.abc import Mapping

import paramiko
from paramiko.server import InteractiveQuery


class AskingServer:
    """One such server on loopback.

    Args:
        questions: what it asks, in one go, with the right answers; none if it takes no answers to questions.
        password: what it takes as a password; none if empty.
        env: the environment of commands.
        first_key: a public key that must be shown first, then the questions come; none if None.

    Attributes:
        tried: what clients have tried: "keyboard-interactive", "password", "publickey".
    """

    def __init__(
        self,
        questions: Mapping[str, str],
        password: str = "",
        env: Mapping[str, str] | None = None,
        first_key: paramiko.PKey | None = None,
    ) -> None:
        self.questions = dict(questions)
        self.password = password
        self.first_key = first_key
        self.tried: list[str] = []
        self.host_key = paramiko.ECDSAKey.generate()
        self._env = dict(env or {"PATH": os.environ.get("PATH", os.defpath)})
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = int(self._listener.getsockname()[1])
        self._transports: list[paramiko.Transport] = []
        self._processes: list[subprocess.Popen[bytes]] = []
        self._thread = threading.Thread(target=self._accept, daemon=True)
        self._thread.start()

    def known_hosts_line(self) -> str:
        """Return what a client's known_hosts says of it."""
        return f"[127.0.0.1]:{self.port} {self.host_key.get_name()} {self.host_key.get_base64()}\n"

    def close(self) -> None:
        """End it."""
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._thread.join()
        for transport in self._transports:
            transport.close()
        for process in self._processes:
            process.wait(timeout=60)

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            transport = paramiko.Transport(client)
            self._transports.append(transport)
            transport.add_server_key(self.host_key)
            with contextlib.suppress(paramiko.SSHException, EOFError):
                transport.start_server(threading.Event(), _Session(self))

    def run(self, channel: paramiko.Channel, command: bytes) -> None:
        """Run a command with a channel as its input and outputs."""
        process = subprocess.Popen(
            ["sh", "-c", command], stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=self._env, bufsize=0
        )
        self._processes.append(process)
        threading.Thread(target=_copy_in, args=(channel, process), daemon=True).start()
        threading.Thread(target=_copy_out, args=(process, channel), daemon=True).start()


def _copy_in(channel: paramiko.Channel, process: subprocess.Popen[bytes]) -> None:
    assert process.stdin is not None
    with contextlib.suppress(OSError, EOFError):
        while data := channel.recv(65536):
            process.stdin.write(data)
    process.stdin.close()


def _copy_out(process: subprocess.Popen[bytes], channel: paramiko.Channel) -> None:
    assert process.stdout is not None
    with contextlib.suppress(OSError, EOFError), process.stdout:
        while data := process.stdout.read(65536):
            channel.sendall(data)
    channel.close()


class _Session(paramiko.ServerInterface):
    def __init__(self, server: AskingServer) -> None:
        self._server = server
        self._has_shown_key = server.first_key is None

    def get_allowed_auths(self, username: str) -> str:
        if not self._has_shown_key:
            return "publickey"
        ways = ["keyboard-interactive"] if self._server.questions else []
        return ",".join([*ways, *(["password"] if self._server.password else [])])

    def check_auth_publickey(self, username: str, key: paramiko.PKey) -> int:
        self._server.tried.append("publickey")
        if self._server.first_key is None or key.asbytes() != self._server.first_key.asbytes():
            return paramiko.common.AUTH_FAILED
        self._has_shown_key = True
        return paramiko.common.AUTH_PARTIALLY_SUCCESSFUL

    def check_auth_interactive(self, username: str, submethods: str) -> int | InteractiveQuery:
        self._server.tried.append("keyboard-interactive")
        return InteractiveQuery(
            "Second factor", "for the login node", *((one, False) for one in self._server.questions)
        )

    def check_auth_interactive_response(self, responses: list[str]) -> int:
        is_right = list(responses) == list(self._server.questions.values())
        return paramiko.common.AUTH_SUCCESSFUL if is_right else paramiko.common.AUTH_FAILED

    def check_auth_password(self, username: str, password: str) -> int:
        self._server.tried.append("password")
        is_right = password == self._server.password
        return paramiko.common.AUTH_SUCCESSFUL if is_right else paramiko.common.AUTH_FAILED

    def check_channel_request(self, kind: str, chanid: int) -> int:
        return paramiko.common.OPEN_SUCCEEDED

    def check_channel_exec_request(self, channel: paramiko.Channel, command: bytes) -> bool:
        self._server.run(channel, command)
        return True
