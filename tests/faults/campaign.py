"""The random campaign: ``make campaign N=1000 [SEED=...]``; it writes its figures into docs/reliability.md.

``campaign.py N [--seed S] [--first NUMBER] [--processes P] [--table FILE]``; trial.py says what a trial is. A trial
that failed is kept, and its directory is named. Exit code 1 if there is one.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import re
import shutil
import signal
import sys
import tempfile
import time
import traceback
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

sys.path[:0] = [str(Path(__file__).parents[1]), str(Path(__file__).parents[2])]

from faults.trial import Outcome, Trial  # noqa: E402 - as a script it must find them first
from faults.victims import KINDS  # noqa: E402

_IN_MEMORY = Path("/dev/shm")
# A trial takes a second or two; one that takes as long as this hangs.
_MOST_S = 300
_TABLE = re.compile(r"(<!-- campaign -->\n).*(<!-- end campaign -->)", re.DOTALL)
_COUNTED = ("lost", "doubled", "stuck", "inputs", "left")


@dataclass
class Figures:
    """What many trials came to."""

    seed: int
    trials: int = 0
    kills: Counter[str] = field(default_factory=Counter)
    at_change: int = 0
    stops: int = 0
    commands: int = 0
    tomodirs: int = 0
    trials_with: Counter[str] = field(default_factory=Counter)
    seconds: float = 0.0

    def add(self, outcome: Outcome) -> None:
        """Count one more."""
        self.trials += 1
        self.kills.update(outcome.kills)
        self.at_change += outcome.at_change
        self.stops += outcome.stops
        self.commands += outcome.commands
        self.tomodirs += int(outcome.scenario.split()[0] if outcome.scenario else 0)
        self.trials_with.update({kind for kind, _ in outcome.problems})

    def table(self) -> str:
        """Return it as Markdown."""
        kills = ", ".join(f"{kind}s {self.kills[kind]}" for kind in KINDS)
        rows = [
            ("date, seed", f"{time.strftime('%Y-%m-%d', time.gmtime())}, {self.seed}"),
            ("trials, tomodirs in them", f"{self.trials}, {self.tomodirs}"),
            ("commands", str(self.commands)),
            ("**killed (SIGKILL)**", f"**{self.kills.total()}**: {kills}"),
            ("of these at a drawn change to a file", str(self.at_change)),
            ("stopped for a while (SIGSTOP)", f"{self.stops} pilots"),
            ("**results lost**", f"**{self.trials_with['lost']}**"),
            ("**committed or put in place twice**", f"**{self.trials_with['doubled']}**"),
            ("**stuck**: not finished by ordinary commands", f"**{self.trials_with['stuck']}**"),
            ("inputs changed", str(self.trials_with["inputs"])),
            ("something left behind (.crh files, scratch, processes)", str(self.trials_with["left"])),
        ]
        lines = ["| | |", "|---|---|", *(f"| {name} | {value} |" for name, value in rows)]
        return "\n".join(lines) + "\n"


def outcomes(seed: int, numbers: Sequence[int], directory: Path, processes: int) -> Iterator[Outcome]:
    """Run trials, several side by side, and give their outcomes as they come; failed ones are kept in ``directory``."""
    waiting = list(reversed(numbers))
    running: dict[int, tuple[int, int]] = {}
    while waiting or running:
        while waiting and len(running) < processes:
            number = waiting.pop()
            reading, writing = os.pipe()
            pid = os.fork()
            if pid == 0:
                _be_trial(seed, number, directory / str(number), writing)
            os.close(writing)
            running[pid] = (number, reading)
        pid, status = os.waitpid(-1, 0)
        if pid not in running:
            continue
        number, reading = running.pop(pid)
        with open(reading) as pipe:
            said = pipe.read()
        outcome = Outcome(**json.loads(said)) if said else Outcome(number, problems=[("stuck", f"ended with {status}")])
        if not outcome.problems:
            shutil.rmtree(directory / str(number), ignore_errors=True)
        yield outcome


def _be_trial(seed: int, number: int, directory: Path, report: int) -> None:
    code = 1
    try:
        os.setsid()
        signal.alarm(_MOST_S)
        directory.mkdir()
        outcome = Trial(seed, number, directory).run()
        os.write(report, json.dumps(outcome.to_json()).encode())
        code = 0
    except BaseException:
        traceback.print_exc()
        problem = ("stuck", f"the trial itself failed: {traceback.format_exc()[-1500:]}")
        os.write(report, json.dumps(Outcome(number, problems=[problem]).to_json()).encode())
    finally:
        os._exit(code)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a campaign; return 1 if anything was wrong."""
    parser = argparse.ArgumentParser(description="Kill processes at random and see what becomes of surveys.")
    parser.add_argument("trials", type=int)
    parser.add_argument("--seed", type=int, default=0, help="default: another one each time")
    parser.add_argument("--first", type=int, default=0, help="number of the first trial; to repeat one")
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--table", type=Path, help="page whose table is replaced")
    parsed = parser.parse_args(arguments)
    figures = Figures(parsed.seed or int.from_bytes(os.urandom(3), "big"))
    print(f"seed {figures.seed}", flush=True)
    directory = Path(
        tempfile.mkdtemp(prefix="crh-campaign-", dir=_IN_MEMORY if os.access(_IN_MEMORY, os.W_OK) else None)
    )
    began = time.monotonic()
    for outcome in outcomes(
        figures.seed, range(parsed.first, parsed.first + parsed.trials), directory, parsed.processes
    ):
        figures.add(outcome)
        for kind, text in outcome.problems:
            print(f"trial {outcome.number} ({outcome.scenario}): {kind}: {text}", flush=True)
        if outcome.problems:
            print(f"  kept: {directory / str(outcome.number)}", flush=True)
        if figures.trials % 50 == 0:
            print(f"{figures.trials} trials, {figures.kills.total()} kills", flush=True)
    figures.seconds = time.monotonic() - began
    print(figures.table())
    print(f"{figures.seconds:.0f} s")
    if parsed.table:
        page = parsed.table.read_text()
        text = _TABLE.sub(lambda match: match[1] + "\n" + figures.table() + "\n" + match[2], page)
        assert text != page, f"{parsed.table} has no place for the table"
        parsed.table.write_text(text)
    with contextlib.suppress(OSError):
        directory.rmdir()
    return 1 if any(figures.trials_with[kind] for kind in _COUNTED) else 0


if __name__ == "__main__":
    sys.exit(main())
