"""Giving tomodirs up and taking them up again, by names alone."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from crh_batch.engines.steer import cancel, retry
from crh_batch.errors import Busy, SchedulerError
from crh_batch.ledger.batch import Batch
from crh_batch.ledger.custody import custody_of
from crh_batch.ledger.identity import this_process
from crh_batch.ledger.names import list_shard, states
from crh_batch.ledger.registration import read_registration, register
from crh_batch.ledger.session import read_events
from crh_batch.ledger.submissions import record_intent, record_submitted
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
    return [state.name.value for _, state in states(batch.paths, batch.items.ids, batch.settings.policy)]


def registered(batch: Batch) -> list[int]:
    root = batch.paths.root
    return [number for number in range(6) if read_registration(os.path.join(root, f"td{number}")) is not None]


def test_cancel_when_the_whole_batch_is_meant_then_what_is_not_finished_is_given_up_and_free(batch: Batch) -> None:
    assert cancel(batch, HOST, None) == 3
    assert state_names(batch) == ["failed", "failed", "failed", "done", "failed", "collected"]
    assert registered(batch) == [3], "a finished result is still to be collected"


def test_cancel_when_some_are_meant_then_only_they(batch: Batch) -> None:
    assert cancel(batch, HOST, frozenset({0, 3})) == 1
    assert state_names(batch) == ["failed", "running", "held", "done", "failed", "collected"]
    assert registered(batch) == [1, 2, 3, 4]


def test_cancel_when_a_tomodir_is_ready_then_no_pilot_can_get_it_any_more(batch: Batch) -> None:
    cancel(batch, HOST, frozenset({0}))
    assert begin(batch).win(0, "claim.001", "symlink") is False
    names = sorted(name for name in list_shard(batch.paths, 0) if name.startswith("000000"))
    assert names == ["000000.claim.001", "000000.fail.001.cancelled"]


def test_cancel_when_a_tomodir_runs_then_its_attempt_is_failed_for_its_pilot_to_notice(batch: Batch) -> None:
    cancel(batch, HOST, frozenset({1}))
    assert os.path.lexists(batch.paths.name(1, "fail.001.cancelled"))


def test_cancel_when_done_then_the_events_tell_it(batch: Batch) -> None:
    cancel(batch, HOST, frozenset({0}))
    token = os.path.basename(os.readlink(batch.paths.name(0, "fail.001.cancelled")))[: -len(".crh")]
    (event,) = read_events(batch.paths, token)
    assert (event["event"], event["id"], event["failure"]) == ("fail", 0, "cancelled")


def test_cancel_when_the_jobs_cannot_be_cancelled_then_nothing_is_given_up(batch: Batch) -> None:
    record_submitted(batch.paths, record_intent(batch.paths, "slurm", 1, 3), "4711")
    before = state_names(batch)
    with pytest.raises(SchedulerError):
        cancel(batch, ToldHost(squeue=SQUEUE_SILENT, scancel=said("", "scancel: error: no controller", 1)), None)
    assert state_names(batch) == before
    assert registered(batch) == [0, 1, 2, 3, 4]


def test_cancel_when_another_client_is_at_work_then_busy(batch: Batch) -> None:
    with custody_of(batch), pytest.raises(Busy):
        cancel(batch, HOST, frozenset({0}))
    assert state_names(batch)[0] == "ready"


def test_retry_when_tomodirs_have_failed_then_they_are_ready_again(batch: Batch) -> None:
    assert retry(batch, None) == (1, [])
    assert state_names(batch) == ["ready", "running", "held", "done", "ready", "collected"]
    assert retry(batch, None) == (0, []), "nothing has failed any more"


def test_retry_when_some_are_meant_then_only_they(batch: Batch) -> None:
    assert retry(batch, frozenset({0, 1})) == (0, [])
    assert state_names(batch)[4] == "failed"


def test_retry_when_it_was_cancelled_then_it_is_registered_again(batch: Batch) -> None:
    cancel(batch, HOST, frozenset({0}))
    assert 0 not in registered(batch)
    assert retry(batch, frozenset({0})) == (1, [])
    found = read_registration(os.path.join(batch.paths.root, "td0"))
    assert found is not None and (found.batch_id, found.item_id) == (batch.batch_id, 0)
    assert state_names(batch)[0] == "ready"


def test_retry_when_another_batch_has_it_by_now_then_it_is_left_to_that(batch: Batch) -> None:
    tomodir = os.path.join(batch.paths.root, "td4")
    os.unlink(f"{tomodir}.crh")
    other = make_batch(Path(batch.paths.root), 1)
    register(tomodir, other.paths, 0, ELSEWHERE, "inv")
    again, left = retry(batch, None)
    assert again == 0
    ((path, why),) = left
    assert path == "td4" and other.batch_id in why
    assert state_names(batch)[4] == "failed"


def test_retry_when_the_tomodir_is_gone_then_it_says_so(batch: Batch) -> None:
    shutil.rmtree(os.path.join(batch.paths.root, "td4"))
    assert retry(batch, None) == (0, [("td4", "the tomodir is gone")])
