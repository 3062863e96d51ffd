"""The real programs behind a gate, for tests that must meet a pilot at work, however slow or fast the machine is."""

from __future__ import annotations

import shlex
from pathlib import Path


class Gate:
    """CRMod and CRTomo that wait as long as the gate is closed, and are themselves as soon as it is open.

    Args:
        directory: for the gate's own files; every node must see it.
        programs: where CRMod_stable and CRTomo_stable are.
    """

    def __init__(self, directory: Path, programs: Path) -> None:
        directory.mkdir(parents=True)
        self._latch = directory / "open"
        self._scripts = {name: directory / f"{name}_behind_the_gate" for name in ("CRMod", "CRTomo")}
        for name, script in self._scripts.items():
            latch, program = shlex.quote(str(self._latch)), shlex.quote(str(programs / f"{name}_stable"))
            script.write_text(f'#!/bin/sh\nuntil [ -e {latch} ]; do sleep 0.05; done\nexec {program} "$@"\n')
            script.chmod(0o755)

    @property
    def profile(self) -> str:
        """The lines of a profile that name these programs."""
        return f'crmod = "{self._scripts["CRMod"]}"\ncrtomo = "{self._scripts["CRTomo"]}"\n'

    def open(self) -> None:
        """Let through whoever waits or comes."""
        self._latch.touch()

    def close(self) -> None:
        """Let nobody through any more."""
        self._latch.unlink()
