"""Schedulers that tell the truth about the jobs of a Cluster, and lies that are put in the place of an answer.

A lie is told in answer to a method of the ``Scheduler`` protocol, whatever command that asks: the methods are taken
from the protocol itself, so a new question is lied to as well.
"""

from __future__ import annotations

import inspect
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from crh_batch.hosts.base import Completed, Host, SameFiles
from crh_batch.schedulers.base import Scheduler, UsageSource
from faults.lying_scheduler import Cluster, LyingHost

SITES = Path(__file__).parents[1] / "recorded" / "sites"
_XML = """<?xml version='1.0'?>
<job_info><queue_info>{running}</queue_info><job_info>{waiting}</job_info></job_info>
"""
_JOB = "<job_list><JB_job_number>{id}</JB_job_number><JB_name>{name}</JB_name><state>{word}</state><tasks>1</tasks>"
_UNENDED = {"PENDING": "qw", "RUNNING": "r"}
_RECORD = "{line}\njobname      {name}\njobnumber    {id}\ntaskid       1\nfailed       0\nexit_status  0\n"


def asking_methods(protocol: type = Scheduler) -> list[str]:
    """Return the names of all methods of a protocol that say what to ask."""
    methods = [name for name, _ in inspect.getmembers(protocol, inspect.isfunction) if not name.startswith("_")]
    return [name for name in methods if "argv" in name or name.endswith("questions")]


class SlurmHost(LyingHost):
    """Slurm with its accounting, telling the truth; squeue forgets what has ended at once."""

    def __init__(self, cluster: Cluster) -> None:
        super().__init__(cluster, random.Random(0), 0.0)

    def has(self, program: str) -> bool:
        return program.startswith("s")

    def _squeue(self, argv: tuple[str, ...]) -> Completed:
        done = super()._squeue(argv)
        lines = [line for line in done.stdout.splitlines(keepends=True) if line.split("|")[1] in _UNENDED]
        return Completed(argv, 0, "".join(lines), "")

    def _sacct(self, argv: tuple[str, ...]) -> Completed:
        return Completed(argv, 0, "".join(f"{job['id']}_0|{job['state']}|{job['name']}\n" for job in self._ended()), "")

    def _ended(self) -> list[dict[str, str]]:
        return [job for job in self._cluster.jobs() if job["state"] not in _UNENDED]


class SgeHost(SameFiles):
    """SGE with its accounting, telling the truth; of the site, what was recorded."""

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster

    def has(self, program: str) -> bool:
        return program.startswith("q")

    def run(self, argv: Sequence[str], *, timeout_s: float = 60.0) -> Completed:
        """Run a command."""
        return Completed(tuple(argv), 0, self._answer(list(argv)), "")

    def _answer(self, argv: list[str]) -> str:
        if argv[0] == "qsub":
            return f"{self._cluster.submit(argv[-1])}.1-1:1\n"
        if argv[0] == "qdel":
            self._cluster.cancel(argv[1:])
            return f"{argv[1]} has deleted job\n"
        if argv[0] == "qstat":
            jobs = [job for job in self._cluster.look() if job["state"] in _UNENDED]
            rows = [(_JOB + "</job_list>").format(word=_UNENDED[job["state"]], **_of(job)) for job in jobs]
            return _XML.format(running="".join(rows), waiting="")
        if argv[0] == "qacct":
            jobs = [job for job in self._cluster.jobs() if job["state"] not in _UNENDED]
            return "".join(_RECORD.format(line="=" * 62, **_of(job)) for job in jobs)
        recorded = {"-sconf": "sge-config", "-sq": "sge-queues", "-q": "sge-hosts", "-sp": "sge-environment-smp"}
        return (SITES / recorded[argv[1]] / "stdout").read_text()


def _of(job: dict[str, str]) -> dict[str, str]:
    return {"id": job["id"], "name": job["name"]}


@dataclass(frozen=True)
class Lie:
    """What is answered in the place of the truth.

    Args:
        tell: makes it of what would have been said.
        acts: whether the command was done all the same; else it never reached the scheduler.
        fits: whether it can't be told from an honest answer of a scheduler that has forgotten all.
    """

    name: str
    tell: Callable[[Completed], Completed]
    acts: bool = True
    fits: bool = False


def _saying(exit_status: int | None, stdout: str = "", stderr: str = "") -> Callable[[Completed], Completed]:
    return lambda truth: Completed(truth.argv, exit_status, stdout, stderr)


def _cut(truth: Completed) -> Completed:
    return Completed(truth.argv, 0, truth.stdout[: max(len(truth.stdout) - 12, 0)], "")


_PAGE = "<html><head><title>502 Bad Gateway</title></head><body><p>try later</p></body></html>\n"
_GARBAGE = "\0\ufffd\ufffd|7|\x1b[31m<<%s%n\n\ufffd"
_ERROR = "error: Unexpected message received"
LIES = (
    Lie("timeout", _saying(None)),
    Lie("timeout, not done", _saying(None), acts=False),
    Lie("exit 1, silent", _saying(1)),
    Lie("exit 1, silent, not done", _saying(1), acts=False),
    Lie("exit 1, a page", _saying(1, _PAGE)),
    Lie("killed", _saying(-9, "12")),
    Lie("nothing", _saying(0), fits=True),
    Lie("a page", _saying(0, _PAGE)),
    Lie("garbage", _saying(0, _GARBAGE)),
    Lie("exit 0, an error's text", _saying(0, _ERROR + "\n")),
    Lie("exit 0, an error's text on stderr", _saying(0, "", _ERROR + "\n"), fits=True),
    Lie("cut short", _cut),
)


class Asked:
    """A scheduler that remembers which method told each command; its host lies in answer to one of them."""

    def __init__(self, scheduler: Any, host: Host) -> None:
        self._scheduler = scheduler
        self._truth = host
        self.host = _Answering(self)
        self._methods: dict[tuple[str, ...], str] = {}
        self.asked: set[str] = set()
        self.lied = 0
        self._lie: Lie | None = None
        self._to = ""

    def lie(self, lie: Lie | None, to: str = "") -> None:
        """Lie from now on to what a method asks; None: tell the truth."""
        self._lie, self._to, self.lied = lie, to, 0

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._scheduler, name)
        if name not in {*asking_methods(Scheduler), *asking_methods(UsageSource)}:
            return found

        def ask(*arguments: Any) -> Any:
            said = found(*arguments)
            for argv in said if said and isinstance(said[0], list) else [said]:
                self._methods[tuple(argv)] = name
            return said

        return ask

    def answer(self, argv: Sequence[str]) -> Completed:
        """Answer a command, truly or not."""
        method = self._methods[tuple(argv)]
        self.asked.add(method)
        if self._lie is None or method != self._to:
            return self._truth.run(argv)
        self.lied += 1
        truth = self._truth.run(argv) if self._lie.acts else Completed(tuple(argv), 0, "", "")
        return self._lie.tell(truth)

    def knows(self, program: str) -> bool:
        """Whether a program is there."""
        return self._truth.has(program)


class _Answering(SameFiles):
    """See Host."""

    def __init__(self, asked: Asked) -> None:
        self._asked = asked

    def has(self, program: str) -> bool:
        return self._asked.knows(program)

    def run(self, argv: Sequence[str], *, timeout_s: float = 60.0) -> Completed:
        return self._asked.answer(argv)
