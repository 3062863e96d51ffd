"""What crh-batch costs beside the programs: N copies of a small model, against ``xargs -P`` over the same program.

    python benchmarks/overhead.py [-n 1000] [-j 2] [--repeats 3] [--directory /dev/shm]

Both run in turn on fresh copies, in one run of this script, so what is compared was measured on the same machine in
the same minutes. Printed are ratios: of the pilot's part and of the whole command to xargs, the processor time spent
outside the program, and the longest time that a slot stood idle between two tomodirs.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from crh_batch.demo import write_small_models
from crh_batch.engines.programs import find_program
from crh_batch.ledger.batch import Batch, batches_of
from crh_batch.ledger.session import list_sessions, read_events, read_header
from crh_batch.profile import Profile


@dataclass(frozen=True)
class Run:
    """One run of crh-batch: seconds of wall and processor time."""

    whole_s: float
    pilot_s: float
    register_s: float
    collect_s: float
    program_cpu_s: float
    pilot_cpu_s: float
    client_cpu_s: float
    longest_idle_s: float
    idle_share: float


def run_xargs(survey: Path, jobs: int, program: str) -> float:
    """Run the program in every tomodir by xargs; return seconds."""
    places = [path.parent for path in sorted(survey.glob("*/*/exe/crmod.cfg"))]
    for place in places:
        (place.parent / "mod").mkdir(exist_ok=True)
    listing = b"\0".join(os.fsencode(place) for place in places)
    argv = ["xargs", "-0", f"-P{jobs}", "-I{}", "env", "-C", "{}", program]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    began = time.monotonic()
    subprocess.run(
        argv, input=listing, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=environment, check=True
    )
    return time.monotonic() - began


def run_crh_batch(survey: Path, jobs: int) -> Run:
    """Run the survey by crh-batch."""
    argv = [sys.executable, "-m", "crh_batch", "run", f"-j{jobs}", "--json"]
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    began_at, began = time.time(), time.monotonic()
    done = subprocess.run(argv, cwd=survey, capture_output=True, check=False)
    whole_s, ended_at = time.monotonic() - began, time.time()
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    if done.returncode != 0:
        sys.exit(f"crh-batch run failed: {done.stderr.decode()}")
    batch = Batch(batches_of(str(survey))[-1])
    spans: list[tuple[float, float]] = []
    cpu_s = pilot_cpu_s = 0.0
    pilot_began = pilot_ended = 0.0
    for token in list_sessions(batch.paths):
        header = read_header(batch.paths, token)
        if header is None or header.kind != "pilot":
            continue
        pilot_began = header.started
        for event in read_events(batch.paths, token):
            if event["event"] == "done":
                for stage in event["stages"]:
                    spans.append((stage["began"], stage["began"] + stage["wall_s"]))
                    cpu_s += stage["cpu_s"]
            elif event["event"] == "end":
                pilot_ended, pilot_cpu_s = event["time"], event["cpu_s"]
    # The pilot is no child of this process, so its own account is the only one; the client's is what remains.
    client_cpu_s = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    longest, share = idle(spans, jobs)
    return Run(
        whole_s,
        pilot_ended - pilot_began,
        pilot_began - began_at,
        ended_at - pilot_ended,
        cpu_s,
        pilot_cpu_s,
        client_cpu_s,
        longest,
        share,
    )


def idle(spans: list[tuple[float, float]], slots: int) -> tuple[float, float]:
    """Return the longest time that a slot stood idle between two programs, and the share of all slots' time."""
    free_since = [min(start for start, _ in spans)] * slots
    longest = total = 0.0
    for start, end in sorted(spans):
        # The slot that has been free for the shortest time is the one that was handed on.
        slot = max(range(slots), key=lambda number: (free_since[number] <= start, free_since[number]))
        gap = max(0.0, start - free_since[slot])
        longest, total = max(longest, gap), total + gap
        free_since[slot] = end
    span = max(end for _, end in spans) - min(start for start, _ in spans)
    return longest, total / (slots * span)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("-n", type=int, default=1000, help="tomodirs")
    parser.add_argument("-j", type=int, default=2, help="programs side by side")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--directory", help="where surveys and scratch lie; a tmpfs leaves the disk's share out")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    if options.directory:
        # For this process's own surveys, and for the pilot's scratch directories.
        os.environ["TMPDIR"] = tempfile.tempdir = options.directory
    program = find_program("CRMod", Profile())
    xargs: list[float] = []
    runs: list[Run] = []
    for _ in range(options.repeats):
        with tempfile.TemporaryDirectory(prefix="crh-overhead-") as directory:
            survey, copy = Path(directory) / "survey", Path(directory) / "copy"
            write_small_models(survey, options.n)
            shutil.copytree(survey, copy)
            xargs.append(run_xargs(copy, options.j, program))
            runs.append(run_crh_batch(survey, options.j))
    report(options.n, xargs, runs, as_json=options.json)


def report(count: int, xargs: list[float], runs: list[Run], *, as_json: bool) -> None:
    """Print medians and ratios, pair by pair."""
    median = statistics.median
    outside = [(one.pilot_cpu_s + one.client_cpu_s) / count * 1e3 for one in runs]
    figures = {
        "tomodirs": count,
        "xargs_s": median(xargs),
        "program_cpu_ms": median(one.program_cpu_s / count * 1e3 for one in runs),
        "pilot_to_xargs": median(one.pilot_s / base for one, base in zip(runs, xargs)),
        "whole_to_xargs": median(one.whole_s / base for one, base in zip(runs, xargs)),
        "register_s": median(one.register_s for one in runs),
        "pilot_s": median(one.pilot_s for one in runs),
        "collect_s": median(one.collect_s for one in runs),
        "pilot_cpu_ms": median(one.pilot_cpu_s / count * 1e3 for one in runs),
        "client_cpu_ms": median(one.client_cpu_s / count * 1e3 for one in runs),
        "outside_cpu_ms": median(outside),
        "longest_idle_ms": max(one.longest_idle_s for one in runs) * 1e3,
        "idle_share": median(one.idle_share for one in runs),
    }
    if as_json:
        print(json.dumps(figures, indent=1))
        return
    for name, value in figures.items():
        print(f"{name:20} {value:10.3f}" if isinstance(value, float) else f"{name:20} {value:10}")


if __name__ == "__main__":
    main()
