"""How full a pilot keeps its cores with tomodirs of several widths, and how long that takes against the best possible.

    python benchmarks/packing.py [--cores 8] [--seconds 1.0]
    python benchmarks/packing.py --real

The first runs a mix of tomodirs of 1 and 4 cores whose program sleeps, so that there may be more cores than this
machine has: what is measured is the pilot's decisions and its own time. The second runs real CRMod and CRTomo, 2D with
one core and 2.5D with all of this machine's. Printed are ratios only.
"""

from __future__ import annotations

import argparse
import os
import random
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from crh_batch.demo import TomodirSpec, write_tomodir
from crh_batch.ledger.batch import Batch, batches_of, new_batch
from crh_batch.ledger.items import Item, write_items
from crh_batch.ledger.session import list_sessions, read_events, read_header
from crh_batch.ledger.settings import ItemClass, Settings, write_settings

WIDE = 4


@dataclass(frozen=True)
class Span:
    """A tomodir's programs: when the first began and the last ended, seconds since 1970, and its cores."""

    began: float
    ended: float
    cores: int

    @property
    def core_s(self) -> float:
        """What it took, in core seconds."""
        return self.cores * (self.ended - self.began)


def spans_of(batch: Batch, token: str, cores: int) -> Iterator[Span]:
    """Yield what a session ran to a good end."""
    for event in read_events(batch.paths, token):
        if event["event"] == "done":
            first, last = event["stages"][0], event["stages"][-1]
            width = min(batch.items[event["id"]].threads, cores)
            yield Span(first["began"], last["began"] + last["wall_s"], width)


def busy_share(spans: list[Span], cores: int, until: float) -> float:
    """Return the share of all cores' time that programs had them, from the first one's beginning to ``until``."""
    began = min(span.began for span in spans)
    busy = sum(span.cores * max(0.0, min(span.ended, until) - span.began) for span in spans)
    return busy / (cores * (until - began))


def makespan_ratio(spans: list[Span], cores: int) -> float:
    """Return how long it took, to what no order can beat: all cores busy all the time, or the longest one."""
    took = max(span.ended for span in spans) - min(span.began for span in spans)
    best = max(sum(span.core_s for span in spans) / cores, max(span.ended - span.began for span in spans))
    return took / best


def report(batch: Batch) -> None:
    """Print the figures of a batch that one pilot ran."""
    (token,) = [one for one in list_sessions(batch.paths) if (header := read_header(batch.paths, one)) and header.cores]
    header = read_header(batch.paths, token)
    assert header is not None
    spans = list(spans_of(batch, token, header.cores))
    # Until then something was ready; after that cores must stand idle, whoever decides.
    last_claim = max(event["time"] for event in read_events(batch.paths, token) if event["event"] == "claim")
    print(f"cores                 {header.cores:8}")
    print(f"tomodirs              {len(spans):8}  of them wide: {sum(span.cores > 1 for span in spans)}")
    print(f"busy while any waited {busy_share(spans, header.cores, last_claim):8.3f}  of the cores")
    print(f"makespan to the best  {makespan_ratio(spans, header.cores):8.3f}")


def sleeping(directory: Path, cores: int, seconds: float, seed: int) -> Batch:
    """Make a batch of tomodirs that sleep, in the order that submit would give them."""
    chance = random.Random(seed)
    listed = [(chance.choice((1, 1, 1, WIDE)), seconds * chance.uniform(0.3, 3.0)) for _ in range(12 * cores)]
    listed.sort(key=lambda one: (-one[0], -one[1]))
    paths = new_batch(os.fspath(directory), len(listed))
    program = Path(paths.programs, "sleeper")
    program.write_text('#!/bin/sh\nexec sleep "$1"\n')
    program.chmod(0o755)
    wide = sum(width == WIDE for width, _ in listed)
    classes = (ItemClass(WIDE, 0, wide), ItemClass(1, wide, len(listed)))
    write_settings(paths, Settings("symlink", classes, {"sleeper": {"file": "sleeper", "sha256": ""}}))
    write_items(paths, (_sleeper(number, *one) for number, one in enumerate(listed)))
    for number in range(len(listed)):
        (directory / f"td{number}").mkdir()
    return Batch(paths.directory)


def _sleeper(number: int, width: int, seconds: float) -> Item:
    stage = {
        "stage": "modelling",
        "program": "sleeper",
        "judge": "exit_status",
        "arguments": [f"{seconds:.3f}"],
        "inputs": [],
        "make_dirs": ["exe"],
        "result": None,
        "inv_dirs": [],
    }
    return Item(number, f"td{number}", width, width, seconds, 0, (stage,))


def real(directory: Path) -> Batch:
    """Run real tomodirs of both widths with ``crh-batch run``."""
    for number in range(6):
        write_tomodir(directory / f"wide{number}", TomodirSpec(dims="2.5D", electrodes=24))
    for number in range(16):
        write_tomodir(directory / f"narrow{number}", TomodirSpec(dims="2D", electrodes=20 + number % 4))
    argv = [sys.executable, "-m", "crh_batch", "run", "--yes"]
    subprocess.run(argv, cwd=directory, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    return Batch(batches_of(os.fspath(directory))[-1])


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--cores", type=int, default=8, help="cores of the pilot")
    parser.add_argument("--seconds", type=float, default=1.0, help="about how long a tomodir sleeps")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--real", action="store_true", help="real programs on this machine's cores")
    options = parser.parse_args()
    directory = Path(tempfile.mkdtemp(prefix="crh-packing-"))
    try:
        if options.real:
            batch = real(directory)
        else:
            batch = sleeping(directory, options.cores, options.seconds, options.seed)
            argv = [sys.executable, "-m", "crh_batch.pilot.main", batch.paths.directory, f"--cores={options.cores}"]
            subprocess.run(argv, check=True)
        report(batch)
    finally:
        shutil.rmtree(directory, ignore_errors=True)


if __name__ == "__main__":
    main()
