"""A daemon of a test's own, by way of a supervisor process that ends it whatever becomes of the test."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from clusters import supervisor

_ANSWER_S = 30.0


class DaemonError(RuntimeError):
    """A daemon that could not be started or ended by itself; the message has the end of its log."""


class Daemon:
    """One daemon, run in the foreground below a supervisor (``clusters.supervisor`` says why).

    Args:
        name: what it is called in messages.
        argv: the program with its full path, and the options that keep it in the foreground.
        env: its whole environment; nothing of the test's own gets in.
        directory: where it runs.
        log: what it says on standard output and error; appended to.
        hostname: the name that the machine has for it and all it starts; the machine's own if empty.
        hosts: the /etc/hosts that belongs to ``hostname``.
    """

    def __init__(
        self,
        name: str,
        argv: Sequence[str],
        env: Mapping[str, str],
        directory: Path,
        log: Path,
        hostname: str = "",
        hosts: Path | None = None,
    ) -> None:
        self.name = name
        self.log = log
        self._description: dict[str, object] = {
            "argv": list(argv),
            "env": dict(env),
            "cwd": str(directory),
            "log": str(log),
            "hostname": hostname,
            "hosts": str(hosts or ""),
        }
        self._supervisor: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it, unless it runs; return before it is ready for anything."""
        if self._supervisor is None:
            with self.log.open("ab") as log:
                self._supervisor = subprocess.Popen(
                    [
                        sys.executable,
                        "-I",
                        "-S",
                        supervisor.__file__,
                        json.dumps({**self._description, "parent": os.getpid()}),
                    ],
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    stderr=log,
                    bufsize=0,
                    # A Ctrl-C at the terminal is for the test; the test then ends its daemons in order.
                    start_new_session=True,
                    env={"PATH": os.defpath},
                )
        self._ask("start")

    @property
    def pid(self) -> int | None:
        """The daemon's process id, or None when it does not run."""
        if self._supervisor is None:
            return None
        word, _, number = self._ask("status").partition(" ")
        return int(number) if word == "running" else None

    def processes(self) -> list[int]:
        """Return the supervisor and all below it: daemon, programs of jobs, and what those let go."""
        if self._supervisor is None:
            return []
        return [self._supervisor.pid, *supervisor.descendants(self._supervisor.pid)]

    def signal(self, number: int) -> None:
        """Send a signal to the daemon alone."""
        self._ask(f"signal {number}")

    def kill_alone(self) -> None:
        """Kill the daemon; what it had let go lives on (with slurmd: jobs). ``start`` brings a new one."""
        self._ask("kill")

    def kill_all(self) -> None:
        """Kill the daemon and everything it started, as a power cut would."""
        self._ask("clear")

    def close(self) -> None:
        """End everything, the supervisor too. Closing what does not run is nothing."""
        if self._supervisor is None:
            return
        for pipe in (self._supervisor.stdin, self._supervisor.stdout):
            assert pipe is not None
            pipe.close()
        self._supervisor.wait(_ANSWER_S)
        self._supervisor = None

    def check(self) -> None:
        """Raise if it does not run.

        Raises:
            DaemonError: with the end of the log.
        """
        if self._supervisor is None:
            raise DaemonError(f"{self.name} was not started")
        state = self._ask("status")
        if not state.startswith("running"):
            raise DaemonError(f"{self.name} {state}\n{last_words(self.log)}")

    def _ask(self, command: str) -> str:
        if self._supervisor is None:
            raise DaemonError(f"{self.name} was not started")
        assert self._supervisor.stdin is not None and self._supervisor.stdout is not None
        try:
            self._supervisor.stdin.write(command.encode() + b"\n")
            answer = self._supervisor.stdout.readline().decode().strip()
        except BrokenPipeError:
            answer = ""
        if not answer:
            raise DaemonError(f"the supervisor of {self.name} is gone\n{last_words(self.log)}")
        return answer


def last_words(log: Path, lines: int = 25) -> str:
    """Return the end of a log, under a heading."""
    text = log.read_text(errors="replace") if log.exists() else ""
    return f"--- end of {log.name} ---\n" + "\n".join(text.splitlines()[-lines:])
