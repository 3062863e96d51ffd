"""Array pilots and dask workers on one batch, and the dask scheduler as a job of its own."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from clusters.cluster import Cluster
from conftest import Crh, wait_until
from crh_batch.demo import write_small_models
from crh_batch.ledger.batch import Batch, batches_of
from crh_batch.ledger.session import list_sessions, read_header

TOMODIRS = 8


@pytest.mark.slurm
def test_a_head_job_drives_while_array_pilots_help(
    slurm_env: Cluster, tmp_path: Path, crh: Crh, programs: Path
) -> None:
    survey = tmp_path / "a survey"
    write_small_models(survey, TOMODIRS, data=60, electrodes=16)
    script = tmp_path / "gated-crmod"
    script.write_text(f"#!/bin/sh\nwhile [ ! -e {tmp_path}/gate ]; do sleep 0.05; done\nexec {programs}/CRMod_stable\n")
    script.chmod(0o755)
    (survey / "crh-batch.toml").write_text(f'crmod = "{script}"\n')
    said = crh("submit", "--engine", "dask", "--head-job", "--max", "1", cwd=survey, local=False).stderr
    assert "the dask scheduler, Slurm array" in said
    batch = Batch(batches_of(str(survey))[-1])
    try:
        wait_until(
            "the scheduler says where it is",
            lambda: not crh("dashboard", cwd=survey, local=False, code=None).returncode,
            timeout_s=60,
        )
        told = crh("dashboard", "--json", cwd=survey, local=False)
        assert json.loads(told.stdout)["job"]["scheduler"] == "slurm"
        link = crh("dashboard", cwd=survey, local=False)
        assert link.stdout.startswith("http://127.0.0.1:") and "ssh -N -L" in link.stderr
    finally:
        (tmp_path / "gate").touch()
    crh("pilot", "-j", "1", cwd=survey, local=False)
    crh("wait", "--timeout", "90", cwd=survey, local=False)
    crh("collect", cwd=survey, local=False)
    claims = [path.name.split(".")[0] for path in Path(batch.paths.names).glob("*/*.claim.*")]
    assert len(claims) == len(set(claims)) == TOMODIRS, "each was claimed once, whoever chose it"
    kinds = {bool(read.job.job_id) for token in list_sessions(batch.paths) if (read := read_header(batch.paths, token))}
    assert kinds == {True, False}
    for path in Path(batch.paths.jobs).iterdir():
        text = path.read_text()
        assert "PRIVATE KEY" not in text and ".pem" not in text and str(survey) not in text
