"""Looking after attempts that run: those whose claim was taken away are ended."""

from __future__ import annotations

from pathlib import Path

import pytest

from crh_batch.ledger.names import Failure
from crh_batch.pilot.stages import Attempt
from crh_batch.pilot.watch import Watcher
from unit.ledger.making import begin, make_batch, make_names


@pytest.mark.parametrize("why", [Failure.CANCELLED, Failure.LOST])
def test_look_at_when_somebody_ended_an_attempt_then_it_is_ended_and_others_go_on(tmp_path: Path, why: Failure) -> None:
    batch = make_batch(tmp_path, 2)
    attempts = [Attempt(batch.items[0], 1, ""), Attempt(batch.items[0], 2, ""), Attempt(batch.items[1], 1, "")]
    make_names(batch, f"0.fail.002.{why.value}", "1.fail.001.crash")
    Watcher(batch, begin(batch)).look_at(attempts)
    assert [attempt.ended_by for attempt in attempts] == [None, why, None]
