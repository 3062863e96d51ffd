"""A process that dies before a chosen one of its own changes to the filesystem, and what one more command makes of it.

As a script, ``killing.py '{...}'`` goes through every n-th such change in turn, each in a fresh copy of a template. The
changes are seen by an audit hook (sys.addaudithook): each opening for writing, symlink, link, rename, mkdir, unlink,
rmdir, and each program start; and, by the seam in ledger/durable.py, before, amid and after each write, and before each
fsync. The process leaves by os._exit, as after SIGKILL: nothing is flushed, cleaned up or finished.

Everything is imported once and each life is a fork, so one point costs half a second.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import threading
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import crh_batch.cli.collect
import crh_batch.cli.finish
import crh_batch.cli.group
import crh_batch.cli.run
import crh_batch.cli.submit
import crh_batch.engines.new_batch
import crh_batch.engines.wait
import crh_batch.ledger.collect
import crh_batch.pilot.main
from crh_batch.ledger import durable

KILLED = 77
_EVENTS = {"os.symlink": 1, "os.link": 1, "os.rename": 1, "os.mkdir": 0, "os.remove": 0, "os.rmdir": 0}
_WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND


@dataclass(frozen=True)
class Plan:
    """What a driver does.

    Args:
        template: the survey that each life begins with.
        base: where the copies go, as ``<number of the point>``.
        kind: ``client`` or ``pilot``.
        arguments: of the command that is killed; a pilot's batch is put in front.
        afters: the commands that go on, taken in turns.
        first: the first point, from 1.
        step: and then every so many.
    """

    template: str
    base: str
    kind: str
    arguments: Sequence[str]
    afters: Sequence[Sequence[str]]
    first: int = 1
    step: int = 1


@dataclass(frozen=True)
class Point:
    """One life and what came after.

    Args:
        number: the change that it did not come to, counted from 1.
        event: what that would have been.
        early: tomodirs that looked finished then, though not everything was in place.
        after: the command that went on.
        exit_code: how that ended.
        said: what it said.
    """

    number: int
    event: str
    early: list[str]
    after: str
    exit_code: int
    said: str


class Counter:
    """Counts changes below a directory, and ends this process before number ``last``."""

    def __init__(self, directory: str, last: int, report: int) -> None:
        self._directory = directory
        self._last = last
        self._report = report
        self._owner = os.getpid()
        self._count = 0
        self._lock = threading.Lock()

    def install(self) -> None:
        """Begin to count; there is no end to an audit hook but the process's."""
        real_write, real_fsync = durable.calls.write, durable.calls.fsync

        def write(descriptor: int, data: bytes) -> int:
            self.point(f"write {self._name(descriptor)}")
            half = real_write(descriptor, data[: len(data) // 2])
            self.point(f"second half of write {self._name(descriptor)}")
            return half + real_write(descriptor, data[len(data) // 2 :])

        def fsync(descriptor: int) -> None:
            self.point(f"fsync {self._name(descriptor)}")
            real_fsync(descriptor)

        setattr(durable.calls, "write", write)  # noqa: B010 - declared as static methods
        setattr(durable.calls, "fsync", fsync)  # noqa: B010
        sys.addaudithook(self._hook)

    def _name(self, descriptor: int) -> str:
        return os.readlink(f"/proc/self/fd/{descriptor}")

    def _hook(self, event: str, arguments: tuple[Any, ...]) -> None:
        if event == "subprocess.Popen":
            self.point(f"start of {arguments[0]}")
        elif event in _EVENTS:
            place = arguments[_EVENTS[event]]
            by_directory = isinstance(arguments[-1], int) and arguments[-1] >= 0
            if by_directory or (isinstance(place, (str, bytes)) and self._is_ours(os.fsdecode(place))):
                self.point(f"{event} {os.fsdecode(place)}")
        elif event == "open":
            place, _, flags = arguments
            if flags & _WRITING and isinstance(place, (str, bytes)) and self._is_ours(os.fsdecode(place)):
                self.point(f"open {os.fsdecode(place)}")

    def _is_ours(self, place: str) -> bool:
        return os.path.abspath(place).startswith(self._directory)

    def point(self, event: str) -> None:
        """Count one change, and leave before it if it is the last one."""
        if os.getpid() != self._owner:
            return  # the guard is a fork
        with self._lock:
            self._count += 1
            if self._count == self._last:
                os.write(self._report, event.replace(self._directory, "").encode(errors="replace"))
                os._exit(KILLED)


def _fork(work: Callable[[], int], directory: str, log: str) -> int:
    """Do something in a process of its own, in a directory, with its output in a file; return its exit code."""
    pid = os.fork()
    if pid == 0:
        code = 99
        try:
            os.chdir(directory)
            descriptor = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
            os.dup2(descriptor, 1)
            os.dup2(descriptor, 2)
            code = work()
        except SystemExit as leaving:
            code = leaving.code if isinstance(leaving.code, int) else 99
        except BaseException:
            sys.excepthook(*sys.exc_info())
        finally:
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(code)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def _client(arguments: Sequence[str]) -> int:
    sys.argv[1:] = list(arguments)
    crh_batch.cli.group.main()


def _live(plan: Plan, number: int) -> Point | None:
    """Do one life and go on; None if it came to its end without dying."""
    tree = os.path.join(plan.base, str(number))
    shutil.copytree(plan.template, tree, symlinks=True)
    reading, writing = os.pipe()

    def life() -> int:
        Counter(tree + "/", number, writing).install()
        if plan.kind == "client":
            return _client(plan.arguments)
        (batch,) = (str(path.parent) for path in Path(tree).glob(".crh-batch/*/items.jsonl"))
        return crh_batch.pilot.main.main([batch, *plan.arguments])

    code = _fork(life, tree, tree + ".life")
    os.close(writing)
    event = os.read(reading, 1 << 16).decode()
    os.close(reading)
    if code != KILLED:
        said = Path(tree + ".life").read_text()
        return None if code == 0 else Point(number, "not killed", [], "", code, said)
    early = [str(volt) for volt in Path(tree).glob("*/*/mod/volt.dat") if _is_early(volt)]
    after = plan.afters[number % len(plan.afters)]
    code = _fork(lambda: _client(after), tree, tree + ".after")
    return Point(number, event, early, " ".join(after), code, Path(tree + ".after").read_text())


def _is_early(volt: Path) -> bool:
    """Return whether a whole volt.dat, by which others see that a modelling is done, is there before the rest is."""
    first, *lines = volt.read_bytes().splitlines()
    return int(first) == len(lines) and not (volt.parents[1] / "exe/crh.json").exists()


def _main() -> None:
    plan = Plan(**json.loads(sys.argv[1]))
    # How often a waiting client looks changes nothing but the time that this takes; with one thread the changes come in
    # the same order in each life, so that none is left out.
    for module, name, value in [
        (crh_batch.engines.wait, "_PAUSE_S", 0.02),
        (crh_batch.engines.new_batch, "_WORKERS", 1),
        (crh_batch.ledger.collect, "WORKERS", 1),
    ]:
        assert hasattr(module, name), name
        setattr(module, name, value)
    number = plan.first
    while (point := _live(plan, number)) is not None:
        print(json.dumps(asdict(point)), flush=True)
        number += plan.step


def go_through(plan: Plan, *, processes: int = 4) -> list[Point]:
    """Go through all points of a plan, several at a time; return them in order."""
    path = [str(Path(__file__).parents[1]), *filter(None, [os.environ.get("PYTHONPATH")])]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(path)}
    drivers = [
        subprocess.Popen(
            [
                sys.executable,
                __file__,
                json.dumps({**asdict(plan), "first": plan.first + number * plan.step, "step": plan.step * processes}),
            ],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=environment,
        )
        for number in range(processes)
    ]
    points = []
    for driver in drivers:
        out, complaints = driver.communicate(timeout=200)
        assert (driver.returncode, complaints) == (0, "")
        points += [Point(**json.loads(line)) for line in out.splitlines()]
    return sorted(points, key=lambda point: point.number)


if __name__ == "__main__":
    _main()
