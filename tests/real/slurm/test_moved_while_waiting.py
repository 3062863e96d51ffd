"""A survey that is renamed while its jobs wait in the queue: they end at once, and submit in the new place goes on."""

from __future__ import annotations

from pathlib import Path

import pytest

from clusters.slurm_cluster import SlurmCluster
from conftest import Crh
from crh_batch.demo import write_small_models
from crh_batch.ledger.batch import Batch, batches_of
from crh_batch.ledger.submissions import read_submissions


@pytest.mark.slurm
def test_jobs_that_were_told_the_old_place_end_and_submit_sends_new_ones(
    slurm_env: SlurmCluster, crh: Crh, tmp_path: Path
) -> None:
    survey = tmp_path / "survey"
    write_small_models(survey, 3, data=60, electrodes=16)
    (survey / "crh-batch.toml").write_text('extra_directives = ["#SBATCH --hold"]\n')
    crh("submit", cwd=survey, local=False)
    (waiting,) = read_submissions(Batch(batches_of(str(survey))[0]).paths)
    moved = survey.rename(tmp_path / "elsewhere")
    slurm_env.run(["scontrol", "release", waiting.job_id])
    slurm_env.wait_for_end(waiting.job_id)
    assert not survey.exists()
    (moved / "crh-batch.toml").write_text("")
    crh("submit", "--collect", cwd=moved, local=False)
    assert len(list(moved.glob("*/*/mod/volt.dat"))) == 3
    assert not list(moved.glob("*/*.crh"))
