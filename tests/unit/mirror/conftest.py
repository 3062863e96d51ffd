from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from unit.mirror.staged import Staged

pytest.register_assert_rewrite("unit.ledger.making")


@pytest.fixture
def stage_batch(tmp_path: Path) -> Iterator[Callable[..., Staged]]:
    """Make a batch with stages; the machines end with the test."""
    from unit.mirror.staged import make_staged

    made: list[Staged] = []

    def make(count: int, **more: Any) -> Staged:
        made.append(make_staged(tmp_path, count, **more))
        return made[-1]

    yield make
    for one in made:
        one.close()
