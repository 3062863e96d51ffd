"""A stage that somebody removed, or parts of it: nothing begins it anew, and it is known to be gone."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable

import pytest

from crh_batch.engines.sending import send, write_script
from crh_batch.errors import HostError, StageGone
from crh_batch.ledger.submissions import read_submissions, record_intent
from crh_batch.mirror.gone import check_whole
from crh_batch.mirror.host import StagedHost
from crh_batch.mirror.refresh import refresh
from crh_batch.schedulers.known import SCHEDULERS
from unit.mirror.staged import Staged

Make = Callable[..., Staged]


def test_send_when_the_stage_is_gone_then_no_half_of_one_is_made_and_it_counts_as_refused(stage_batch: Make) -> None:
    staged = stage_batch(2)
    stage, paths = staged.stages[0], staged.batch.paths
    shutil.rmtree(stage.top)
    submission = record_intent(paths, "slurm", 0, 1, host=stage.host, stage=1)
    write_script(staged.batch, submission, "#!/bin/sh\n")
    with pytest.raises(StageGone):
        send(staged.batch, submission, SCHEDULERS["slurm"], StagedHost(stage, staged.far[0]))
    assert not os.path.exists(stage.top)
    (known,) = read_submissions(paths)
    assert "any more" in known.refused


def test_refresh_when_only_some_directories_were_left_then_it_is_gone(stage_batch: Make) -> None:
    staged = stage_batch(2)
    stage = staged.stages[0]
    shutil.rmtree(stage.top)
    os.makedirs(os.path.join(stage.there.directory, "logs"))
    (error,) = refresh(staged.batch)
    assert isinstance(error, StageGone)


@pytest.mark.parametrize("name", ["batch.json", "items.jsonl", "pilot.pyz"])
def test_check_when_a_file_was_removed_then_no_pilot_is_started_there(stage_batch: Make, name: str) -> None:
    staged = stage_batch(2)
    stage, far = staged.stages[0], staged.far[0]
    check_whole(stage, far)
    os.unlink(os.path.join(stage.there.directory, name))
    with pytest.raises(HostError, match=f"{name}: isn't there any more"):
        check_whole(stage, far)
    assert refresh(staged.batch) == [], "what is there can still be fetched"
