"""Giving tomodirs up and taking them up again, by names alone."""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Iterable
from pathlib import Path

import pytest

from crh_batch.engines.steer import Retried, cancel, hold, release, retry
from crh_batch.engines.target import Target
from crh_batch.errors import Busy, SchedulerError
from crh_batch.ledger import durable
from crh_batch.ledger.batch import Batch
from crh_batch.ledger.custody import custody_of
from crh_batch.ledger.identity import this_process
from crh_batch.ledger.names import Failure, RetryPolicy, StateName, list_shard, states
from crh_batch.ledger.registration import read_registration, register
from crh_batch.ledger.session import read_events
from crh_batch.ledger.settings import ItemClass
from crh_batch.ledger.submissions import record_intent, record_submitted
from crh_batch.pilot.chooser import Chooser
from unit.engines.told import SQUEUE_SILENT, ToldHost, said
from unit.ledger.making import ELSEWHERE, begin, claim, finish, make_batch, make_names, write_files

HOST = ToldHost()


@pytest.fixture
def batch(tmp_path: Path) -> Batch:
    """One tomodir in each state: 0 ready, 1 running, 2 held, 3 done, 4 failed, 5 collected."""
    made = make_batch(tmp_path, 6)
    for number in range(6):
        write_files(tmp_path / f"td{number}", {"exe/crtomo.cfg": b"cfg\n"})
        if number != 5:
            assert register(str(tmp_path / f"td{number}"), made.paths, number, this_process(), "inv") is None
    pilot = begin(made)
    claim(made, pilot, 1)
    make_names(made, "2.held.001", "4.claim.001", "4.fail.001.input", "5.done", "5.collected")
    finish(made, 3, {"exe/crh.json": b"{}"}, session=pilot)
    return made


def state_names(batch: Batch) -> list[str]:
    return [state.name.value for _, state in states(batch.paths, batch.items.ids, batch.settings)]


def registered(batch: Batch) -> list[int]:
    root = batch.paths.root
    return [number for number in range(6) if read_registration(os.path.join(root, f"td{number}")) is not None]


def test_cancel_when_the_whole_batch_is_meant_then_what_is_not_finished_is_given_up_and_free(batch: Batch) -> None:
    assert cancel(Target(batch), HOST) == 3
    assert state_names(batch) == ["failed", "failed", "failed", "done", "failed", "collected"]
    assert registered(batch) == [3], "a finished result is still to be collected"


def test_cancel_when_some_are_meant_then_only_they(batch: Batch) -> None:
    assert cancel(Target(batch, frozenset({0, 3})), HOST) == 1
    assert state_names(batch) == ["failed", "running", "held", "done", "failed", "collected"]
    assert registered(batch) == [1, 2, 3, 4]


def test_cancel_when_a_tomodir_is_ready_then_no_pilot_can_get_it_any_more(batch: Batch) -> None:
    cancel(Target(batch, frozenset({0})), HOST)
    assert begin(batch).win(0, "claim.001", "symlink") is False
    names = sorted(name for name in list_shard(batch.paths, 0) if name.startswith("000000"))
    assert names == ["000000.claim.001", "000000.fail.001.cancelled"]


def test_cancel_when_a_tomodir_runs_then_its_attempt_is_failed_for_its_pilot_to_notice(batch: Batch) -> None:
    cancel(Target(batch, frozenset({1})), HOST)
    assert os.path.lexists(batch.paths.name(1, "fail.001.cancelled"))


def test_cancel_when_done_then_the_events_tell_it(batch: Batch) -> None:
    cancel(Target(batch, frozenset({0})), HOST)
    token = os.path.basename(os.readlink(batch.paths.name(0, "fail.001.cancelled")))[: -len(".crh")]
    (event,) = read_events(batch.paths, token)
    assert (event["event"], event["id"], event["failure"]) == ("fail", 0, "cancelled")


