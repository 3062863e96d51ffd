"""Every reader of what others may have written, with real examples of what it reads.

One table drives the quick tests (test_readers.py), the long runs (``make fuzz``) and the test that no reader is missing
(test_table.py).
"""

from __future__ import annotations

from pathlib import Path

from unit.fuzz.of_answers import of_answers
from unit.fuzz.of_ledgers import of_ledgers
from unit.fuzz.of_mirrors import of_mirrors
from unit.fuzz.of_tomodirs import of_tomodirs
from unit.fuzz.of_users import of_users
from unit.fuzz.reader import Reader


def make_readers(scratch: Path) -> list[Reader]:
    """Return all readers; ``scratch`` is where they put what is to be read. Takes XDG_* of the process for its own."""
    return [*of_tomodirs(scratch), *of_ledgers(scratch), *of_answers(), *of_mirrors(scratch), *of_users(scratch)]
