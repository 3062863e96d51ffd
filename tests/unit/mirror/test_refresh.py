"""Refreshing a mirror: all stages, each for itself; a reader who may not write reads what is there."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from crh_batch.mirror.refresh import for_each, known_since, refresh
from crh_batch.mirror.stage import Stage
from unit.ledger.making import begin, claim, finish, make_batch
from unit.mirror.staged import Staged, names_of, packs_of

Make = Callable[..., Staged]


def test_refresh_when_there_are_no_stages_then_nothing_happens(tmp_path: Path) -> None:
    batch = make_batch(tmp_path, 1)
    assert refresh(batch) == []
    assert known_since(batch) is None


def test_refresh_when_one_of_two_machines_is_down_then_the_others_news_come(stage_batch: Make) -> None:
    staged = stage_batch(4, parts=2)
    for number, there in enumerate(staged.there):
        finish(there, number, {"inv/rho.mag": b"1" * 1000})
    staged.far[0].is_down = True
    counts: list[int] = []
    errors = refresh(staged.batch, packs=True, on_bytes=counts.append, on_total=counts.append)
    assert [error.host for error in errors] == ["far1"]
    assert names_of(staged.batch) == names_of(staged.there[1])
    assert packs_of(staged.batch) == packs_of(staged.there[1])
    assert len(counts) == 2 and counts[0] == counts[1]
    assert known_since(staged.batch) is None
    staged.far[0].is_down = False
    assert refresh(staged.batch, packs=True) == []
    assert names_of(staged.batch) == names_of(staged.there[0]) | names_of(staged.there[1])
    assert known_since(staged.batch) is not None


def test_refresh_when_it_was_done_lately_then_nobody_is_asked(
    stage_batch: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    staged = stage_batch(2)
    refresh(staged.batch)
    since = known_since(staged.batch)
    assert since is not None
    claim(staged.there[0], begin(staged.there[0]), 0)
    monkeypatch.setattr("crh_batch.mirror.refresh.time.time", lambda: since + 9.0)
    assert refresh(staged.batch, at_most_every_s=10.0) == []
    assert names_of(staged.batch) == {}
    assert refresh(staged.batch, at_most_every_s=8.0) == []
    assert names_of(staged.batch) != {}
    assert known_since(staged.batch) == pytest.approx(since + 9.0)


def test_refresh_when_the_clock_was_set_back_then_it_is_done(stage_batch: Make) -> None:
    staged = stage_batch(2)
    refresh(staged.batch)
    os.utime(os.path.join(staged.stages[0].directory, "seen"), (2e9, 2e9))
    claim(staged.there[0], begin(staged.there[0]), 0)
    refresh(staged.batch, at_most_every_s=1e9)
    assert names_of(staged.batch) != {}


def test_refresh_when_the_reader_may_not_write_then_the_old_state_is_read(
    stage_batch: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    staged = stage_batch(2)
    claim(staged.there[0], begin(staged.there[0]), 0)
    monkeypatch.setattr("crh_batch.mirror.refresh.os.access", lambda path, mode: False)
    assert refresh(staged.batch) == []
    assert names_of(staged.batch) == {}


def test_for_each_when_the_user_interrupts_then_no_thread_waits_for_a_cluster_any_longer(
    stage_batch: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A pool waits for its threads: without an end to their connections Ctrl-C would do nothing for minutes."""
    staged = stage_batch(2, parts=2)
    is_over = threading.Event()
    monkeypatch.setattr(staged.far[0], "abandon", is_over.set)

    def work(stage: Stage) -> None:
        if stage.number == 1:
            os.kill(os.getpid(), signal.SIGINT)
            assert is_over.wait(60)

    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        with pytest.raises(KeyboardInterrupt):
            for_each(work, staged.stages)
    finally:
        signal.signal(signal.SIGINT, before)
    assert is_over.is_set()
