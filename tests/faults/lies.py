"""A filesystem that lies or breaks, by the seam in ledger/durable.py; here or in a process of its own.

As a script, ``lies.py FAULTS pilot|client ARGUMENT...`` runs a pilot or a command of crh-batch with faults (a list of
``Fault`` as JSON). A fault may do only what was seen or is documented: facts/shared-filesystems.md and manual pages,
named beside each test that uses it.
"""

from __future__ import annotations

import errno
import json
import os
import re
import sys
import threading
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from crh_batch.ledger import durable


@dataclass
class Fault:
    """One fault.

    Args:
        call: of ``durable.calls``: symlink, link, write, fsync, replace, unlink, readlink, open.
        path: regular expression that must be found in the path concerned (of a descriptor: what it is open for).
        error: name of the errno to raise.
        works: the call does its work all the same.
        part: of a write: this share of the bytes is written before the error; without an error the call just says so.
        skip: so many matching calls are left alone first.
        times: how often it strikes; -1 always.
    """

    call: str
    path: str = ""
    error: str = ""
    works: bool = False
    part: float = 0.0
    skip: int = 0
    times: int = -1

    def strikes(self, path: str) -> bool:
        """Return whether it is this call's turn."""
        if not re.search(self.path, path) or not self.times:
            return False
        if self.skip:
            self.skip -= 1
            return False
        self.times -= 1
        return True

    def raise_error(self, path: str) -> None:
        """Raise what the call reports, if it reports anything."""
        if self.error:
            number = getattr(errno, self.error)
            raise OSError(number, os.strerror(number), path)


# Which argument of a call is the path or the descriptor concerned.
_PLACES = {"symlink": 1, "link": 1, "replace": 1, "unlink": 0, "readlink": 0, "open": 0, "write": 0, "fsync": 0}


def faulty(name: str, fault: Fault, real: Callable[..., Any]) -> Callable[..., Any]:
    """Return a call with a fault."""
    lock = threading.Lock()

    def call(*arguments: Any, **options: Any) -> Any:
        concerned = arguments[_PLACES[name]]
        path = os.readlink(f"/proc/self/fd/{concerned}") if isinstance(concerned, int) else os.fsdecode(concerned)
        with lock:
            strikes = fault.strikes(path)
        if not strikes:
            return real(*arguments, **options)
        if name == "write":
            data = memoryview(arguments[1])
            written = real(concerned, data[: max(int(len(data) * fault.part), 0 if fault.error else 1)])
            fault.raise_error(path)
            return written
        if fault.works:
            real(*arguments, **options)
        fault.raise_error(path)
        return None

    return call


def install(faults: Sequence[Fault], setter: Callable[[object, str, object], None] = setattr) -> None:
    """Put faults into ``durable.calls``; ``setter`` may be ``monkeypatch.setattr``."""
    for fault in faults:
        setter(durable.calls, fault.call, faulty(fault.call, fault, getattr(durable.calls, fault.call)))


def argv_with(faults: Sequence[Fault], kind: str, arguments: Sequence[str]) -> list[str]:
    """Return how a ``pilot`` or ``client`` is started with faults."""
    return [sys.executable, __file__, json.dumps([asdict(fault) for fault in faults]), kind, *arguments]


def _main() -> int:
    install([Fault(**one) for one in json.loads(sys.argv[1])])
    kind, arguments = sys.argv[2], sys.argv[3:]
    if kind == "pilot":
        from crh_batch.pilot.main import main as pilot

        return pilot(arguments)
    from crh_batch.cli.group import main as client

    sys.argv[1:] = arguments
    return client()


if __name__ == "__main__":
    sys.exit(_main())