def test_cancel_when_the_jobs_cannot_be_cancelled_then_nothing_is_given_up(batch: Batch) -> None:
    record_submitted(batch.paths, record_intent(batch.paths, "slurm", 1, 3), "4711")
    before = state_names(batch)
    with pytest.raises(SchedulerError):
        cancel(Target(batch), ToldHost(squeue=SQUEUE_SILENT, scancel=said("", "scancel: error: no controller", 1)))
    assert state_names(batch) == before
    assert registered(batch) == [0, 1, 2, 3, 4]


def test_cancel_when_another_client_is_at_work_then_busy(batch: Batch) -> None:
    with custody_of(batch), pytest.raises(Busy):
        cancel(Target(batch, frozenset({0})), HOST)
    assert state_names(batch)[0] == "ready"


def test_retry_when_tomodirs_have_failed_then_they_are_ready_again(batch: Batch) -> None:
    assert retry(Target(batch)) == Retried(again=1)
    assert state_names(batch) == ["ready", "running", "held", "done", "ready", "collected"]
    assert retry(Target(batch)) == Retried(), "nothing has failed any more"


def test_retry_when_some_are_meant_then_only_they(batch: Batch) -> None:
    assert retry(Target(batch, frozenset({0, 1}))) == Retried()
    assert state_names(batch)[4] == "failed"


def test_retry_when_it_was_cancelled_then_it_is_registered_again(batch: Batch) -> None:
    cancel(Target(batch, frozenset({0})), HOST)
    assert 0 not in registered(batch)
    assert retry(Target(batch, frozenset({0}))) == Retried(again=1)
    found = read_registration(os.path.join(batch.paths.root, "td0"))
    assert found is not None and (found.batch_id, found.item_id) == (batch.batch_id, 0)
    assert state_names(batch)[0] == "ready"


def test_retry_when_another_batch_has_it_by_now_then_it_is_left_to_that(batch: Batch) -> None:
    tomodir = os.path.join(batch.paths.root, "td4")
    os.unlink(f"{tomodir}.crh")
    other = make_batch(Path(batch.paths.root), 1)
    register(tomodir, other.paths, 0, ELSEWHERE, "inv")
    retried = retry(Target(batch))
    assert retried.again == 0
    ((path, why),) = retried.left
    assert path == "td4" and other.batch_id in why
    assert state_names(batch)[4] == "failed"


def test_retry_when_the_tomodir_is_gone_then_it_says_so(batch: Batch) -> None:
    shutil.rmtree(os.path.join(batch.paths.root, "td4"))
    assert retry(Target(batch)) == Retried(left=[("td4", "the tomodir is gone")])


# ---------------------------------------------------------------- hold and release


def ready(batch: Batch) -> list[int]:
    found = states(batch.paths, batch.items.ids, batch.settings)
    return [item_id for item_id, state in found if state.name is StateName.READY]


def test_hold_when_the_whole_batch_is_meant_then_one_name_holds_it(batch: Batch) -> None:
    names = set(list_shard(batch.paths, 0))
    assert hold(Target(batch)) == 2, "one ready, one running; one is held already"
    assert state_names(batch) == ["held", "running", "held", "done", "failed", "collected"]
    assert set(list_shard(batch.paths, 0)) == names
    assert hold(Target(batch)) == 0


def test_hold_when_some_are_meant_then_only_they(batch: Batch) -> None:
    assert hold(Target(batch, frozenset({0, 1, 2, 3, 4}))) == 2
    assert state_names(batch) == ["held", "running", "held", "done", "failed", "collected"]
    make_names(batch, "1.fail.001.crash")
    assert state_names(batch)[1] == "held", "a running one is not begun again"
    assert release(Target(batch, frozenset({0, 1}))) == 2
    assert state_names(batch) == ["ready", "ready", "held", "done", "failed", "collected"]


def test_hold_when_some_are_meant_then_their_names_are_durable_before_pilots_are_told(
    batch: Batch, monkeypatch: pytest.MonkeyPatch
) -> None:
    order: list[str] = []
    symlink, sync_many = durable.calls.symlink, durable.sync_many

    def noted_symlink(target: str, path: str) -> None:
        order.append(os.path.basename(path))
        symlink(target, path)

    def noted_sync_many(files: Iterable[str], directories: Iterable[str]) -> None:
        listed = list(directories)
        order.extend(listed)
        sync_many(files, listed)

    monkeypatch.setattr(durable.calls, "symlink", noted_symlink)
    monkeypatch.setattr(durable, "sync_many", noted_sync_many)
    assert hold(Target(batch, frozenset({0}))) == 1
    assert order == ["000000.held.001", batch.paths.shard(0), "steered.001"]


