"""A batch with a stage, a pilot that works there, and what must be true of the mirror here whatever happens.

Also a program of its own: the client that dies before the n-th of its changes, for each n (see points.py).
"""

from __future__ import annotations

import json
import os
import shutil
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from random import Random

from crh_batch.ledger.arbiter import arbitrate
from crh_batch.ledger.batch import Batch
from crh_batch.ledger.names import Failure, fail_mark
from crh_batch.ledger.session import Session
from crh_batch.ledger.steering import give_notice, win_many
from crh_batch.mirror.arbiter import find_arbiter
from crh_batch.mirror.refresh import refresh
from crh_batch.mirror.stage import Stage, read_stages
from faults.points import Announcer
from unit.ledger.making import begin, claim, finish
from unit.mirror.staged import bring_machine, make_staged, names_of, packs_of, sessions_of

TOMODIRS = 12
KILLED = 77


@dataclass
class Mirrored:
    """Both ends of a batch, as files alone."""

    here: Batch
    there: Batch

    @property
    def stage(self) -> Stage:
        """Its only stage."""
        return read_stages(self.here.paths)[0]


def make_mirrored(root: Path) -> Mirrored:
    """A new batch, of which nothing is known here but that it has arrived."""
    staged = make_staged(root, TOMODIRS)
    staged.close()
    return Mirrored(staged.batch, staged.there[0])


def copy_of(one: Mirrored, root: Path, to: Path) -> Mirrored:
    """The same somewhere else: both ends, at the same places below ``to``."""
    shutil.copytree(root, to, symlinks=True)
    moved = Mirrored(
        Batch(str(to / os.path.relpath(one.here.paths.directory, root))),
        Batch(str(to / os.path.relpath(one.there.paths.directory, root))),
    )
    path = Path(moved.stage.directory, "stage.json")
    path.write_text(path.read_text().replace(os.fspath(root) + "/", os.fspath(to) + "/"))
    return moved


def work(there: Batch, draw: Random, first: int, stop: int) -> None:
    """What a pilot does: begins some tomodirs, ends some of them well."""
    pilot = begin(there, f"p{first}")
    for number in range(first, stop):
        claim(there, pilot, number)
        pilot.append("progress", id=number, iteration=draw.randrange(99), rms=draw.random())
        if draw.random() < 0.6:
            finish(there, number, {"inv/rho.mag": draw.randbytes(draw.randrange(1, 3000))}, session=pilot)
    pilot.close()


def problems_of(one: Mirrored) -> list[str]:
    """What is wrong here: a mirror is behind, never wrong. What is here is looked at first: both may grow meanwhile."""
    found = []
    here, there = names_of(one.here), names_of(one.there)
    found += [f"{name}: isn't there, or another's" for name, target in here.items() if there.get(name) != target]
    sessions = sessions_of(one.here)
    found += [
        f"{name}: its session isn't here" for name, target in here.items() if os.path.basename(target) not in sessions
    ]
    whole = sessions_of(one.there)
    for name, content in sessions.items():
        # A client that died in its first line has no header.
        ends = (content, whole.get(name, b""))
        longer, shorter = ends if name.startswith("client-") else ends[::-1]
        if not longer.startswith(shorter):
            found.append(f"{name}: is no beginning of what is there")
    packs_here = packs_of(one.here)
    packs = packs_of(one.there)
    for name, content in packs_here.items():
        if not packs[name].startswith(content):
            found.append(f"{name}: is no beginning of what is there")
    return found


def differences_of(one: Mirrored) -> list[str]:
    """What is not the same on both sides, after a refresh with packs."""
    found = problems_of(one)
    found += sorted(names_of(one.there).keys() - names_of(one.here).keys())
    sessions = sessions_of(one.here)
    found += [name for name, content in sessions_of(one.there).items() if not sessions[name].startswith(content)]
    return found + [name for name, content in packs_of(one.there).items() if packs_of(one.here).get(name) != content]


# ---- what a client does


def look(one: Mirrored) -> None:
    """Refresh, with packs; an error that says that the machine can't be reached is one to live with."""
    refresh(one.here, packs=True)


def steer(one: Mirrored) -> None:
    """Hold some tomodirs and give up others, as the command line does."""
    client = Session.begin(one.here.paths, "client")
    for number in range(TOMODIRS):
        client.append("held", id=number)
    client.sync()
    win_many(client, [(number, "held.001") for number in range(0, TOMODIRS, 2)], "symlink")
    win_many(client, [(number, "claim.001") for number in range(TOMODIRS)], "symlink")
    win_many(client, [(number, fail_mark(1, Failure.CANCELLED)) for number in range(TOMODIRS)], "symlink")
    give_notice(client, "symlink")


DEEDS: dict[str, Callable[[Mirrored], None]] = {"look": look, "steer": steer}


# ---- the client that dies


def _die_at_each(root: Path, deed: str, first: int, step: int) -> None:
    """Let a client die before each of its changes, and go on; tell of each life in a line of JSON.

    Args:
        root: holds ``here`` and ``there``.
    """
    staged = Path(root, "template")
    template = Mirrored(*(Batch(line) for line in Path(root, "batches").read_text().splitlines()))
    number = first
    while True:
        place = Path(root, f"life{number}")
        one = copy_of(template, staged, place)
        reading, writing = os.pipe()
        child = os.fork()
        if child == 0:
            _live(one, deed, number, writing)
        os.close(writing)
        event = os.read(reading, 4096).decode(errors="replace")
        os.close(reading)
        code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        if code == 0:
            print(json.dumps({"number": number, "event": "end", "problems": []}), flush=True)
            return
        found = [f"ended with {code}"] if code != KILLED else problems_of(one)
        host = bring_machine("far1")
        errors = refresh(one.here, packs=True)
        host.close()
        found += [str(error) for error in errors] + differences_of(one)
        print(json.dumps({"number": number, "event": event, "problems": found}), flush=True)
        shutil.rmtree(place)
        number += step


def _live(one: Mirrored, deed: str, number: int, report: int) -> None:
    count = 0

    def on_point(event: str) -> None:
        nonlocal count
        count += 1
        if count == number:
            os.write(report, event.encode(errors="replace"))
            os._exit(KILLED)

    code = 1
    try:
        bring_machine("far1")
        arbitrate(find_arbiter)
        Announcer(os.path.join(one.here.paths.directory, ""), on_point).install()
        DEEDS[deed](one)
        code = 0
    finally:
        os._exit(code)


if __name__ == "__main__":
    _die_at_each(Path(sys.argv[1]), sys.argv[2], int(sys.argv[3]), int(sys.argv[4]))
