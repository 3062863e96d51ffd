"""Custody: one client at a time, and a dead one blocks nobody."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from crh_batch.errors import Busy
from crh_batch.ledger.batch import Batch
from crh_batch.ledger.custody import Custody, custody_of
from crh_batch.ledger.identity import Verdict, Who
from crh_batch.ledger.session import holder_of, list_sessions
from unit.ledger.making import ELSEWHERE, dead_process, make_batch


@pytest.fixture
def batch(tmp_path: Path) -> Batch:
    return make_batch(tmp_path, 1)


def held_by(batch: Batch, who: Who, number: int = 1) -> str:
    """Custody that another client took and never ended."""
    token = f"client-of-pid-{who.pid}-{number}"
    line = {"schema": 1, "session": token, "kind": "client", "who": who.to_json()}
    Path(batch.paths.session(token)).write_text(json.dumps(line) + "\n")
    os.symlink(f"../sessions/{token}.crh", os.path.join(batch.paths.names, f"custody.{number:03d}"))
    return token


def custody_names(batch: Batch) -> list[str]:
    return sorted(name for name in os.listdir(batch.paths.names) if name.startswith("custody"))


def test_custody_when_nobody_has_it_then_it_is_taken_and_given_back(batch: Batch) -> None:
    with custody_of(batch) as custody:
        assert custody_names(batch) == ["custody.001"]
        assert holder_of(batch.paths.batch_name("custody.001")) == custody.session.token
        assert custody.follows_a_death is False
    assert custody_names(batch) == ["custody.001", "custody.001.end"]
    with custody_of(batch) as custody:
        assert custody_names(batch) == ["custody.001", "custody.001.end", "custody.002"]
        assert custody.follows_a_death is False


def test_custody_when_the_work_in_it_fails_then_it_is_given_back(batch: Batch) -> None:
    with pytest.raises(ZeroDivisionError), custody_of(batch):
        raise ZeroDivisionError
    assert custody_names(batch) == ["custody.001", "custody.001.end"]


def test_custody_when_a_living_client_has_it_then_busy_says_who(batch: Batch) -> None:
    with custody_of(batch), pytest.raises(Busy) as caught, custody_of(batch):
        pytest.fail("two have it")
    assert f"process {os.getpid()}" in caught.value.holder
    assert caught.value.holder in caught.value.message
    assert caught.value.path == batch.paths.directory
    assert custody_names(batch) == ["custody.001", "custody.001.end"]


def test_custody_when_its_holder_is_dead_then_the_next_number_follows(batch: Batch) -> None:
    held_by(batch, dead_process())
    with custody_of(batch) as custody:
        assert custody.follows_a_death is True
        assert custody_names(batch) == ["custody.001", "custody.002"], "the dead one's name stays"


def test_custody_when_nothing_is_known_of_its_holder_then_busy(batch: Batch) -> None:
    held_by(batch, ELSEWHERE)
    with pytest.raises(Busy, match="somebody on elsewhere") as caught, custody_of(batch):
        pytest.fail("its holder may live")
    assert "--force" in caught.value.next_step
    assert len(list_sessions(batch.paths)) == 1, "nothing was begun"


def test_custody_when_it_is_forced_then_the_next_number_follows(batch: Batch) -> None:
    held_by(batch, ELSEWHERE)
    with custody_of(batch, force=True):
        assert custody_names(batch) == ["custody.001", "custody.002"]


def test_custody_when_its_holders_session_is_missing_then_busy_unless_forced(batch: Batch) -> None:
    os.symlink("../sessions/lost.crh", os.path.join(batch.paths.names, "custody.007"))
    with pytest.raises(Busy, match="can't be identified"), custody_of(batch):
        pytest.fail("its holder may live")
    with custody_of(batch, force=True):
        assert "custody.008" in custody_names(batch)


def test_custody_when_a_judge_is_given_then_it_decides(batch: Batch) -> None:
    held_by(batch, ELSEWHERE)
    asked: list[str] = []

    def judge(header: object) -> Verdict:
        asked.append(str(getattr(header, "token", "")))
        return Verdict.DEAD

    with Custody(batch.paths, "symlink", judge=judge):
        pass
    assert asked == ["client-of-pid-4711-1"]


def test_custody_when_two_follow_a_dead_holder_then_one_has_it(batch: Batch, monkeypatch: pytest.MonkeyPatch) -> None:
    """RACE: both have seen that 001 is dead; the other one makes 002 first."""
    held_by(batch, dead_process())
    real = Custody._check_holder

    def check_holder(custody: Custody, number: int) -> None:
        real(custody, number)
        if number == 1:
            held_by(batch, ELSEWHERE, 2)

    monkeypatch.setattr(Custody, "_check_holder", check_holder)
    with pytest.raises(Busy, match="somebody on elsewhere"), custody_of(batch):
        pytest.fail("two have it")
    assert custody_names(batch) == ["custody.001", "custody.002"]


def test_custody_when_a_listing_lacks_the_beginning_of_an_ended_one_then_it_counts_as_ended(batch: Batch) -> None:
    """Names of another machine arrive in any order."""
    os.symlink("../sessions/other.crh", os.path.join(batch.paths.names, "custody.004.end"))
    with custody_of(batch):
        assert custody_names(batch) == ["custody.004.end", "custody.005"]


def test_custody_when_names_are_files_then_it_works_too(tmp_path: Path) -> None:
    batch = make_batch(tmp_path, 1, links="file")
    with custody_of(batch) as custody:
        assert not Path(batch.paths.batch_name("custody.001")).is_symlink()
        assert holder_of(batch.paths.batch_name("custody.001")) == custody.session.token
        with pytest.raises(Busy), custody_of(batch):
            pytest.fail("two have it")
