"""A process that dies before a chosen one of its own changes to the filesystem, and what ordinary commands make of it.

As a script, ``killing.py '{...}'`` goes through every n-th such change in turn, each in a fresh copy of a template
(points.py says what a change is). The process leaves by os._exit, as after SIGKILL: nothing is flushed, cleaned up or
finished. To die before change n is to die after change n - 1, so both sides of each are tried.

Everything is imported once, and each life is a fork (in_forks.py).
"""

from __future__ import annotations

import functools
import json
import os
import shutil
import signal
import subprocess
import sys
import traceback
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from random import Random

from faults.lying_scheduler import Cluster, LyingHost
from faults.points import Announcer

KILLED = 77
# A driver that takes longer has a command that waits for something which doesn't come.
_MOST_S = 280
Command = Sequence[str]


@dataclass(frozen=True)
class Plan:
    """What a driver does.

    A command is what stands behind `crh-batch`; or ``@pilot ARGUMENT...``, a pilot of the newest batch; ``@jobs``, all
    jobs that the scheduler has, run to their ends; ``@requeued``, the last job once more; ``@over``, the last job's
    end, noticed by the scheduler; or ``@dies WORDS COMMAND...``, a command that dies before the first change that WORDS
    are found in.

    Args:
        template: the survey that each life begins with.
        base: where the copies go, as ``<number of the point>``.
        killed: the command that is killed.
        ways: the commands that go on, one way after another in turns.
        before: commands that make the template what it is to be, first of all.
        first: the first point, from 1; 0 does ``before`` in the template itself, and nothing else.
        step: and then every so many.
        frozen: pilots are what a user gets: the frozen one, started by a Python of its own.
        links: ``file`` where there are no symbolic links.
        trace: tell strace of each change by a system call, and don't kill.
    """

    template: str
    base: str
    killed: Command
    ways: Sequence[Sequence[Command]]
    before: Sequence[Command] = ()
    first: int = 1
    step: int = 1
    frozen: bool = False
    links: str = "symlink"
    trace: bool = False


@dataclass(frozen=True)
class Point:
    """One life and what came after.

    Args:
        number: the change that it did not come to, counted from 1.
        event: what that would have been.
        early: tomodirs that looked finished then, though not everything was in place.
        way: the commands that went on.
        exit_code: how the last of them ended.
        said: what they said.
    """

    number: int
    event: str
    early: list[str] = field(default_factory=list)
    way: str = ""
    exit_code: int = 0
    said: str = ""


# ------------------------------------------------------------------ the driver


def _main() -> None:
    """Do plans as they come, a line of JSON each; or the one on the command line."""
    if len(sys.argv) > 1:
        _go(Plan(**json.loads(sys.argv[1])))
        return
    import faults.in_forks  # noqa: F401 - once, for all drivers

    for line in sys.stdin:
        order = json.loads(line)
        drivers = [os.fork() or _be_driver(order["environment"], Plan(**plan), out) for plan, out in order["plans"]]
        print(max(_wait(driver) for driver in drivers), flush=True)


def _be_driver(environment: dict[str, str], plan: Plan, out: str) -> int:
    os.environ.clear()
    os.environ.update(environment)
    code = 99
    signal.alarm(_MOST_S)
    try:
        descriptor = os.open(out, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644)
        os.dup2(descriptor, 1)
        os.dup2(descriptor, 2)
        _go(plan)
        code = 0
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def _go(plan: Plan) -> None:
    import faults.in_forks as forks

    if not plan.frozen:
        forks.quicken(one_thread=True)
    if plan.links == "file":
        forks.without_symbolic_links()
    if plan.first == 0:
        tree = Path(plan.template)
        for command in plan.before:
            code = _wait(_start(command, tree))
            assert code in (0, 1, KILLED), (command, code, tree.with_name(tree.name + ".said").read_text())
        return
    number = plan.first
    while (point := _live(plan, number)) is not None:
        print(json.dumps(asdict(point)), flush=True)
        number += plan.step


def _live(plan: Plan, number: int) -> Point | None:
    """Do one life and go on; None if it came to its end without dying."""
    tree = Path(plan.base, str(number))
    shutil.copytree(plan.template, tree, symlinks=True)
    if (cluster := _cluster_of(Path(plan.template))).exists():
        shutil.copytree(cluster, _cluster_of(tree))
    reading, writing = os.pipe()
    code = _wait(_start(plan.killed, tree, _counter(number, writing) if not plan.trace else _tell_strace))
    os.close(writing)
    event = os.read(reading, 1 << 16).decode()
    os.close(reading)
    said = tree.with_name(tree.name + ".said")
    if code != KILLED:
        return None if code in (0, 1) else Point(number, "not killed", exit_code=code, said=said.read_text())
    early = [str(path) for pattern in _FINISHED for path in tree.glob(pattern) if _is_early(path)]
    way = plan.ways[number % len(plan.ways)]
    codes = [_wait(_start(command, tree)) for command in way]
    return Point(number, event, early, ", ".join(map(" ".join, way)), codes[-1], said.read_text())


