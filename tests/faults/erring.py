"""A process one of whose own operations on files fails, and what it and ordinary commands make of it.

As a script, ``erring.py '{...}'`` goes through every n-th operation in turn, each in a fresh copy of a template. What
is an operation, and how it fails, is one of:

- ``change``: each change below the survey that points.py knows fails and does nothing;
- ``read``: each opening for reading, listing, readlink, stat and lstat fails;
- ``works``: symlink, link, rename, mkdir and exclusive creation do their work, and report an error all the same;
- ``close``: each close of a file that was open for writing does its work, and reports an error (close(2): EIO, ENOSPC,
  EDQUOT; over NFS this is where a full quota shows).

It strikes once, or from then on until the process ends.
"""

from __future__ import annotations

import errno
import fcntl
import functools
import json
import os
import random
import shutil
import subprocess
import sys
import threading
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from crh_batch.ledger import durable
from faults import killing
from faults.killing import Command
from faults.lying_scheduler import Cluster, LyingHost
from faults.points import Announcer

_CREATES = os.O_CREAT | os.O_EXCL
_WRITES = os.O_WRONLY | os.O_RDWR


@dataclass(frozen=True)
class Trouble:
    """What a driver does.

    Args:
        template: the survey that each life begins with.
        base: where the copies go, as ``<number of the operation>``.
        command: the one that meets the error (killing.py says what there is).
        way: the commands that go on when the error is gone.
        kind: which operations fail, and how; see above.
        errors: names of errnos, taken in turns.
        lasting: from then on, not once.
        first: the first operation, from 1.
        step: and then every so many.
    """

    template: str
    base: str
    command: Command
    way: Sequence[Command]
    kind: str
    errors: Sequence[str]
    lasting: bool = False
    first: int = 1
    step: int = 1


@dataclass(frozen=True)
class Struck:
    """One operation that failed, and what came of it.

    Args:
        number: which one, counted from 1.
        operation: what it was.
        error: the errno's name.
        exit_code: of the command that met it.
        said: what that said.
        later_code: how the last command afterwards ended.
        later: what those said.
    """

    number: int
    operation: str
    error: str
    exit_code: int
    said: str
    later_code: int
    later: str


class Errors:
    """Lets operation number ``last`` of this process fail, and with ``lasting`` all after it.

    Args:
        directory: below which operations count; ends with a slash.
        report: a descriptor that is told which one it was.
    """

    def __init__(self, directory: str, trouble: Trouble, last: int, report: int) -> None:
        self._directory = directory
        self._trouble = trouble
        self._last = last
        self._report = report
        self.owner = os.getpid()
        self._count = 0
        self._lock = threading.Lock()
        self._inside = threading.local()
        self._number = getattr(errno, error_of(trouble, last))

    def install(self) -> None:
        """Begin."""
        {"change": self._changes, "read": self._reads, "works": self._works, "close": self._closes}[
            self._trouble.kind
        ]()

    def _changes(self) -> None:
        Announcer(self._directory, self._strike).install()

    def _reads(self) -> None:
        def hook(event: str, arguments: tuple[Any, ...]) -> None:
            if event in ("os.listdir", "os.scandir"):
                self._at(event, arguments[0])
            elif event == "open" and not arguments[2] & (_WRITES | os.O_CREAT):
                self._at("open for reading", arguments[0])

        for name in ("stat", "lstat", "readlink"):
            self._wrap(os, name, 0, before=True)
        setattr(durable.calls, "readlink", os.readlink)  # noqa: B010 - declared as a static method
        sys.addaudithook(hook)

    def _works(self) -> None:
        for name, at in (("symlink", 1), ("link", 1), ("rename", 1), ("replace", 1), ("mkdir", 0)):
            self._wrap(os, name, at)
        for name in ("symlink", "link", "replace"):
            setattr(durable.calls, name, getattr(os, name))
        real = os.open

        def open_(path: Any, flags: int, *rest: Any, **more: Any) -> int:
            descriptor = real(path, flags, *rest, **more)
            if flags & _CREATES == _CREATES:
                try:
                    self._at("create", path)
                except OSError:
                    os.close(descriptor)
                    raise
            return descriptor

        os.open = open_
        setattr(durable.calls, "open", open_)  # noqa: B010

    def _closes(self) -> None:
        real = os.close

        def close(fd: int) -> None:
            writes = fcntl.fcntl(fd, fcntl.F_GETFL) & _WRITES
            path = os.readlink(f"/proc/self/fd/{fd}")
            real(fd)
            if writes:
                self._at("close", path)

        os.close = close

    def _wrap(self, module: Any, name: str, at: int, *, before: bool = False) -> None:
        real = getattr(module, name)

        @functools.wraps(real)
        def call(*arguments: Any, **options: Any) -> Any:
            place = _joined(arguments[at], options.get("dst_dir_fd", options.get("dir_fd")))
            if before:
                self._at(name, place)
                return real(*arguments, **options)
            done = real(*arguments, **options)
            self._at(name, place)
            return done

        setattr(module, name, call)

    def _at(self, what: str, place: Any) -> None:
        if getattr(self._inside, "here", False) or not isinstance(place, (str, bytes, os.PathLike)):
            return
        self._inside.here = True
        try:
            path = os.path.abspath(os.fsdecode(place))
            if path.startswith(self._directory):
                self._strike(f"{what} {path.replace(self._directory, '')}")
        finally:
            self._inside.here = False

    def _strike(self, operation: str) -> None:
        if os.getpid() != self.owner or operation.startswith("start of "):
            return
        with self._lock:
            self._count += 1
            if self._count < self._last or (self._count > self._last and not self._trouble.lasting):
                return
            if self._count == self._last:
                os.write(self._report, operation.encode(errors="replace"))
        # Of a descriptor the system says no name, and the commands must.
        path = [] if "write " in operation or "fsync " in operation else [self._directory + operation.split(" ")[-1]]
        raise OSError(self._number, os.strerror(self._number), *path)


