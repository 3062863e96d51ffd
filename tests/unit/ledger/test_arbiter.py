"""Names that another machine decides about are asked for there; what concerns this side alone never is."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from crh_batch.ledger import arbiter
from crh_batch.ledger.arbiter import arbiter_of, arbitrate, is_ours, see_news
from crh_batch.ledger.custody import custody_of
from crh_batch.ledger.session import Session
from crh_batch.ledger.steering import give_notice, hold_batch, win_many
from unit.ledger.making import make_batch


@dataclass
class Elsewhere:
    """Says yes to all that is asked, and makes nothing."""

    asked: list[object] = field(default_factory=list)

    def win(self, session: Session, marks: Sequence[tuple[int, str]]) -> list[bool]:
        self.asked += marks
        return [True] * len(marks)

    def win_for_batch(self, session: Session, mark: str) -> bool:
        self.asked.append(mark)
        return True

    def bring_news(self) -> None:
        self.asked.append("news")


@pytest.fixture
def elsewhere() -> Iterator[Elsewhere]:
    """Who decides, for this test."""
    one = Elsewhere()
    before = arbiter._find
    arbitrate(lambda paths: one)
    yield one
    arbitrate(before)


@pytest.mark.parametrize(
    ("mark", "ours"),
    [
        *((mark, True) for mark in ("collected", "custody.001", "custody.001.end")),
        *(
            (mark, False)
            for mark in ("moved", "held.001", "claim.001", "fail.001.lost", "collected.001", "xcustody.001")
        ),
    ],
)
def test_is_ours_when_asked_then_only_collect_and_custody_are(mark: str, ours: bool) -> None:
    assert is_ours(mark) is ours


def test_win_when_it_is_decided_elsewhere_then_nothing_is_made_here(tmp_path: Path, elsewhere: Elsewhere) -> None:
    batch = make_batch(tmp_path, 2)
    client = Session.begin(batch.paths, "client")
    assert client.win(0, "held.001", "symlink")
    assert win_many(client, [(1, "held.001")], "symlink") == [True]
    hold_batch(client, "symlink")
    assert elsewhere.asked == [(0, "held.001"), (1, "held.001"), "held.001", "steered.001"]
    assert os.listdir(batch.paths.shard(0)) == []
    assert os.listdir(batch.paths.names) == ["000"]


def test_win_when_it_concerns_this_side_alone_then_it_is_made_here(tmp_path: Path, elsewhere: Elsewhere) -> None:
    batch = make_batch(tmp_path, 2)
    with custody_of(batch) as custody:
        assert custody.session.win(0, "collected", "symlink")
    assert os.listdir(batch.paths.shard(0)) == ["000000.collected"]
    assert sorted(os.listdir(batch.paths.names)) == ["000", "custody.001", "custody.001.end"]
    assert elsewhere.asked == []


def test_see_news_when_it_is_decided_elsewhere_then_they_are_brought(tmp_path: Path, elsewhere: Elsewhere) -> None:
    see_news(make_batch(tmp_path, 1).paths)
    assert elsewhere.asked == ["news"]


def test_arbiter_of_when_nobody_said_anything_then_this_filesystem_decides(tmp_path: Path) -> None:
    batch = make_batch(tmp_path, 1)
    assert arbiter_of(batch.paths) is None
    see_news(batch.paths)
    give_notice(Session.begin(batch.paths, "client"), "symlink")
    assert sorted(os.listdir(batch.paths.names)) == ["000", "steered.001"]
