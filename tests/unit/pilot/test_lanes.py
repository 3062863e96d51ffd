"""Slots that look for work, on a batch whose names change meanwhile."""

from __future__ import annotations

from pathlib import Path

import pytest

from crh_batch.ledger.settings import ItemClass
from crh_batch.pilot.idling import Idling
from crh_batch.pilot.lanes import Lane, Lanes
from crh_batch.pilot.room import Room
from unit.ledger.making import make_batch, make_names


@pytest.mark.timeout(30)
def test_claim_when_something_is_released_at_the_last_moment_then_it_is_claimed(tmp_path: Path) -> None:
    """After the listing that found nothing, and before the pilot leaves."""
    batch = make_batch(tmp_path, 1)
    make_names(batch, "0.held.001")
    asked: list[bool] = []

    def has_news() -> bool:
        if not asked:
            make_names(batch, "0.release.001")
        asked.append(not asked)
        return asked[-1]

    lane = Lane(batch, ItemClass(1, 0, 1), 1, lambda candidate, item: True)
    ticket = Lanes([lane], Room(1, 0, ()), Idling(0), has_news).claim(lambda offer: True)
    assert ticket is not None
    assert ticket.offer.item.item_id == 0


@pytest.mark.timeout(30)
def test_claim_when_nothing_is_left_and_there_is_no_news_then_it_ends(tmp_path: Path) -> None:
    batch = make_batch(tmp_path, 1)
    make_names(batch, "0.held.001")
    lane = Lane(batch, ItemClass(1, 0, 1), 1, lambda candidate, item: True)
    assert Lanes([lane], Room(1, 0, ()), Idling(0)).claim(lambda offer: True) is None
