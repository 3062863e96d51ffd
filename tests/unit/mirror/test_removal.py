"""Removing a batch removes its stages first; verify takes a mirror for what it is."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from crh_batch.errors import HostError
from crh_batch.hosts.this_machine import ThisMachine
from crh_batch.ledger.session import Session
from crh_batch.mirror.refresh import refresh
from crh_batch.mirror.removal import remove_stages
from crh_batch.verify.finding import Kind
from crh_batch.verify.in_directory import files_of
from crh_batch.verify.in_names import names_of
from crh_batch.verify.look import look_at
from crh_batch.verify.prune import Wanted, judge, remove
from unit.ledger.making import finish
from unit.mirror.staged import Staged

Make = Callable[..., Staged]
WANTED = Wanted(0.0, False, False, 2e9)


def test_remove_stages_when_all_are_there_then_none_is_left(stage_batch: Make) -> None:
    staged = stage_batch(2, parts=2)
    for end in ("", ".1234.part"):
        Path(f"{staged.stages[1].top}.tar.gz{end}").touch()
    other = Path(staged.stages[1].top).with_name("other.tar.gz")
    other.touch()
    remove_stages(staged.batch)
    assert not any(os.path.lexists(stage.top) for stage in staged.stages)
    assert os.listdir(other.parent) == [other.name]
    assert os.path.isdir(staged.batch.paths.directory)
    # What is gone is none to remove.
    remove_stages(staged.batch)


def test_remove_stages_when_one_machine_is_down_then_nothing_is_removed(stage_batch: Make) -> None:
    staged = stage_batch(2, parts=2)
    staged.far[1].is_down = True
    with pytest.raises(HostError):
        remove_stages(staged.batch)
    assert all(os.path.isdir(stage.top) for stage in staged.stages)


def test_remove_stages_when_it_is_no_stage_then_it_is_left(stage_batch: Make) -> None:
    staged = stage_batch(2)
    os.unlink(os.path.join(staged.stages[0].top, ".crh-batch-stage"))
    with pytest.raises(HostError, match="crh-batch-stage"):
        remove_stages(staged.batch)
    assert os.path.isdir(staged.there[0].paths.names)


def collected(staged: Staged) -> None:
    """All is finished there, and given up here: nothing of it is needed."""
    for number, there in enumerate(staged.there):
        finish(there, number, {"inv/rho.mag": b"1"})
    refresh(staged.batch)
    client = Session.begin(staged.batch.paths, "client")
    assert all(client.win(number, "moved", "symlink") for number in staged.batch.items.ids)


def test_prune_when_nothing_of_a_batch_is_needed_then_it_goes_on_both_sides(stage_batch: Make) -> None:
    staged = stage_batch(2, parts=2)
    collected(staged)
    judged = judge(staged.batch.paths.directory, ThisMachine(), WANTED)
    assert judged.reasons == []
    assert remove(judged, ThisMachine(), WANTED).reasons == []
    assert not any(os.path.lexists(stage.top) for stage in staged.stages)
    assert not os.path.lexists(staged.batch.paths.directory)


def test_prune_when_a_machine_is_down_then_the_batch_is_kept(stage_batch: Make) -> None:
    staged = stage_batch(2, parts=2)
    collected(staged)
    staged.far[0].close()
    staged.far[0].is_down = True
    judged = judge(staged.batch.paths.directory, ThisMachine(), WANTED)
    assert len(judged.reasons) == 1 and judged.reasons[0].startswith("far1")
    assert remove(judged, ThisMachine(), WANTED).reasons != []
    assert all(os.path.isdir(stage.top) for stage in staged.stages)


def test_prune_when_a_stage_is_gone_then_the_batch_goes(stage_batch: Make) -> None:
    staged = stage_batch(2)
    collected(staged)
    shutil.rmtree(staged.stages[0].top)
    judged = judge(staged.batch.paths.directory, ThisMachine(), WANTED)
    assert remove(judged, ThisMachine(), WANTED).reasons == []
    assert not os.path.lexists(staged.batch.paths.directory)


def test_names_when_packs_are_not_fetched_yet_then_nothing_is_odd(stage_batch: Make) -> None:
    staged = stage_batch(3)
    finish(staged.there[0], 1, {"inv/rho.mag": b"1" * 1000})
    assert refresh(staged.batch) == []
    look = look_at(staged.batch)
    assert list(names_of(look, deep=True)) == []
    assert Kind.FOREIGN not in {one.kind for one in files_of(staged.batch)}
    # After they were fetched it would be.
    look = look_at(staged.batch, has_packs=True)
    assert [one.kind for one in names_of(look, deep=True)] == [Kind.PACK_MISSING]
