"""A submission is sent once, through commands that fail at random before or after acting, and clients that die.

CRH_BATCH_REAL_TRIALS asks for more trials, CRH_BATCH_SEED for others.
"""

from __future__ import annotations

import json
import os
import random
import shutil
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from clusters.cluster import Cluster
from conftest import Crh
from crh_batch.demo import write_small_models
from crh_batch.ledger.batch import Batch, batches_of
from crh_batch.ledger.session import list_sessions, read_header
from crh_batch.ledger.submissions import read_submissions

TRIALS = int(os.environ.get("CRH_BATCH_REAL_TRIALS", "4"))
SEED = int(os.environ.get("CRH_BATCH_SEED", "1"))
COMMANDS = {"slurm": ("sbatch", "squeue"), "sge": ("qsub", "qstat")}
DOWN = {
    "slurm": "sbatch: error: Batch job submission failed: Unable to contact slurm controller (connect failure)",
    "sge": "error: commlib error: got select error (Connection refused)",
}
# Stands before the real command on PATH.
SHIM = """#!{python}
import os, random, signal, subprocess, sys
fault = random.Random(os.urandom(8)).choice(("", "", "before", "after", "banner", "killed before", "killed after"))
if fault == "before":
    sys.exit({down!r})
if fault == "killed before":
    os.kill(os.getppid(), signal.SIGKILL)
    sys.exit(1)
done = subprocess.run([{real!r}, *sys.argv[1:]], capture_output=True, text=True)
if fault == "killed after":
    os.kill(os.getppid(), signal.SIGKILL)
if fault == "after":
    sys.exit({down!r})
if fault == "banner" and {submits}:
    print("*** Maintenance on 2026-12-24 ***")
sys.stdout.write(done.stdout)
sys.stderr.write(done.stderr)
sys.exit(done.returncode)
"""


def shims(directory: Path, cluster: Cluster) -> Path:
    """Write commands that fail at random."""
    directory.mkdir()
    for name in COMMANDS[cluster.scheduler]:
        real = shutil.which(name, path=f"{cluster.env.get('PATH', '')}:{os.environ['PATH']}")
        assert real
        path = directory / name
        submits = name in ("sbatch", "qsub")
        path.write_text(SHIM.format(python=sys.executable, real=real, down=DOWN[cluster.scheduler], submits=submits))
        path.chmod(0o755)
    return directory


def clients(survey: Path, path: str, number: int) -> None:
    """Run `submit` so many times at once; how they end is their own affair, but for a traceback."""
    argv = [sys.executable, "-m", "crh_batch", "submit", "--engine", "array", "-t", "1"]
    running = [
        subprocess.Popen(argv, cwd=survey, env={**os.environ, "PATH": path}, stderr=subprocess.PIPE, text=True)
        for _ in range(number)
    ]
    for one in running:
        _, said = one.communicate(timeout=90)
        assert "Traceback" not in said, said


@pytest.mark.timeout(900)
def test_nothing_is_submitted_twice_and_all_is_finished(
    cluster: Cluster, tmp_path: Path, crh: Crh, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = f"{shims(tmp_path / 'shims', cluster)}:{cluster.env.get('PATH') or os.environ['PATH']}"
    chance = random.Random(SEED)
    for trial in range(TRIALS):
        survey = tmp_path / f"survey{trial}"
        write_small_models(survey, 2, data=60, electrodes=16)
        for number in (chance.choice((1, 2)), 1):
            clients(survey, path, number)
        crh("submit", "--engine", "array", "-t", "1", "--wait", "--collect", cwd=survey, local=False)
        assert json.loads(crh("status", "--json", cwd=survey, local=False).stdout)["complete"]
        for batch in map(Batch, batches_of(str(survey))):
            jobs: dict[str, set[str]] = {}
            for token in list_sessions(batch.paths):
                header = read_header(batch.paths, token)
                if header is not None and header.kind == "pilot":
                    jobs.setdefault(header.submission, set()).add(header.job.job_id)
            assert all(len(ids) == 1 for ids in jobs.values()), f"trial {trial}: {jobs}"
            sent = Counter(one.job_id for one in read_submissions(batch.paths) if one.job_id)
            assert all(number == 1 for number in sent.values()), f"trial {trial}: {sent}"
            claims = Counter(path.name.split(".")[0] for path in Path(batch.paths.names).glob("*/*.claim.*"))
            assert set(claims.values()) == {1}, f"trial {trial}: {claims}"


def test_a_second_job_of_a_submission_does_nothing(cluster: Cluster, tmp_path: Path, crh: Crh) -> None:
    """The scheduler took a script in late, after it was sent again: the job that comes second leaves at once."""
    survey = tmp_path / "survey"
    write_small_models(survey, 2, data=60, electrodes=16)
    crh("submit", "--engine", "array", "-t", "1", "--wait", cwd=survey, local=False)
    batch = Batch(batches_of(str(survey))[-1])
    (one,) = read_submissions(batch.paths)
    script = Path(batch.paths.jobs) / f"{one.token}.sh"
    from crh_batch.schedulers.known import SCHEDULERS

    scheduler = SCHEDULERS[cluster.scheduler]
    logs = Path(batch.paths.logs) / one.token
    done = subprocess.run(scheduler.submit_argv(str(logs), str(script)), capture_output=True, text=True, check=True)
    second = done.stdout.split()[-1].split(".")[0]
    assert second != one.job_id
    cluster.wait_for_end(second)
    said = "".join(path.read_text() for path in logs.iterdir())
    assert f"job {one.job_id} has this submission already" in said
