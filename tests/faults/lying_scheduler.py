"""A scheduler that fails at random before or after it has acted, as a host for clients in processes of their own.

It keeps its jobs in a directory, so that clients which are killed leave it as it was. It says only what Slurm was seen
to say (tests/recorded/slurm).
"""

from __future__ import annotations

import fcntl
import json
import os
import random
import re
import signal
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from crh_batch.hosts.base import Completed, SameFiles

SILENT = "sbatch: error: Batch job submission failed: Socket timed out on send/recv operation\n"
DOWN = "sbatch: error: Batch job submission failed: Unable to contact slurm controller (connect failure)\n"
BANNER = "*** Welcome to the cluster. Maintenance on 2026-12-24 ***\n"
SQUEUE_SILENT = "slurm_load_jobs error: Socket timed out on send/recv operation\n"
# What may become of a command; None: it works.
FAULTS = ("before", "after", "timeout before", "timeout after", "banner only", "killed before", "killed after")


class Cluster:
    """The jobs of a scheduler, in a directory."""

    def __init__(self, directory: Path) -> None:
        self._file = directory / "jobs.json"
        self._lock = directory / "lock"
        directory.mkdir(exist_ok=True)
        if not self._file.exists():
            self._file.write_text("[]")

    @contextmanager
    def _jobs(self) -> Iterator[list[dict[str, str]]]:
        with open(self._lock, "w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            jobs = json.loads(self._file.read_text())
            yield jobs
            part = self._file.with_suffix(f".{os.getpid()}")
            part.write_text(json.dumps(jobs))
            part.replace(self._file)

    def submit(self, script: str, hidden: int = 0) -> str:
        """Take a script in and return the job's number; it appears after it was asked for so many times."""
        name = re.search(r"(?:--job-name=|^#\$ -N )(\S+)", Path(script).read_text(), re.MULTILINE)
        assert name
        with self._jobs() as jobs:
            job_id = str(len(jobs) + 11)
            jobs.append({"id": job_id, "name": name[1], "state": "PENDING", "hidden": "x" * hidden, "script": script})
        return job_id

    def jobs(self) -> list[dict[str, str]]:
        """Return all jobs."""
        with self._jobs() as jobs:
            return list(jobs)

    def look(self) -> list[dict[str, str]]:
        """Return the jobs that are seen by now."""
        with self._jobs() as jobs:
            seen = [dict(job) for job in jobs if not job["hidden"]]
            for job in jobs:
                job["hidden"] = job["hidden"][1:]
        return seen

    def end(self, chance: random.Random) -> None:
        """Let some jobs end."""
        with self._jobs() as jobs:
            for job in jobs:
                if job["state"] == "PENDING" and chance.random() < 0.3:
                    job["state"] = "TIMEOUT"

    def set_state(self, job_id: str, state: str) -> None:
        """Say what became of a job, unless that was the end of it already."""
        with self._jobs() as jobs:
            for job in jobs:
                if job["id"] == job_id and job["state"] in ("PENDING", "RUNNING"):
                    job["state"] = state

    def cancel(self, ids: Sequence[str]) -> None:
        """End jobs."""
        with self._jobs() as jobs:
            for job in jobs:
                if job["id"] in ids and job["state"] in ("PENDING", "RUNNING"):
                    job["state"] = "CANCELLED"


class LyingHost(SameFiles):
    """Runs sbatch, squeue, scancel, scontrol and sinfo on a Cluster; some of them fail.

    Args:
        share: how many of the commands fail.
        may_kill: whether the client itself may be killed before or after a command.
        late: whether jobs may also be taken in after the next questions have been answered.
    """

    def __init__(
        self, cluster: Cluster, chance: random.Random, share: float, *, may_kill: bool = True, late: bool = False
    ) -> None:
        self._cluster = cluster
        self._chance = chance
        self._share = share
        self._may_kill = may_kill
        self._late = late

    def has(self, program: str) -> bool:
        """There is no accounting."""
        return program != "sacct"

    def run(self, argv: Sequence[str], *, timeout_s: float = 60.0) -> Completed:
        """Run a command, or don't, or do and say that it didn't."""
        fault = self._chance.choice(FAULTS) if self._chance.random() < self._share else ""
        if fault == "killed before" and self._may_kill:
            os.kill(os.getpid(), signal.SIGKILL)
        if fault == "timeout before" and self._late and argv[0] == "sbatch":
            self._cluster.submit(argv[-1], self._chance.randint(1, 4))
        if fault == "before":
            return Completed(tuple(argv), 1, "", self._chance.choice((SILENT, DOWN)))
        if fault == "timeout before":
            return Completed(tuple(argv), None, "", "")
        done = getattr(self, f"_{argv[0]}")(tuple(argv))
        assert isinstance(done, Completed)
        if fault == "killed after" and self._may_kill:
            os.kill(os.getpid(), signal.SIGKILL)
        if fault == "after":
            return Completed(tuple(argv), 1, "", SILENT if argv[0] == "sbatch" else SQUEUE_SILENT)
        if fault == "timeout after":
            return Completed(tuple(argv), None, "", "")
        if fault == "banner only" and argv[0] == "sbatch":
            return Completed(tuple(argv), 0, BANNER, "")
        return done

    def _sbatch(self, argv: tuple[str, ...]) -> Completed:
        banner = BANNER if self._chance.random() < 0.3 else ""
        return Completed(argv, 0, f"{banner}{self._cluster.submit(argv[-1])}\n", "")

    def _squeue(self, argv: tuple[str, ...]) -> Completed:
        names = next(part for part in argv if part.startswith("--name=")).removeprefix("--name=").split(",")
        jobs = [one for one in self._cluster.look() if one["name"] in names]
        lines = [f"{one['id']}_0|{one['state']}|{one['name']}|None\n" for one in jobs]
        return Completed(argv, 0, "".join(lines), "")

    def _scancel(self, argv: tuple[str, ...]) -> Completed:
        self._cluster.cancel(argv[1:])
        return Completed(argv, 0, "", "")

    def _scontrol(self, argv: tuple[str, ...]) -> Completed:
        return Completed(argv, 0, "MaxArraySize = 1001\n", "")

    def _sinfo(self, argv: tuple[str, ...]) -> Completed:
        return Completed(argv, 0, "work*|8|8000\n", "")
