"""What the dask engine costs beside the array engine's pilots: N copies of a small model, on this machine.

    python benchmarks/dask_overhead.py [-n 500] [-j 2] [--repeats 3] [--directory /dev/shm]

Both run in turn on fresh copies. Compared are the whole command, the time from the first claim to the last result, and
the processor time of pilot or workers without the programs, each a tomodir.
"""

from __future__ import annotations

import argparse
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from crh_batch.demo import write_small_models
from crh_batch.ledger.batch import Batch, batches_of
from crh_batch.ledger.session import list_sessions, read_events

ENGINES = {"pilot": ["--engine", "local", "--wait"], "dask": ["--engine", "dask", "--local"]}


@dataclass(frozen=True)
class Run:
    """One run: seconds."""

    whole_s: float
    working_s: float
    own_cpu_s: float


def run(survey: Path, jobs: int, engine: str) -> Run:
    """Run a fresh survey and measure it."""
    began = time.monotonic()
    argv = [sys.executable, "-m", "crh_batch", "submit", *ENGINES[engine], "-j", str(jobs)]
    subprocess.run(argv, cwd=survey, stderr=subprocess.DEVNULL, stdin=subprocess.DEVNULL, check=True)
    whole_s = time.monotonic() - began
    batch = Batch(batches_of(str(survey))[-1])
    own_cpu_s = 0.0
    claimed, finished = [], []
    for token in list_sessions(batch.paths):
        for event in read_events(batch.paths, token):
            if event["event"] == "claim":
                claimed.append(event["time"])
            elif event["event"] == "done":
                finished.append(event["time"])
            elif event["event"] == "end":
                own_cpu_s += event["cpu_s"]
    return Run(whole_s, max(finished) - min(claimed), own_cpu_s)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("-n", type=int, default=500, help="tomodirs")
    parser.add_argument("-j", type=int, default=2, help="cores")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--directory", default=None, help="where to work (default: the system's temporary directory)")
    wanted = parser.parse_args()
    runs: dict[str, list[Run]] = {name: [] for name in ENGINES}
    for number in range(wanted.repeats):
        for engine, found in runs.items():
            base = Path(tempfile.mkdtemp(prefix="crh-batch-dask-", dir=wanted.directory))
            try:
                write_small_models(base / "survey", wanted.n)
                found.append(run(base / "survey", wanted.j, engine))
            finally:
                shutil.rmtree(base, ignore_errors=True)
            one = found[-1]
            print(
                f"{number} {engine:5}  whole {one.whole_s:6.2f} s  working {one.working_s:6.2f} s  "
                f"workers' processor {one.own_cpu_s:6.2f} s",
                flush=True,
            )
    middle = {
        name: [1000 / wanted.n * statistics.median(getattr(one, what) for one in found) for what in vars(found[0])]
        for name, found in runs.items()
    }
    print(f"\n{wanted.n} tomodirs, {wanted.j} cores, load {os.getloadavg()[0]:.1f}; milliseconds a tomodir, medians:")
    for what, pilot, dask in zip(("whole command", "working", "workers' processor"), middle["pilot"], middle["dask"]):
        print(f"  {what:20} pilot {pilot:6.1f}   dask {dask:6.1f}   more {dask - pilot:6.1f}")


if __name__ == "__main__":
    main()
