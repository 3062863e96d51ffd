"""What a real scheduler on this machine has in common with any other: daemons, client commands, waiting, logs."""

from __future__ import annotations

import contextlib
import os
import subprocess
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import ClassVar, TypeVar

from clusters.daemons import Daemon, last_words
from clusters.waiting import wait_until

T = TypeVar("T")
C = TypeVar("C", bound="Cluster")

# Nothing of the test's environment may reach jobs by way of a daemon.
DAEMON_ENV = {
    "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
    "HOME": "/root",
    "LANG": "C.UTF-8",
}


class Cluster(ABC):
    """A scheduler of one's own with its nodes; also usable in a ``with`` statement."""

    scheduler: ClassVar[str]
    """As crh-batch calls it."""
    reaches_nodes: ClassVar[bool]
    """Whether a client on this machine takes the nodes for its own machine."""
    says: ClassVar[Mapping[str, str]]
    """What a user reads, by case: partition (an unknown one), constraint (likewise), down (nobody answers)."""
    requeue_directive: ClassVar[str] = ""
    """What lets a job be put back, if jobs aren't by themselves."""

    def __init__(self) -> None:
        self._daemons: dict[str, Daemon] = {}
        self._killed: set[str] = set()

    @abstractmethod
    def start(self) -> None:
        """Bring everything up and return when the nodes take jobs.

        Raises:
            DaemonError: something did not come up; with the ends of all logs. Nothing is left running.
        """

    @abstractmethod
    def tidy(self) -> None:
        """Put the cluster back to what it was at the start, for the next test: no job, all nodes take jobs."""

    @abstractmethod
    def stop(self) -> None:
        """End every process of the cluster and remove its directory. Stopping twice is stopping once."""

    @property
    @abstractmethod
    def base(self) -> Path:
        """The directory in which all of it lives."""

    @property
    @abstractmethod
    def env(self) -> dict[str, str]:
        """What a client command needs in its environment, beside what it has."""

    @property
    @abstractmethod
    def described_by(self) -> Sequence[Sequence[str]]:
        """The commands that show jobs and nodes."""

    # ---- what tests do on any scheduler

    @abstractmethod
    def states(self, job_id: str) -> dict[str, str]:
        """Return the state of a job or of each task of an array, by its id, in the scheduler's words; {} when gone."""

    @abstractmethod
    def wait_for_end(self, job_id: str, *, timeout_s: float = 30.0) -> None:
        """Wait until no task of a job waits or runs."""

    @abstractmethod
    def cancel(self, job_id: str, task: int | None = None) -> None:
        """Cancel a job, or one task of it, counted from 0, as a user does."""

    @abstractmethod
    def cores_of(self, job_id: str) -> set[str]:
        """Return how many cores the tasks of a job had, as the accounting says; nothing before it knows the job."""

    @abstractmethod
    def node_of(self, job_id: str) -> str:
        """Return a node that a job runs on; empty if it doesn't run."""

    @abstractmethod
    def requeue(self, job_id: str, task: int) -> None:
        """Put a running task back into the queue, from where it starts again; tasks are counted from 0."""

    @abstractmethod
    def lose_node(self, name: str) -> None:
        """Kill a node with all its jobs, and see to it that the scheduler takes note and puts them back soon."""

    @abstractmethod
    def start_node(self, name: str, *, timeout_s: float = 30.0) -> None:
        """Bring a killed node back and wait until it takes jobs."""

    @abstractmethod
    def stop_controller(self) -> None:
        """End the scheduler in order; jobs run on."""

    @abstractmethod
    def start_controller(self) -> None:
        """Start the scheduler (again) and wait until it answers and has its nodes."""

    @abstractmethod
    def pause_controller(self) -> None:
        """Stop the scheduler as a busy site does: it takes connections but does not answer."""

    @abstractmethod
    def resume_controller(self) -> None:
        """Let a paused scheduler go on."""

    # ---- life and use

    def __enter__(self: C) -> C:
        """Start it."""
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop it."""
        self.stop()

    def run(
        self,
        argv: Sequence[str | os.PathLike[str]],
        *,
        check: bool = True,
        cwd: str | os.PathLike[str] | None = None,
        stdin: str = "",
        env: Mapping[str, str] | None = None,
        timeout_s: float = 60.0,
    ) -> subprocess.CompletedProcess[str]:
        """Run a client command of this cluster and return what it said.

        Args:
            argv: the command and its arguments; no shell is involved.
            check: whether a non-zero exit is an error here.
            cwd: where it runs; "/" if not given.
            stdin: its standard input.
            env: more variables, beside the test's own and ``self.env``.
            timeout_s: seconds it may take.

        Raises:
            AssertionError: it failed and ``check`` was asked for; with both outputs.
        """
        done = subprocess.run(
            [os.fspath(part) for part in argv],
            cwd=cwd or "/",
            input=stdin,
            env={**os.environ, **self.env, **(env or {})},
            capture_output=True,
            text=True,
            timeout=timeout_s,
            check=False,
        )
        if check and done.returncode != 0:
            raise AssertionError(
                f"{list(argv)} ended with {done.returncode}\n"
                f"--- stdout ---\n{done.stdout}\n--- stderr ---\n{done.stderr}"
            )
        return done

    def wait_until(self, predicate: Callable[[], T], timeout_s: float, what: str) -> T:
        """Wait for something with a deadline; fail at once when a daemon has died meanwhile.

        Args:
            predicate: what is asked until it gives something true, which is returned.
            timeout_s: seconds until giving up.
            what: what is waited for, for the message.

        Raises:
            WaitTimeoutError: with what the scheduler says of jobs and nodes.
            DaemonError: a daemon ended that nobody has stopped.
        """

        def watched() -> T:
            value = predicate()
            if not value:
                self.check()
            return value

        return wait_until(watched, timeout_s, what, describe=self.describe)

    def check(self) -> None:
        """Raise DaemonError if a daemon has ended that was not killed through this class."""
        for name, daemon in self._daemons.items():
            if name not in self._killed:
                daemon.check()

    def describe(self) -> str:
        """Return jobs and nodes as the scheduler shows them, for messages."""
        said = ""
        for argv in self.described_by:
            with contextlib.suppress(subprocess.SubprocessError):
                done = self.run(argv, check=False, timeout_s=20)
                said += f"$ {' '.join(argv)}\n{done.stdout}{done.stderr}"
        return said

    def processes(self) -> list[int]:
        """Return every process of the cluster: daemons, their supervisors, running jobs."""
        return [pid for daemon in self._daemons.values() for pid in daemon.processes()]

    def logs(self) -> list[Path]:
        """Return all logs."""
        return sorted((self.base / "log").iterdir())

    def last_words(self) -> str:
        """Return the ends of all logs."""
        return "\n".join(last_words(log) for log in self.logs())

    def _close_daemons(self) -> None:
        # Nodes first, so that no job runs on; what was started first goes last.
        for name in reversed(list(self._daemons)):
            self._daemons.pop(name).close()
        self._killed.clear()
