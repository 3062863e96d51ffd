"""The node's side of `crh-batch profile test`: what pilot.pyz runs instead of a pilot, started by the same job script.

It looks at the node, meets another such task on the same filesystem if there is one, waits for the warning signal, and
writes what it found into ``trial/`` of the batch's directory:

    <token>.here    this task has begun: its node, and what it could see at once
    alone           made by the client: no other task will come
    <token>.alone/  what the task tries by itself; together/ what two try at once
    <token>.json    everything, once at the end
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import signal
import socket
import sys
import time
from types import FrameType
from typing import Any

from crh_batch.ledger import durable
from crh_batch.ledger.batch import Batch
from crh_batch.pilot.fs_alone import look_alone
from crh_batch.pilot.fs_together import Party
from crh_batch.pilot.job import parse_time_left, surroundings
from crh_batch.pilot.node_facts import core_facts, memory_facts, program_facts, python_facts, scratch_facts

TRIAL = "trial"
HERE = ".here"
ALONE = "alone"
RESULT = ".json"
TOGETHER = "together"
ALL_ALONE = ".alone"
# For the other task to come, for one answer of it, and for the warning signal.
PEER_S = 45.0
ANSWER_S = 12.0
PATIENCE_S = 20.0
SIGNAL_S = 75.0


class Signals:
    """Remembers when which signal came; made first, so that none is missed."""

    def __init__(self) -> None:
        self.began = time.monotonic()
        self.seen: list[tuple[str, float]] = []
        for number in (signal.SIGUSR1, signal.SIGUSR2, signal.SIGTERM):
            signal.signal(number, self._note)

    def _note(self, number: int, frame: FrameType | None) -> None:
        self.seen.append((signal.Signals(number).name, round(time.monotonic() - self.began, 2)))

    @property
    def is_ending(self) -> bool:
        """Whether the job is being ended now."""
        return any(name == "SIGTERM" for name, _ in self.seen)


def main(arguments: list[str] | None = None) -> int:
    """Run one task of the trial; takes a pilot's arguments, of which it needs some."""
    signals = Signals()
    parsed = _parse(arguments)
    batch = Batch(os.path.abspath(parsed.batch))
    here = surroundings(os.environ, os.getpid())
    directory = os.path.join(batch.paths.directory, TRIAL)
    token = parsed.submission or durable.random_word()
    left_s = 60 * parsed.minutes or parse_time_left(parsed.time_left)
    if left_s is None and here.end_time is not None:
        left_s = here.end_time - time.time()
    facts: dict[str, Any] = {
        "schema": 1,
        "token": token,
        "node": os.environ.get("SLURMD_NODENAME") or socket.gethostname(),
        "host": socket.gethostname(),
        "job_id": here.job.job_id,
        "began": round(time.time(), 3),
        "time_left_s": left_s,
        "warn_s": parsed.warn_s,
        "python": python_facts(),
        "cores": core_facts(parsed.cores, os.environ),
        "memory": memory_facts(parsed.memory_mb),
    }
    durable.write_durable(os.path.join(directory, token + HERE), json.dumps(facts).encode())
    facts["scratch"] = scratch_facts(_scratch(parsed, batch), token)
    # Where scratch is no use, programs are tried all the same.
    place = directory if facts["scratch"]["error"] else facts["scratch"]["path"]
    facts["programs"] = _programs(batch, parsed.cores, place)
    facts["filesystem"] = _look_at_filesystem(directory, token)
    facts["peer"] = _meet(directory, token, batch.settings.links, signals)
    _wait_for_warning(signals, parsed.warn_s, left_s)
    facts["signals"] = signals.seen
    durable.write_durable(os.path.join(directory, token + RESULT), json.dumps(facts, indent=1).encode() + b"\n")
    return 0


def _parse(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="pilot.pyz", description="Look at a node for crh-batch profile test.")
    parser.add_argument("batch")
    parser.add_argument("--cores", type=int, default=1)
    parser.add_argument("--memory-mb", type=int, default=0)
    parser.add_argument("--submission", default="")
    parser.add_argument("--scratch", default="")
    parser.add_argument("--minutes", type=float, default=0)
    parser.add_argument("--warn-s", type=float, default=0)
    parser.add_argument("--time-left", default="")
    parser.add_argument("--share-group", default="")
    # A job script may give what a pilot alone has a use for.
    return parser.parse_known_args(arguments)[0]


def _scratch(parsed: argparse.Namespace, batch: Batch) -> str:
    return str(parsed.scratch or batch.settings.scratch or os.environ.get("TMPDIR") or "/tmp")


def _programs(batch: Batch, threads: int, place: str) -> list[dict[str, Any]]:
    container = batch.settings.container
    found = []
    for name, entry in batch.settings.programs.items():
        path = entry.get("path") or os.path.join(os.path.abspath(batch.paths.programs), entry["file"])
        found.append(program_facts(name, path, container, threads, place))
    return found


# ---- the shared filesystem


def _look_at_filesystem(directory: str, token: str) -> dict[str, Any]:
    place = os.path.join(directory, token + ALL_ALONE)
    try:
        os.mkdir(place)
        return {**look_alone(place), "error": ""}
    except OSError as error:
        return {"error": str(error)}


def _meet(directory: str, token: str, links: str, signals: Signals) -> dict[str, Any] | None:
    """Try the shared filesystem together with another task; None if there was none."""
    other = _find_other(directory, token, signals)
    if other is None:
        return None
    place = os.path.join(directory, TOGETHER)
    with contextlib.suppress(FileExistsError):
        os.mkdir(place)
    return Party(place, token, [other], answer_s=ANSWER_S, patience_s=PATIENCE_S).look(links)


def _find_other(directory: str, token: str, signals: Signals) -> str | None:
    deadline = time.monotonic() + PEER_S
    while time.monotonic() < deadline and not signals.is_ending:
        names = os.listdir(directory)
        others = sorted(name[: -len(HERE)] for name in names if name.endswith(HERE) and name != token + HERE)
        if others:
            return others[0]
        if ALONE in names:
            return None
        time.sleep(0.1)
    return None


# ---- the warning


def _wait_for_warning(signals: Signals, warn_s: float, left_s: float | None) -> None:
    """Wait for the first signal; not where none can come."""
    if not warn_s or left_s is None:
        return
    deadline = signals.began + min(SIGNAL_S, left_s - 5)
    while not signals.seen and time.monotonic() < deadline:
        time.sleep(0.1)


if __name__ == "__main__":
    sys.exit(main())