def error_of(trouble: Trouble, number: int) -> str:
    """Return the name of the errno that an operation gets."""
    # Drivers take every so many, which must not mean that each meets always the same.
    return trouble.errors[(number + number // len(trouble.errors)) % len(trouble.errors)]


def _joined(place: Any, directory: int | None) -> Any:
    if directory is None or os.path.isabs(place):
        return place
    return os.path.join(os.readlink(f"/proc/self/fd/{directory}"), place)


# ------------------------------------------------------------------ the driver


def _go(trouble: Trouble) -> None:
    import faults.in_forks as forks

    forks.quicken(one_thread=True)
    number = trouble.first
    while (struck := _live(trouble, number)) is not None:
        print(json.dumps(asdict(struck)), flush=True)
        number += trouble.step


def _live(trouble: Trouble, number: int) -> Struck | None:
    """Do one life and go on; None if it came to its end without an error."""
    tree = Path(trouble.base, str(number))
    shutil.copytree(trouble.template, tree, symlinks=True)
    if (cluster := Path(f"{trouble.template}.cluster")).exists():
        shutil.copytree(cluster, f"{tree}.cluster")
    reading, writing = os.pipe()

    errors = Errors(f"{tree}/", trouble, number, writing)
    code = killing._wait(_start(trouble.command, tree, errors))
    os.close(writing)
    operation = os.read(reading, 1 << 16).decode()
    os.close(reading)
    output = tree.with_name(tree.name + ".said")
    said = output.read_text()
    if not operation:
        return None
    codes = [killing._wait(killing._start(command, tree)) for command in trouble.way]
    later = output.read_text().removeprefix(said)
    return Struck(number, operation, error_of(trouble, number), code, said, codes[-1], later)


def _start(command: Command, tree: Path, errors: Errors) -> int:
    """Start the command that meets errors in a process of its own; return that."""
    import faults.in_forks as forks

    def work() -> int:
        errors.owner = os.getpid()
        cluster = Cluster(killing._cluster_of(tree))
        forks.use_cluster(cluster, LyingHost(cluster, random.Random(0), 0.0))
        batch = str(max(tree.glob(".crh-batch/*/items.jsonl"), default=tree).parent)
        errors.install()
        if command[0] == "@pilot":
            return forks.pilot([batch, *command[1:]])
        if command[0] == "@job":
            return forks.pilot_of_job(cluster, cluster.jobs()[-1], tree)
        return forks.client(command)

    return forks.fork(work, str(tree), f"{tree}.said")


# ------------------------------------------------------------------ what tests call


def go_through(trouble: Trouble, *, processes: int = 2) -> list[Struck]:
    """Go through all operations, several at a time; return them in order."""
    plans = [
        replace(trouble, first=trouble.first + number * trouble.step, step=trouble.step * processes)
        for number in range(processes)
    ]
    drivers = [
        subprocess.Popen(
            [sys.executable, __file__, json.dumps(asdict(plan))],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=killing.environment(),
            cwd="/",
        )
        for plan in plans
    ]
    found = []
    for driver in drivers:
        out, complaints = driver.communicate(timeout=280)
        assert (driver.returncode, complaints) == (0, ""), complaints
        found += [Struck(**json.loads(line)) for line in out.splitlines()]
    return sorted(found, key=lambda one: one.number)


if __name__ == "__main__":
    _go(Trouble(**json.loads(sys.argv[1])))
