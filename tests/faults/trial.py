"""One trial of the random campaign: a small survey, processes that are killed again and again, and ordinary commands.

The scenario, the order of commands, whom a strike hits and after how long are drawn from (seed, number). What a process
has reached by then is this machine's affair, so a trial that failed can be repeated in its outline, not in each detail.
"""

from __future__ import annotations

import os
import signal
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from random import Random
from typing import Any

import faults.in_forks as forks
from faults.fakes import BROKEN, SLOW, make_fake_survey, spec_of, write_fakes
from faults.lying_scheduler import Cluster, LyingHost
from faults.points import Announcer
from faults.surveys import Problem, Survey, batches_in, names_in, sorted_problems
from faults.victims import CLIENT, KINDS, PILOT, PROGRAM, Strikes, processes_below

# How long one of the commands that finish a survey may take, and how often they are given.
_PATIENCE_S = 60.0
_MOST_ROUNDS = 6
_LOCAL = ("submit", "--engine", "local", "-j2")
_CHAOS_LOCAL: Sequence[Sequence[str]] = (
    ("run", "-j2"),
    _LOCAL,
    (*_LOCAL, "--wait", "--collect"),
    ("collect",),
    ("retry", "-j2"),
    ("hold",),
    ("release",),
    ("status",),
    ("cancel",),
    ("verify", "--fix"),
)
_CHAOS_ARRAY: Sequence[Sequence[str]] = (
    ("submit", "--engine", "array"),
    ("collect",),
    ("retry",),
    ("hold",),
    ("release",),
    ("cancel",),
    ("verify", "--fix"),
)
_WEIGHTS = (5, 5, 3, 4, 2, 1, 2, 1, 1, 1)
_ARRAY = ("submit", "--engine", "array")


@dataclass
class Outcome:
    """What became of a trial.

    Args:
        scenario: in words.
        kills: by kind of victim; ``at_change`` are those of them that were drawn as a number of changes.
        problems: kind and text; empty if all is well.
        seconds: how long it took.
    """

    number: int
    scenario: str = ""
    kills: dict[str, int] = field(default_factory=dict)
    at_change: int = 0
    stops: int = 0
    commands: int = 0
    problems: list[tuple[str, str]] = field(default_factory=list)
    seconds: float = 0.0

    def to_json(self) -> dict[str, Any]:
        """Return it for a pipe."""
        return asdict(self)