def test_release_when_the_whole_batch_is_meant_then_also_what_was_held_by_itself(batch: Batch) -> None:
    hold(Target(batch))
    assert release(Target(batch)) == 3
    assert state_names(batch) == ["ready", "running", "ready", "done", "failed", "collected"]
    assert release(Target(batch)) == 0


def test_release_when_a_part_of_a_held_batch_is_meant_then_the_rest_stays_held(batch: Batch) -> None:
    hold(Target(batch))
    assert release(Target(batch, frozenset({0}))) == 1
    assert state_names(batch) == ["ready", "running", "held", "done", "failed", "collected"]
    make_names(batch, "1.fail.001.crash")
    assert state_names(batch)[1] == "held"


def test_hold_and_release_when_repeated_then_the_last_one_counts(batch: Batch) -> None:
    for _ in range(3):
        assert hold(Target(batch, frozenset({0}))) == 1
        assert hold(Target(batch, frozenset({0}))) == 0
        assert release(Target(batch, frozenset({0}))) == 1
        assert release(Target(batch, frozenset({0}))) == 0
    assert ready(batch) == [0]


def test_hold_when_another_client_is_at_work_then_it_holds_all_the_same(batch: Batch) -> None:
    with custody_of(batch):
        assert hold(Target(batch)) == 2
        assert release(Target(batch)) == 3


def test_hold_when_pilots_have_listed_before_then_they_do_not_claim_it(tmp_path: Path) -> None:
    batch = make_batch(tmp_path, 5)
    chooser = Chooser(batch, ItemClass(1, 0, 5))
    first = chooser.next()
    assert first is not None and first.item_id == 0
    make_names(batch, "0.claim.001")
    hold(Target(batch, frozenset({1, 2})))
    second = chooser.next()
    assert second is not None and second.item_id == 3
    make_names(batch, "3.claim.001")
    hold(Target(batch))
    assert chooser.next() is None
    release(Target(batch, frozenset({2})))
    third = chooser.next()
    assert third is not None and third.item_id == 2


def test_cancel_when_held_then_it_is_given_up_and_a_retry_says_that_it_is_still_held(batch: Batch) -> None:
    hold(Target(batch))
    assert cancel(Target(batch, frozenset({0, 2})), HOST) == 2
    assert state_names(batch)[:3] == ["failed", "running", "failed"]
    assert retry(Target(batch, frozenset({0, 2}))) == Retried(again=2, held=2)
    assert state_names(batch)[:3] == ["held", "running", "held"]


def test_retry_when_causes_are_given_then_only_what_failed_by_them(tmp_path: Path) -> None:
    batch = make_batch(tmp_path, 3, policy=RetryPolicy(charged_attempts=1))
    for number, cause in enumerate(("memory", "input", "crash")):
        write_files(tmp_path / f"td{number}", {"exe/crtomo.cfg": b"cfg\n"})
        make_names(batch, f"{number}.claim.001", f"{number}.fail.001.{cause}")
    assert retry(Target(batch), causes=[Failure.MEMORY, Failure.CRASH]).again == 2
    assert ready(batch) == [0, 2]


def test_steering_when_there_are_many_tomodirs_then_it_takes_seconds(tmp_path: Path) -> None:
    """Each is some ten microseconds of names; a listing of a shard for each tomodir would take minutes."""
    batch = make_batch(tmp_path, 20_000)
    half = Target(batch, frozenset(range(0, 20_000, 2)))
    began = time.process_time()
    assert hold(half) == 10_000
    assert release(half) == 10_000
    assert cancel(Target(batch), HOST) == 20_000
    assert len(retry(half).left) == 10_000, "their directories are not there"
    assert time.process_time() - began < 30
