"""A job that is started again knows its former lives as dead, and nobody else's."""

from __future__ import annotations

from pathlib import Path

import pytest

from crh_batch.ledger.batch import Batch
from crh_batch.ledger.names import list_shard
from crh_batch.ledger.session import Job, Session, read_events
from crh_batch.pilot.job import label_of
from crh_batch.pilot.requeue import recover_former_lives
from unit.ledger.making import begin, claim, finish, make_batch


@pytest.fixture
def batch(tmp_path: Path) -> Batch:
    return make_batch(tmp_path, 8)


def life(batch: Batch, restart: int, *, task: str = "3", job_id: str = "12") -> Session:
    job = Job("slurm", job_id, task, restart)
    return begin(batch, label_of(job), job=job)


def failures(batch: Batch) -> list[str]:
    return sorted(name for name in list_shard(batch.paths, 0) if ".fail." in name)


def test_recover_when_the_job_was_requeued_then_its_open_claims_are_lost(batch: Batch) -> None:
    former = life(batch, 0)
    for number in (0, 1, 2):
        claim(batch, former, number)
    finish(batch, 1, {"exe/crh.json": b"{}"}, session=former)
    assert former.win(2, "fail.001.crash", "symlink")
    now = life(batch, 1)
    assert recover_former_lives(batch, now) == 1
    assert failures(batch) == ["000000.fail.001.lost", "000002.fail.001.crash"]
    (event,) = read_events(batch.paths, now.token)
    assert (event["event"], event["id"], event["attempt"], event["session"]) == ("lost", 0, 1, former.token)


def test_recover_when_there_were_several_lives_then_all_of_them(batch: Batch) -> None:
    claim(batch, life(batch, 0), 0)
    claim(batch, life(batch, 1), 1)
    assert recover_former_lives(batch, life(batch, 2)) == 2
    assert failures(batch) == ["000000.fail.001.lost", "000001.fail.001.lost"]


def test_recover_when_others_have_claims_then_they_keep_them(batch: Batch) -> None:
    """Another task, a job whose number begins alike, a later life, and a job without tasks."""
    for number, other in enumerate(
        [
            life(batch, 0, task="4"),
            life(batch, 0, task="33"),
            life(batch, 0, job_id="123"),
            life(batch, 0, job_id="2"),
            life(batch, 0, task=""),
            life(batch, 1),
            life(batch, 10),
        ]
    ):
        claim(batch, other, number)
    assert recover_former_lives(batch, life(batch, 1)) == 0
    assert failures(batch) == []


def test_recover_when_somebody_else_has_the_tomodir_by_now_then_it_is_theirs(batch: Batch) -> None:
    former = life(batch, 0)
    claim(batch, former, 0)
    other = life(batch, 0, task="4")
    assert other.win(0, "fail.001.lost", "symlink")
    claim(batch, other, 0, 2)
    assert recover_former_lives(batch, life(batch, 1)) == 0
    assert failures(batch) == ["000000.fail.001.lost"]


def test_recover_when_it_is_the_first_life_then_nothing_is_looked_at(batch: Batch) -> None:
    claim(batch, life(batch, 0), 0)
    assert recover_former_lives(batch, life(batch, 0)) == 0
    assert failures(batch) == []


def test_recover_when_there_is_no_job_then_nothing(batch: Batch) -> None:
    claim(batch, begin(batch, "node-07-77"), 0)
    assert recover_former_lives(batch, begin(batch, "node-07-78")) == 0


def test_recover_when_sge_restarted_a_job_twice_then_the_second_life_is_former_too(batch: Batch) -> None:
    """SGE says 1 in the second life and in the third."""
    lives = [begin(batch, label_of(job), job=job) for job in (Job("sge", "12", "3", number) for number in (0, 1, 1))]
    for number, former in enumerate(lives[:2]):
        claim(batch, former, number)
    other = begin(batch, "sge-12_4-r1", job=Job("sge", "12", "4", 1))
    claim(batch, other, 2)
    claim(batch, lives[2], 3)
    assert recover_former_lives(batch, lives[2]) == 2
    assert failures(batch) == ["000000.fail.001.lost", "000001.fail.001.lost"]
