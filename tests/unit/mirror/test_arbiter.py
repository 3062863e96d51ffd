"""Names of a batch with stages are decided about in the stages, and stand here afterwards."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from crh_batch.engines.steer import cancel, hold, release
from crh_batch.engines.target import Target
from crh_batch.errors import HostError, StageGone
from crh_batch.hosts.this_machine import ThisMachine
from crh_batch.ledger import arbiter
from crh_batch.ledger.arbiter import arbitrate
from crh_batch.ledger.custody import custody_of
from crh_batch.ledger.identity import Verdict
from crh_batch.ledger.lost import open_claims, recover_lost
from crh_batch.ledger.names import StateName, states
from crh_batch.ledger.session import Session, holder_of
from crh_batch.ledger.steering import batch_hold, hold_batch, win_many
from crh_batch.mirror import making, up
from crh_batch.mirror.arbiter import StageArbiter, find_arbiter
from crh_batch.mirror.down import bring_down
from crh_batch.mirror.inputs import archive_path
from crh_batch.mirror.owed import bring_owed
from crh_batch.mirror.refresh import refresh
from crh_batch.mirror.up import bring_up
from unit.ledger.making import begin, claim, finish, make_batch
from unit.mirror.staged import Staged, names_of, sessions_of

Make = Callable[..., Staged]


@pytest.fixture(autouse=True)
def arbitrated() -> Iterator[None]:
    """As the command line does it."""
    before = arbiter._find
    arbitrate(find_arbiter)
    yield
    arbitrate(before)


def client_of(staged: Staged) -> Session:
    return Session.begin(staged.batch.paths, "client")


def state_of(staged: Staged, number: int) -> StateName:
    return dict(states(staged.batch.paths, [number], staged.batch.settings))[number].name


def test_find_arbiter_when_the_batch_has_no_stages_then_none(tmp_path: Path) -> None:
    assert find_arbiter(make_batch(tmp_path, 1).paths) is None


def test_win_when_nobody_has_it_then_it_is_ours_on_both_sides_and_the_session_is_there(stage_batch: Make) -> None:
    staged = stage_batch(3)
    client = client_of(staged)
    client.append("held", id=1)
    assert client.win(1, "held.001", "symlink")
    assert (
        names_of(staged.batch)
        == names_of(staged.there[0])
        == {"000/000001.held.001": f"../../sessions/{client.token}.crh"}
    )
    assert sessions_of(staged.there[0]) == sessions_of(staged.batch)


def test_win_when_a_pilot_was_first_then_it_is_not_ours_here_either(stage_batch: Make) -> None:
    staged = stage_batch(3)
    pilot = begin(staged.there[0])
    claim(staged.there[0], pilot, 1)
    client = client_of(staged)
    assert win_many(client, [(0, "claim.001"), (1, "claim.001")], "symlink") == [True, False]
    assert list(names_of(staged.batch)) == ["000/000000.claim.001"]
    assert refresh(staged.batch) == []
    assert holder_of(staged.batch.paths.name(1, "claim.001")) == pilot.token


def test_win_when_there_are_many_then_few_are_asked_for_at_a_time(
    stage_batch: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(making, "AT_ONCE", 7)
    staged = stage_batch(20)
    client = client_of(staged)
    assert win_many(client, [(number, "held.001") for number in range(20)], "symlink") == [True] * 20
    assert names_of(staged.batch) == names_of(staged.there[0])
    assert len(names_of(staged.batch)) == 20


def test_win_when_there_are_several_stages_then_each_tomodir_is_asked_about_where_it_is(stage_batch: Make) -> None:
    staged = stage_batch(5, parts=2)
    client = client_of(staged)
    assert win_many(client, [(number, "held.001") for number in range(5)], "symlink") == [True] * 5
    assert [sorted(names_of(one)) for one in staged.there] == [
        ["000/000000.held.001", "000/000002.held.001", "000/000004.held.001"],
        ["000/000001.held.001", "000/000003.held.001"],
    ]
    assert len(names_of(staged.batch)) == 5


def test_win_when_one_of_two_machines_is_down_then_an_error_and_the_others_names_are_made(stage_batch: Make) -> None:
    staged = stage_batch(4, parts=2)
    staged.far[0].is_down = True
    with pytest.raises(HostError):
        win_many(client_of(staged), [(number, "held.001") for number in range(4)], "symlink")
    assert sorted(names_of(staged.batch)) == ["000/000001.held.001", "000/000003.held.001"]


def test_win_when_the_line_breaks_after_it_was_made_then_it_is_ours_when_asked_again(stage_batch: Make) -> None:
    staged = stage_batch(3)
    client = client_of(staged)
    assert client.win(0, "held.001", "symlink")
    went = staged.far[0].went
    assert client.win(1, "held.001", "symlink")
    # One byte before the answer's end: it was made there, and nobody here knows.
    staged.far[0].break_after(staged.far[0].went - went - 1)
    assert client.win(2, "held.001", "symlink")
    assert staged.far[0].lines == 2
    assert names_of(staged.batch) == names_of(staged.there[0])


def test_collected_and_custody_when_the_machine_is_down_then_they_are_decided_here(stage_batch: Make) -> None:
    staged = stage_batch(3)
    staged.far[0].is_down = True
    with custody_of(staged.batch) as custody:
        assert custody.session.win(0, "collected", "symlink")
        assert win_many(custody.session, [(1, "collected")], "symlink") == [True]
    assert names_of(staged.there[0]) == {}


def test_hold_when_several_stages_then_it_stands_in_all(stage_batch: Make) -> None:
    staged = stage_batch(4, parts=2)
    assert hold(Target(staged.batch)) == 4
    assert all(batch_hold(one.paths).is_held for one in [staged.batch, *staged.there])
    assert refresh(staged.batch) == []
    assert release(Target(staged.batch)) == 4
    assert not any(batch_hold(one.paths).is_held for one in [staged.batch, *staged.there])


def test_hold_when_a_machine_was_down_then_the_batch_is_held_only_after_the_next_one(stage_batch: Make) -> None:
    staged = stage_batch(4, parts=2)
    staged.far[1].is_down = True
    with pytest.raises(HostError):
        hold(Target(staged.batch))
    assert [error.host for error in refresh(staged.batch)] == ["far2"]
    assert batch_hold(staged.there[0].paths).is_held and not batch_hold(staged.batch.paths).is_held
    staged.far[1].is_down = False
    assert refresh(staged.batch) == []
    assert not batch_hold(staged.batch.paths).is_held
    hold(Target(staged.batch))
    assert refresh(staged.batch) == []
    assert all(batch_hold(one.paths).is_held for one in [staged.batch, *staged.there])


def test_hold_when_two_clients_made_it_in_different_stages_then_the_batch_is_held(stage_batch: Make) -> None:
    staged = stage_batch(4, parts=2)
    for there in staged.there:
        hold_batch(Session.begin(there.paths, "client"), "symlink")
    assert refresh(staged.batch) == []
    assert batch_hold(staged.batch.paths).is_held


def test_cancel_when_nothing_has_arrived_then_it_works_offline_and_reaches_the_stage_later(stage_batch: Make) -> None:
    staged = stage_batch(3, arrived=False)
    staged.far[0].is_down = True
    hold(Target(staged.batch))
    assert cancel(Target(staged.batch, frozenset({1})), ThisMachine()) == 1
    assert state_of(staged, 1) is StateName.FAILED
    assert refresh(staged.batch) == []
    assert names_of(staged.there[0]) == {}
    staged.far[0].is_down = False
    bring_owed(staged.stages[0], staged.far[0])
    assert names_of(staged.there[0]) == names_of(staged.batch)
    assert set(sessions_of(staged.there[0])) <= set(sessions_of(staged.batch))


def test_cancel_when_the_stage_is_gone_then_it_works_and_says_so(stage_batch: Make) -> None:
    staged = stage_batch(3)
    claim(staged.there[0], begin(staged.there[0]), 0)
    assert refresh(staged.batch) == []
    shutil.rmtree(staged.stages[0].top)
    (error,) = refresh(staged.batch)
    assert isinstance(error, StageGone) and staged.stages[0].top in error.message
    hold(Target(staged.batch))
    assert cancel(Target(staged.batch, frozenset({0, 1})), ThisMachine()) == 2
    assert state_of(staged, 0) is state_of(staged, 1) is StateName.FAILED


def test_cancel_when_the_whole_filesystem_is_missing_there_then_nobody_can_say(stage_batch: Make) -> None:
    staged = stage_batch(3)
    os.rename(os.path.dirname(staged.stages[0].top), os.path.dirname(staged.stages[0].top) + "-unmounted")
    with pytest.raises(HostError) as caught:
        cancel(Target(staged.batch, frozenset({0, 1})), ThisMachine())
    assert not isinstance(caught.value, StageGone)
    assert names_of(staged.batch) == {}


def test_bring_down_when_names_were_made_here_alone_then_they_are_made_there(stage_batch: Make) -> None:
    staged = stage_batch(3, arrived=False)
    client = client_of(staged)
    hold_batch(client, "symlink")
    assert client.win(1, "held.001", "symlink")
    Path(staged.stages[0].arrived).touch()
    bring_down(staged.stages[0], staged.far[0])
    assert names_of(staged.there[0]) == names_of(staged.batch)


def test_bring_down_when_a_pilots_name_is_missing_there_then_it_is_not_made(stage_batch: Make) -> None:
    staged = stage_batch(3)
    pilot = begin(staged.there[0])
    claim(staged.there[0], pilot, 1)
    bring_down(staged.stages[0], staged.far[0])
    os.unlink(staged.there[0].paths.name(1, "claim.001"))
    staged.far[0].close()
    from crh_batch.mirror import down

    down._complete.clear()
    bring_down(staged.stages[0], staged.far[0])
    assert names_of(staged.there[0]) == {}


def test_cancel_when_a_pilot_finished_meanwhile_then_the_result_stays_a_result(stage_batch: Make) -> None:
    staged = stage_batch(3)
    finish(staged.there[0], 1, {"inv/rho.mag": b"1"})
    # The mirror doesn't know yet.
    assert state_of(staged, 1) is StateName.READY
    assert cancel(Target(staged.batch, frozenset({0, 1})), ThisMachine()) == 1
    assert state_of(staged, 1) is StateName.DONE
    assert names_of(staged.there[0]).keys() == names_of(staged.batch).keys()


def test_recover_lost_when_there_are_many_then_few_questions_are_asked(
    stage_batch: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    staged = stage_batch(50)
    pilot = begin(staged.there[0])
    for number in range(50):
        claim(staged.there[0], pilot, number)
    refresh(staged.batch)
    asked: list[str] = []
    ask = staged.far[0].ask

    def noted(do: str, **what: Any) -> dict[str, Any]:
        asked.append(do)
        return ask(do, **what)

    monkeypatch.setattr(staged.far[0], "ask", noted)
    found = recover_lost(staged.batch, open_claims(staged.batch), lambda header: Verdict.DEAD, client_of(staged))
    assert found.lost == 50
    assert asked == ["win"]
    assert names_of(staged.there[0]) == names_of(staged.batch)
    assert len(names_of(staged.batch)) == 100


@pytest.mark.parametrize("moment", ["before it is said", "after it is said"])
def test_hold_when_the_stage_arrives_at_the_same_time_then_it_is_held_there(
    stage_batch: Make, monkeypatch: pytest.MonkeyPatch, moment: str
) -> None:
    """Who holds has seen that it hasn't arrived; who brings it has seen no hold."""
    staged = stage_batch(3, arrived=False)
    (stage,) = staged.stages
    Path(stage.there.directory, "arrived").touch()
    Path(archive_path(stage)).touch()
    real: dict[str, Any] = {"bring_owed": bring_owed, "win_here": StageArbiter._win_here}

    def hold_after(*arguments: Any) -> None:
        real["bring_owed"](*arguments)
        monkeypatch.setattr(up, "bring_owed", real["bring_owed"])
        hold(Target(staged.batch, frozenset({1})))

    def arrive_first(mine: StageArbiter, session: Session, marks: Any) -> Any:
        if marks and not stage.has_arrived:
            bring_up(stage, staged.far[0])
        return real["win_here"](mine, session, marks)

    if moment == "before it is said":
        monkeypatch.setattr(up, "bring_owed", hold_after)
        bring_up(stage, staged.far[0])
    else:
        monkeypatch.setattr(StageArbiter, "_win_here", arrive_first)
        hold(Target(staged.batch, frozenset({1})))
    assert stage.has_arrived
    assert "000/000001.held.001" in names_of(staged.there[0])
    assert names_of(staged.there[0]) == names_of(staged.batch)