class Trial:
    """A trial in a directory of its own; to be run in a process of its own, which it changes for good."""

    def __init__(self, seed: int, number: int, directory: Path) -> None:
        self._draw = Random(f"{seed} {number}")
        self._directory = directory
        self._root = directory / "survey"
        self._log = str(directory / "said")
        self._outcome = Outcome(number)
        self._strikes = Strikes(self._draw)
        self._jobs: dict[str, int] = {}
        self._restarts: Counter[str] = Counter()
        self._ever_done: set[str] = set()

    def run(self) -> Outcome:
        """Live through it and look."""
        began = time.monotonic()
        forks.adopt()
        forks.quicken(one_thread=False)
        self._set_up()
        for _ in range(self._draw.randint(2, 5)):
            self._chaos()
            self._note_done()
        self._strikes.wake()
        problems = self._finish()
        outcome = self._outcome
        armed = Counter(self._armed_file.read_text().split() if self._armed_file.exists() else ())
        outcome.at_change = sum(armed.values())
        outcome.kills = {kind: self._strikes.kills[kind] + armed[kind] for kind in KINDS}
        outcome.stops = self._strikes.stops
        outcome.problems = [(problem.kind, problem.text) for problem in problems]
        outcome.seconds = time.monotonic() - began
        return outcome

    # ---------------------------------------------------------------- the scenario

    def _set_up(self) -> None:
        draw = self._draw
        (self._directory / "scratch").mkdir(parents=True)
        os.environ.update(
            TMPDIR=str(self._directory / "scratch"),
            XDG_CONFIG_HOME=str(self._directory / "config"),
            XDG_STATE_HOME=str(self._directory / "state"),
            CRH_BATCH_FAKES=str(self._directory / "fakes"),
        )
        self._armed_file = self._directory / "armed"
        fakes = write_fakes(self._directory / "fakes")
        self._on_cluster = draw.random() < 0.4
        kind = draw.choice(("models", "mixed", "chain"))
        count = draw.randint(2, 5)
        names = []
        specs = [spec_of(number) for number in range(count)]
        if kind == "mixed":
            dims = [draw.choice(("2D", "2.5D")) for _ in specs]
            specs = [spec_of(number, dims=one, inversion=draw.random() < 0.6) for number, one in enumerate(dims)]
        if kind == "chain":
            fan_out = draw.random() < 0.4
            before = [0 if fan_out else number - 1 for number in range(count)]
            priors = ["", *(f"../../time{one}/inv/rho02.modl" for one in before[1:])]
            specs = [spec_of(number, inversion=True, prior=prior) for number, prior in enumerate(priors)]
            names = [f"time{number}" for number in range(count)]
        scheduler = "slurm" if self._on_cluster else "local"
        self._survey: Survey = make_fake_survey(self._root, fakes, specs, names=names, scheduler=scheduler)
        self._old = draw.random() < 0.25
        for path in self._survey.paths if self._old else ():
            (self._root / path / "mod/volt.dat").write_bytes(b"60\n1 2 3\n")
            (self._root / path / "exe/error.dat").write_bytes(b"it went wrong")
        if draw.random() < 0.6:
            (fakes / SLOW).touch()
        links = draw.random() < 0.25
        if links:
            forks.without_symbolic_links()
        self._cluster = Cluster(self._directory / "cluster")
        forks.use_cluster(self._cluster, LyingHost(self._cluster, draw, 0.2, may_kill=False))
        self._frozen = draw.random() < 0.05 and not links and not self._on_cluster
        if self._frozen:
            forks.start_frozen_pilots()
        forks.pilots_begin_with.append(self._arming(PILOT))
        self._outcome.scenario = (
            f"{count} {kind}, {scheduler}, {'files' if links else 'symbolic links'}"
            f"{', old outputs' if self._old else ''}{', frozen pilots' if self._frozen else ''}"
        )

    def _arming(self, kind: str) -> Callable[[], None]:
        """Return what makes its process die at a random change, at times."""

        def arm() -> None:
            # Forks inherit the state of `draw`; their process ids make them differ.
            draw = Random(f"{self._draw.random()} {os.getpid()}")
            if draw.random() >= 0.35:
                return
            left = draw.randint(1, 60)

            def on_point(event: str) -> None:
                nonlocal left
                left -= 1
                if left == 0:
                    with open(self._armed_file, "a") as stream:
                        stream.write(f"{kind}\n")
                    os.kill(os.getpid(), signal.SIGKILL)

            Announcer(f"{self._root}/", on_point).install()

        return arm

    # ---------------------------------------------------------------- chaos

    def _chaos(self) -> None:
        """Start one or two things side by side, strike a few times, and go on before all is quiet."""
        draw = self._draw
        (self._directory / "fakes" / BROKEN).unlink(missing_ok=True)
        if draw.random() < 0.08:
            (self._directory / "fakes" / BROKEN).touch()
        started = [self._start_something() for _ in range(draw.choice((1, 1, 2)))]
        for _ in range(draw.randint(1, 4)):
            time.sleep(min(draw.expovariate(40.0), 0.2))
            if draw.random() < 0.6:
                self._wait_for_a_pilot()
            self._strikes.strike()
            self._tell_cluster(draw)
        if self._on_cluster:
            self._start_jobs(draw)
        deadline = time.monotonic() + draw.choice((0.02, 0.1, 0.5))
        while any(pid in processes_below(os.getpid()) for pid in started) and time.monotonic() < deadline:
            time.sleep(0.005)
        self._reap()

    def _wait_for_a_pilot(self) -> None:
        deadline = time.monotonic() + 0.2
        while PILOT not in processes_below(os.getpid()).values() and time.monotonic() < deadline:
            time.sleep(0.002)

    def _start_something(self) -> int:
        draw = self._draw
        batches = sorted(self._root.glob(".crh-batch/*/items.jsonl"))
        if self._on_cluster:
            self._start_jobs(draw)
            command = draw.choices(_CHAOS_ARRAY, (8, 4, 2, 1, 2, 1, 1))[0]
        elif batches and draw.random() < 0.25:
            batch = str(draw.choice(batches).parent)
            return forks.fork(lambda: forks.pilot([batch, "--cores", "2"]), str(self._root), self._log)
        else:
            command = draw.choices(_CHAOS_LOCAL, _WEIGHTS)[0] if batches else draw.choice(_CHAOS_LOCAL[:3])
        return self._client(command, self._arming(CLIENT))

    def _client(self, command: Sequence[str], begin: Callable[[], None] = lambda: None) -> int:
        self._outcome.commands += 1

        def work() -> int:
            begin()
            print(f"--- {' '.join(command)}", flush=True)
            return forks.client(command)

        self._draw.random()
        return forks.fork(work, str(self._root), self._log)

    # ---------------------------------------------------------------- the cluster

    def _start_jobs(self, draw: Random) -> None:
        """Give nodes to some of the jobs that wait; start some again whose pilot is gone, as after a node's failure."""
        living = processes_below(os.getpid())
        for job in self._cluster.jobs():
            if job["state"] == "PENDING" and draw.random() < 0.8:
                self._jobs[job["id"]] = forks.start_job(self._cluster, job, self._root)
            elif job["state"] == "RUNNING" and self._jobs.get(job["id"]) not in living and draw.random() < 0.3:
                self._restarts[job["id"]] += 1
                self._jobs[job["id"]] = forks.start_job(self._cluster, job, self._root, self._restarts[job["id"]])

    def _run_jobs(self) -> int:
        forks.run_jobs(self._cluster, self._root)
        return 0

    def _tell_cluster(self, draw: Random, share: float = 0.5) -> None:
        """Let the scheduler notice that pilots are gone, and at times say so of one that is only stopped."""
        living = processes_below(os.getpid())
        for job_id, pid in self._jobs.items():
            if (pid not in living and draw.random() < share) or (pid in self._strikes.stopped and draw.random() < 0.3):
                self._cluster.set_state(job_id, draw.choice(("NODE_FAIL", "TIMEOUT", "FAILED")))

    # ---------------------------------------------------------------- the end

    def _finish(self) -> list[Problem]:
        """Go on with ordinary commands until all is finished; return what is wrong then."""
        (self._directory / "fakes" / BROKEN).unlink(missing_ok=True)
        # A pilot that stopped for a moment was perhaps to die at a change: that may still come, and is part of it.
        forks.pilots_begin_with.clear()
        forks.use_cluster(self._cluster, LyingHost(self._cluster, self._draw, 0.0))
        problems: list[Problem] = []
        for _ in range(_MOST_ROUNDS):
            late = self._ordinary_commands()
            if late:
                return [Problem("stuck", late)]
            self._note_done()
            problems = sorted_problems(self._survey, replaces=self._old)
            if not problems:
                break
        left = self._wait_for_all()
        problems += [Problem("left", f"still runs: {left}")] if left else []
        problems = problems or sorted_problems(self._survey, replaces=self._old)
        guards_lived = not self._strikes.kills["guard"]
        scratch = list((self._directory / "scratch").iterdir())
        if scratch and guards_lived:
            problems.append(Problem("left", f"scratch directories: {[one.name for one in scratch]}"))
        # A result that was there and is not any more is no mere standstill.
        lost = {path for path in self._ever_done for one in problems if one.kind == "stuck" and path in one.text}
        return [Problem("lost", one.text) if any(path in one.text for path in lost) else one for one in problems]

    def _ordinary_commands(self) -> str:
        """Do what a user would; return which command did not end, empty if all did."""
        commands: list[Sequence[str]] = [("run", "-j2")]
        batches = [directory.name for directory in batches_in(self._root)]
        if self._on_cluster:
            self._tell_cluster(self._draw, share=1.0)
            commands = [_ARRAY, ("@jobs",), ("collect",)]
        for command in [(word, batch) for batch in batches for word in ("release", "retry")] + commands:
            if command == ("@jobs",):
                pid = forks.fork(self._run_jobs, str(self._root), self._log)
            else:
                pid = self._client(command)
            if not self._ends(pid):
                os.kill(pid, signal.SIGKILL)
                return f"{' '.join(command)} did not end within {_PATIENCE_S:.0f} s"
        return ""

    def _ends(self, pid: int) -> bool:
        deadline = time.monotonic() + _PATIENCE_S
        while time.monotonic() < deadline:
            if os.waitpid(pid, os.WNOHANG)[0] == pid:
                return True
            time.sleep(0.005)
        return False

    def _wait_for_all(self) -> dict[int, str]:
        """Wait for whatever still runs; return what doesn't end, programs that lost their guard apart."""
        deadline = time.monotonic() + 20
        while time.monotonic() < deadline:
            self._reap()
            left = {pid: kind for pid, kind in processes_below(os.getpid()).items() if kind != PROGRAM}
            if not left:
                return {}
            time.sleep(0.01)
        for pid in left:
            os.kill(pid, signal.SIGKILL)
        return left

    def _reap(self) -> None:
        try:
            while os.waitpid(-1, os.WNOHANG)[0]:
                pass
        except ChildProcessError:
            pass

    def _note_done(self) -> None:
        if self._root.joinpath(".crh-batch").exists():
            self._ever_done |= {named.path for named in names_in(self._root) if named.mark == "done"}
