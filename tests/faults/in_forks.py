"""Clients, pilots and a cluster's nodes as forks of one process that has imported everything.

Python and the package take a fifth of a second to start, many times what a small tomodir takes. A fork has an identity
of its own as any process has (process id and start time), dies as any does, and leaves the same files. What a fork
does not show, the frozen pilot and the command line's start, other tests do.
"""

from __future__ import annotations

import os
import re
import shutil
import signal
import socket
import sys
import traceback
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

# Clients are forks of this process, so what they would load is loaded once.
import ctypes  # isort: skip
import jinja2  # noqa: F401
import rich._emoji_codes  # noqa: F401

import crh_batch.cli.cancel
import crh_batch.cli.collect
import crh_batch.cli.finish
import crh_batch.cli.group
import crh_batch.cli.hold
import crh_batch.cli.prune
import crh_batch.cli.release
import crh_batch.cli.retry
import crh_batch.cli.run
import crh_batch.cli.status
import crh_batch.cli.submit
import crh_batch.cli.verify
import crh_batch.cli.wait
import crh_batch.engines.keep_going
import crh_batch.engines.local
import crh_batch.engines.new_batch
import crh_batch.engines.pilots
import crh_batch.engines.programs
import crh_batch.engines.wait
import crh_batch.hosts.this_machine
import crh_batch.ledger.collect
import crh_batch.ledger.steering
import crh_batch.pilot.commit
import crh_batch.pilot.guard
import crh_batch.pilot.idling
import crh_batch.pilot.lanes
import crh_batch.pilot.loop
import crh_batch.pilot.main
import crh_batch.verify.compare
from crh_batch.ledger import durable
from faults.lying_scheduler import Cluster, LyingHost

# How often a waiting process looks changes nothing but the time that this takes.
_PAUSES = (
    (crh_batch.engines.wait, "_PAUSE_S", 0.01),
    (crh_batch.engines.wait, "_FIRST_LOOK_S", 0.1),
    (crh_batch.engines.wait, "LOOK_EVERY_S", 0.1),
    (crh_batch.engines.pilots, "LATE_S", 0.0),
    (crh_batch.pilot.commit, "GROUP_S", 0.005),
    (crh_batch.pilot.guard, "_PAUSE_S", 0.01),
    (crh_batch.pilot.loop, "WATCH_S", 0.05),
    (crh_batch.pilot.idling, "FIRST_PAUSE_S", 0.05),
    (crh_batch.pilot.idling, "LONGEST_PAUSE_S", 0.2),
    (crh_batch.pilot.lanes, "_LOOK_AGAIN_S", 0.05),
    (crh_batch.pilot.loop, "SIGNAL_LAG_S", 0.1),
    (crh_batch.ledger.steering, "_LIST_EVERY_S", 0.05),
    (crh_batch.verify.compare, "_PAUSE_S", 0.01),
)
# With one thread the changes come in the same order in each life, so that none is left out.
_THREADS = ((crh_batch.engines.new_batch, "_WORKERS", 1), (crh_batch.ledger.collect, "WORKERS", 1))


def _named_guard(*arguments: Any, **more: Any) -> None:
    _name_process("crh-guard")
    _watch(*arguments, **more)


_watch = crh_batch.pilot.guard._watch
_start_frozen_pilot = crh_batch.engines.local.start_pilot
# What a pilot does first of all; a campaign puts something in.
pilots_begin_with: list[Callable[[], None]] = []


def quicken(*, one_thread: bool) -> None:
    """Shorten the pauses of this process and its forks, and start their pilots as forks, too."""
    for module, name, value in (*_PAUSES, *(_THREADS if one_thread else ())):
        assert hasattr(module, name), name
        setattr(module, name, value)
    crh_batch.engines.local.start_pilot = _start_pilot  # type: ignore[assignment]
    crh_batch.pilot.guard._watch = _named_guard
    archive = crh_batch.engines.programs.pilot_archive()
    crh_batch.engines.programs.pilot_archive = lambda entry="": archive


def start_frozen_pilots() -> None:
    """Let this process and its forks start local pilots as users get them."""
    crh_batch.engines.local.start_pilot = _start_frozen_pilot


def without_symbolic_links() -> None:
    """Make this process and its forks find none, as on a filesystem that has none (EPERM, symlink(2))."""

    def symlink(target: str, path: str, *rest: Any, **more: Any) -> None:
        raise PermissionError(1, "Operation not permitted", path)

    setattr(durable.calls, "symlink", symlink)  # noqa: B010 - declared as a static method


def use_cluster(cluster: Cluster, host: LyingHost) -> None:
    """Let commands of this process and its forks meet this scheduler."""

    def run(self: object, argv: Sequence[str], *, timeout_s: float = 60.0) -> Any:
        return host.run(argv)

    this_machine: Any = crh_batch.hosts.this_machine.ThisMachine
    this_machine.run = run
    this_machine.has = lambda self, program: host.has(program)


