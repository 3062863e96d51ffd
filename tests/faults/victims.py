"""The processes of a trial, told apart, and what is done to them."""

from __future__ import annotations

import os
import signal
from dataclasses import dataclass, field
from pathlib import Path
from random import Random

CLIENT, PILOT, GUARD, PROGRAM = "client", "pilot", "guard", "program"
KINDS = (CLIENT, PILOT, GUARD, PROGRAM)
# Most of the time a client is all that runs, so pilots would hardly be hit.
_WEIGHTS = {CLIENT: 1, PILOT: 4, GUARD: 1, PROGRAM: 3}
_NAMES = {"crh-client": CLIENT, "crh-pilot": PILOT, "crh-guard": GUARD}


def processes_below(pid: int) -> dict[int, str]:
    """Return all living processes that a process has started, directly or not, and their kinds."""
    parents: dict[int, tuple[int, str]] = {}
    for entry in os.listdir("/proc"):
        if not entry.isdigit():
            continue
        try:
            text = Path(f"/proc/{entry}/stat").read_text(errors="replace")
        except OSError:
            continue
        name = text[text.index("(") + 1 : text.rindex(")")]
        state, parent = text[text.rindex(")") + 2 :].split()[:2]
        if state not in "ZX":
            parents[int(entry)] = (int(parent), name)
    found: dict[int, str] = {}
    new = {pid}
    while new:
        new = {child for child, (parent, _) in parents.items() if parent in new and child not in found}
        found.update({child: _kind(parents, child) for child in new})
    return found


def _kind(parents: dict[int, tuple[int, str]], pid: int) -> str:
    parent, name = parents[pid]
    kind = _NAMES.get(name, PROGRAM)
    # The guard is a fork of its pilot, and has its name for a moment.
    return GUARD if kind == PILOT and parents.get(parent, (0, ""))[1] == "crh-pilot" else kind


@dataclass
class Strikes:
    """Strikes at random processes below this one, and counts.

    Args:
        kills: by kind of victim.
        stopped: processes that were stopped and not woken yet.
    """

    draw: Random
    kills: dict[str, int] = field(default_factory=lambda: dict.fromkeys(KINDS, 0))
    stops: int = 0
    stopped: list[int] = field(default_factory=list)

    def strike(self) -> None:
        """Kill one, or stop a pilot, or wake those that were stopped."""
        if self.stopped and self.draw.random() < 0.3:
            self.wake()
        found = processes_below(os.getpid())
        kinds = sorted(set(found.values()))
        if not kinds:
            return
        kind = self.draw.choices(kinds, [_WEIGHTS[one] for one in kinds])[0]
        victim = self.draw.choice(sorted(pid for pid, one in found.items() if one == kind))
        if kind == PILOT and self.draw.random() < 0.25:
            self._send(victim, signal.SIGSTOP)
            self.stops += 1
            self.stopped.append(victim)
        elif self._send(victim, signal.SIGKILL):
            self.kills[kind] += 1

    def wake(self) -> None:
        """Let all stopped ones go on."""
        for pid in self.stopped:
            self._send(pid, signal.SIGCONT)
        self.stopped.clear()

    @staticmethod
    def _send(pid: int, number: int) -> bool:
        try:
            os.kill(pid, number)
        except ProcessLookupError:
            return False
        return True
