"""Lost claims: only of the provably dead, once each."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest

from crh_batch.ledger.batch import Batch
from crh_batch.ledger.custody import judge_here
from crh_batch.ledger.identity import Verdict
from crh_batch.ledger.lost import OpenClaim, Recovery, open_claims, recover_lost
from crh_batch.ledger.names import list_shard
from crh_batch.ledger.session import Session, SessionHeader, holder_of, read_events
from unit.ledger.making import ELSEWHERE, begin, claim, dead_process, finish, make_batch, make_names


@pytest.fixture
def batch(tmp_path: Path) -> Batch:
    return make_batch(tmp_path, 6)


@pytest.fixture
def client(batch: Batch) -> Session:
    return Session.begin(batch.paths, "client")


def names(batch: Batch) -> list[str]:
    return sorted(list_shard(batch.paths, 0))


def recover(batch: Batch, client: Session, verdict: Verdict, *, force: bool = False) -> Recovery:
    def judge(header: SessionHeader) -> Verdict:
        return verdict

    return recover_lost(batch, open_claims(batch), judge, client, force=force)


def test_open_claims_when_some_run_then_only_they_with_their_sessions(batch: Batch) -> None:
    pilot = begin(batch)
    claim(batch, pilot, 0)
    claim(batch, pilot, 1)
    finish(batch, 1, {"exe/crh.json": b"{}"}, session=pilot)
    make_names(batch, "2.claim.001", "2.fail.001.crash", "3.claim.001", token="vanished")
    found = open_claims(batch)
    assert [(one.item_id, one.attempt, one.token) for one in found] == [(0, 1, pilot.token), (3, 1, "vanished")]
    assert found[0].header == pilot.header
    assert found[1].header is None


def test_recover_lost_when_the_session_is_dead_then_its_claims_are_lost(batch: Batch, client: Session) -> None:
    pilot = begin(batch, who=dead_process())
    claim(batch, pilot, 0)
    claim(batch, pilot, 4)
    recovery = recover_lost(batch, open_claims(batch), judge_here, client)
    assert (recovery.lost, recovery.alive, recovery.unknown) == (2, 0, ())
    assert "000000.fail.001.lost" in names(batch) and "000004.fail.001.lost" in names(batch)
    assert holder_of(batch.paths.name(0, "fail.001.lost")) == client.token
    assert [(event["id"], event["session"]) for event in read_events(batch.paths, client.token)] == [
        (0, pilot.token),
        (4, pilot.token),
    ]
    assert open_claims(batch) == []


def test_recover_lost_when_the_session_lives_then_nothing_is_taken(batch: Batch, client: Session) -> None:
    claim(batch, begin(batch), 0)
    recovery = recover_lost(batch, open_claims(batch), judge_here, client)
    assert (recovery.lost, recovery.alive, recovery.unknown) == (0, 1, ())
    assert names(batch) == ["000000.claim.001"]


def test_recover_lost_when_nothing_is_known_then_nothing_is_taken(batch: Batch, client: Session) -> None:
    claim(batch, begin(batch, who=ELSEWHERE), 0)
    recovery = recover_lost(batch, open_claims(batch), judge_here, client)
    assert (recovery.lost, recovery.alive) == (0, 0)
    assert [one.item_id for one in recovery.unknown] == [0]
    assert names(batch) == ["000000.claim.001"]


def test_recover_lost_when_the_session_file_is_missing_then_it_is_unknown_whatever_the_judge_says(
    batch: Batch, client: Session
) -> None:
    make_names(batch, "0.claim.001", token="vanished")
    recovery = recover(batch, client, Verdict.DEAD)
    assert (recovery.lost, len(recovery.unknown)) == (0, 1)


def test_recover_lost_when_forced_then_unknown_counts_as_dead_and_alive_does_not(batch: Batch, client: Session) -> None:
    make_names(batch, "0.claim.001", token="vanished")
    assert recover(batch, client, Verdict.UNKNOWN, force=True).lost == 1
    claim(batch, begin(batch), 1)
    assert recover(batch, client, Verdict.ALIVE, force=True).lost == 0


def test_recover_lost_when_a_session_has_many_claims_then_it_is_judged_once(batch: Batch, client: Session) -> None:
    pilot = begin(batch)
    for number in range(5):
        claim(batch, pilot, number)
    asked: list[str] = []

    def judge(header: SessionHeader) -> Verdict:
        asked.append(header.token)
        return Verdict.DEAD

    assert recover_lost(batch, open_claims(batch), judge, client).lost == 5
    assert asked == [pilot.token]


def test_recover_lost_when_two_do_it_then_one_name_each(batch: Batch, client: Session) -> None:
    """RACE: both listed before either named."""
    claim(batch, begin(batch, who=dead_process()), 0)
    listed: Sequence[OpenClaim] = open_claims(batch)
    other = Session.begin(batch.paths, "client")
    recover_lost(batch, listed, judge_here, client)
    recover_lost(batch, listed, judge_here, other)
    assert names(batch) == ["000000.claim.001", "000000.fail.001.lost"]
    assert holder_of(batch.paths.name(0, "fail.001.lost")) == client.token


@pytest.mark.parametrize(("open_ones", "failure"), [([0], "memory"), ([0, 1], "lost")])
def test_recover_when_the_job_ran_out_of_memory_then_its_only_tomodir_is_to_blame(
    batch: Batch, client: Session, open_ones: list[int], failure: str
) -> None:
    """Of several that ran side by side, nobody knows whose fault it was."""
    pilot = begin(batch, who=ELSEWHERE)
    for item_id in open_ones:
        claim(batch, pilot, item_id)
    other = begin(batch, who=ELSEWHERE)
    claim(batch, other, 5)
    recover_lost(
        batch,
        open_claims(batch),
        lambda header: Verdict.DEAD,
        client,
        ran_out_of_memory=lambda header: header.token == pilot.token,
    )
    assert {name for name in names(batch) if "fail" in name} == {
        "000005.fail.001.lost",
        *(f"{item_id:06d}.fail.001.{failure}" for item_id in open_ones),
    }
