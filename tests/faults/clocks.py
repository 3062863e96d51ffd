"""A process whose clock is wrong, and may be set meanwhile: ``clocks.py '{...}' pilot|client ARGUMENT...``."""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass


@dataclass(frozen=True)
class Clock:
    """A machine's clock.

    Args:
        ahead_s: how far it is ahead of the true time, in seconds.
        set_by_s: how far it is set forward when the file ``when`` comes to be.
        when: that file; empty for never.
    """

    ahead_s: float = 0.0
    set_by_s: float = 0.0
    when: str = ""


def argv_with(clock: Clock, kind: str, arguments: Sequence[str]) -> list[str]:
    """Return how a ``pilot`` or ``client`` is started on a machine with this clock."""
    return [sys.executable, __file__, json.dumps(asdict(clock)), kind, *arguments]


def _main() -> int:
    clock = Clock(**json.loads(sys.argv[1]))
    true_time = time.time

    def shown() -> float:
        was_set = bool(clock.when) and os.path.exists(clock.when)
        return true_time() + clock.ahead_s + (clock.set_by_s if was_set else 0.0)

    time.time = shown
    # Imported now, for they may take the function away with them.
    kind, arguments = sys.argv[2], sys.argv[3:]
    if kind == "pilot":
        from crh_batch.pilot import loop
        from crh_batch.pilot.main import main as pilot

        # It looks at the time far more often than it would.
        loop.WATCH_S = 0.02
        return pilot(arguments)
    from crh_batch.cli.group import main as client

    sys.argv[1:] = arguments
    return client()


if __name__ == "__main__":
    sys.exit(_main())