def fork(work: Callable[[], int], directory: str, log: str) -> int:
    """Do something in a process of its own, in a directory, with its output in a file; return its process id."""
    pid = os.fork()
    if pid == 0:
        _be(work, directory, log)
    return pid


def _be(work: Callable[[], int], directory: str, log: str) -> None:
    """Be a process that does this and ends; never returns."""
    code = 99
    try:
        os.chdir(directory)
        descriptor = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
        os.dup2(descriptor, 1)
        os.dup2(descriptor, 2)
        code = work()
    except SystemExit as leaving:
        code = leaving.code if isinstance(leaving.code, int) else 99
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def client(arguments: Sequence[str]) -> NoReturn:
    """Be `crh-batch ARGUMENTS`."""
    _name_process("crh-client")
    sys.argv[1:] = list(arguments)
    crh_batch.cli.group.main()


def pilot(arguments: Sequence[str], environment: Mapping[str, str] | None = None, host: str = "") -> int:
    """Be a pilot, in a session of its own, as on a machine ``host``."""
    _name_process("crh-pilot")
    for begin in pilots_begin_with:
        begin()
    os.environ.update(environment or {})
    if host:
        socket.gethostname = lambda: host
    return crh_batch.pilot.main.main(list(arguments))


def _name_process(name: str) -> None:
    Path("/proc/self/comm").write_text(name)


@dataclass(frozen=True)
class _Started:
    pid: int


def _start_pilot(batch: Any, submission: Any, cores: int, scratch: str, memory_mb: int = 0) -> _Started:
    """Stand in for engines.local.start_pilot: the same directory, output and arguments, without a new Python."""
    directory = os.path.join(batch.paths.logs, submission.token)
    os.makedirs(directory, exist_ok=True)
    argv = crh_batch.engines.local.pilot_argv(batch, submission.token, cores, scratch, memory_mb)
    arguments = argv[argv.index(batch.paths.pilot) + 1 :]

    def work() -> int:
        os.setsid()
        return pilot(arguments)

    return _Started(fork(work, os.getcwd(), os.path.join(directory, "pilot.out")))


# ------------------------------------------------------------------ a cluster's nodes


def _script_of(job: Mapping[str, str], survey: Path) -> Path:
    """Return a job's script where it lies now: the survey may be a copy of the one that was submitted."""
    (script,) = survey.glob(f".crh-batch/*/jobs/{Path(job['script']).name}")
    return script


def pilot_of_job(cluster: Cluster, job: Mapping[str, str], survey: Path, restart: int = 0) -> int:
    """Be the pilot of a job's only task, on a node of its own."""
    script = _script_of(job, survey)
    options = re.findall(r"--(cores|threads|memory-mb|submission|warn-s) (\S+)", script.read_text())
    arguments = [str(script.parents[1]), *(word for name, value in options for word in (f"--{name}", value))]
    environment = {"SLURM_JOB_ID": job["id"], "SLURM_ARRAY_JOB_ID": job["id"], "SLURM_ARRAY_TASK_ID": "0"}
    if restart:
        environment["SLURM_RESTART_COUNT"] = str(restart)
    cluster.set_state(job["id"], "RUNNING")
    return pilot(arguments, environment, host=f"node{job['id']}")


def start_job(cluster: Cluster, job: Mapping[str, str], survey: Path, restart: int = 0) -> int:
    """Start the pilot of a job; return its process."""
    logs = _script_of(job, survey).parents[1] / "logs"

    def work() -> int:
        os.setsid()
        return pilot_of_job(cluster, job, survey, restart)

    return fork(work, str(logs), str(logs / f"slurm-{job['id']}_0.out"))


def run_jobs(cluster: Cluster, survey: Path) -> None:
    """Run all jobs that wait, one after another, to their ends."""
    while waiting := [job for job in cluster.jobs() if job["state"] == "PENDING"]:
        for job in waiting:
            _, status = os.waitpid(start_job(cluster, job, survey), 0)
            cluster.set_state(job["id"], "COMPLETED" if status == 0 else "FAILED")


def adopt() -> None:
    """Become the parent of all processes below this one whose parent ends (prctl(2), PR_SET_CHILD_SUBREAPER)."""
    assert ctypes.CDLL(None).prctl(36, 1, 0, 0, 0) == 0


def reap() -> int:
    """Wait for all children and adopted ones to end; return how many there were."""
    count = 0
    while True:
        try:
            os.waitpid(-1, 0)
        except ChildProcessError:
            return count
        count += 1


def remove_tree(directory: Path) -> None:
    """Remove what is not needed any more."""
    shutil.rmtree(directory, ignore_errors=True)


def kill(pid: int, number: int = signal.SIGKILL) -> bool:
    """Send a signal; return whether there was somebody to take it."""
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        return False
    return True