def _counter(last: int, report: int) -> Callable[[str], None]:
    count = 0

    def on_point(event: str) -> None:
        nonlocal count
        count += 1
        if count == last:
            os.write(report, event.encode(errors="replace"))
            os._exit(KILLED)

    return on_point


def _until(words: str) -> Callable[[str], None]:
    def on_point(event: str) -> None:
        if words in event:
            os._exit(KILLED)

    return on_point


def _tell_strace(event: str) -> None:
    os.access(f"/point/{event}", os.F_OK)


def _start(command: Command, tree: Path, on_point: Callable[[str], None] | None = None) -> int:
    """Start a command in a process of its own; return that."""
    import faults.in_forks as forks

    if command[0] == "@dies":
        return _start(command[2:], tree, _until(command[1]))

    def work() -> int:
        cluster = Cluster(_cluster_of(tree))
        forks.use_cluster(cluster, LyingHost(cluster, _Never(), 0.0))
        if on_point is _tell_strace:
            on_point("begin")
        if on_point is not None:
            Announcer(f"{tree}/", on_point).install()
        batch = str(max(tree.glob(".crh-batch/*/items.jsonl"), default=tree).parent)
        if command[0] == "@pilot":
            return forks.pilot([batch, *command[1:]])
        if command[0] == "@jobs":
            forks.run_jobs(cluster, tree)
        elif command[0] == "@requeued":
            return forks.pilot_of_job(cluster, cluster.jobs()[-1], tree, restart=1)
        elif command[0] == "@job":
            return forks.pilot_of_job(cluster, cluster.jobs()[-1], tree)
        elif command[0] == "@over":
            cluster.set_state(cluster.jobs()[-1]["id"], "NODE_FAIL")
        else:
            return forks.client(command)
        return 0

    return forks.fork(work, str(tree), f"{tree}.said")


def _cluster_of(tree: Path) -> Path:
    """Return where the scheduler keeps its jobs: beside the survey."""
    return tree.with_name(tree.name + ".cluster")


def _wait(pid: int) -> int:
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


_FINISHED = ("*/*/mod/volt.dat", "time*/inv/inv.ctr")


def _is_early(path: Path) -> bool:
    """Return whether a file by which others see that a stage is done is there before the rest is."""
    if (path.parents[1] / "exe/crh.json").exists():
        return False
    if path.name == "inv.ctr":
        return path.read_text().endswith("***finished***\n")
    if (path.parents[1] / "exe/crtomo.cfg").exists():
        return False
    first, *lines = path.read_bytes().splitlines()
    return int(first) == len(lines)


class _Never(Random):
    """Never lets anything happen."""

    def random(self) -> float:
        return 1.0


# ------------------------------------------------------------------ what tests call


def prepare(plan: Plan, *commands: Command) -> None:
    """Do commands in the template itself, one after another to their ends."""
    _run_drivers([replace(plan, before=commands, first=0)])


def go_through(plan: Plan, *, processes: int = 2) -> list[Point]:
    """Go through all points of a plan, several at a time; return them in order.

    A line for each plan is added to the file CRH_BATCH_POINTS, if that is set: which test, and how many points.
    """
    plans = [replace(plan, first=plan.first + n * plan.step, step=plan.step * processes) for n in range(processes)]
    points = [Point(**json.loads(line)) for out in _run_drivers(plans) for line in out.splitlines()]
    if record := os.environ.get("CRH_BATCH_POINTS"):
        test = os.environ.get("PYTEST_CURRENT_TEST", "").rpartition("::")[2].partition(" (call)")[0]
        with open(record, "a") as stream:
            stream.write(f"{test}: {len(points)} points of {' '.join(plan.killed)}, every {plan.step}\n")
    return sorted(points, key=lambda point: point.number)


def argv_of(plan: Plan) -> list[str]:
    """Return how a driver is started for one plan; `environment` is needed, too."""
    return [sys.executable, __file__, json.dumps(asdict(plan))]


def environment() -> dict[str, str]:
    """Return the environment of drivers, which import from the tests."""
    path = [str(Path(__file__).parents[1]), *filter(None, [os.environ.get("PYTHONPATH")])]
    return {**os.environ, "PYTHONPATH": os.pathsep.join(path)}


@functools.cache
def _server() -> subprocess.Popen[str]:
    """Start the process that all drivers are forks of; it ends with this one, as its input does."""
    argv = [sys.executable, __file__]
    return subprocess.Popen(
        argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment(), cwd="/", bufsize=1
    )


def _run_drivers(plans: Sequence[Plan]) -> list[str]:
    outs = [f"{plan.base}.driver{number}" for number, plan in enumerate(plans)]
    server = _server()
    assert server.stdin is not None and server.stdout is not None
    order = {"environment": dict(os.environ), "plans": [(asdict(plan), out) for plan, out in zip(plans, outs)]}
    server.stdin.write(json.dumps(order) + "\n")
    try:
        answer = server.stdout.readline()
    except BaseException:
        # A test's time is up: what is left of the order must not answer the next one.
        server.kill()
        _server.cache_clear()
        raise
    said = [Path(out).read_text() for out in outs]
    assert answer == "0\n", "\n".join([answer, *said])
    return said


if __name__ == "__main__":
    _main()
