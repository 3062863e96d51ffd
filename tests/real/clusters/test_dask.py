"""The dask engine on real schedulers: what it makes, what its jobs are, and what becomes of its deaths."""

from __future__ import annotations

import json
import sys
from pathlib import Path

from clusters.cluster import Cluster
from conftest import Crh, tree_sums
from crh_batch.demo import write_demo
from crh_batch.ledger.batch import Batch, batches_of
from crh_batch.ledger.session import list_sessions, read_events
from crh_batch.ledger.submissions import read_submissions

# Made by the run or about it; run.ctr holds times.
NOT_RESULTS = (".crh-batch", "crh.json", "run.ctr")


def results(survey: Path) -> dict[str, str]:
    return {
        name: checksum
        for name, checksum in tree_sums(survey, skip=NOT_RESULTS).items()
        if not name.endswith((".err", ".out", "crh-batch.toml"))
    }


# Stands for CRTomo, and counts its threads while it runs.
COUNTING = """#!{python}
import os, subprocess, sys
program = subprocess.Popen([{real!r}, *sys.argv[1:]])
most = 0
while program.poll() is None:
    try:
        most = max(most, len(os.listdir(f"/proc/{{program.pid}}/task")))
    except OSError:
        pass
    try:
        program.wait(0.02)
    except subprocess.TimeoutExpired:
        pass
with open({seen!r}, "a") as stream:
    stream.write(f"{{os.environ['OMP_NUM_THREADS']}} {{most}}\\n")
sys.exit(program.returncode)
"""


def counting_crtomo(directory: Path, programs: Path) -> Path:
    script = directory / "counting-crtomo"
    real = str(programs / "CRTomo_stable")
    script.write_text(COUNTING.format(python=sys.executable, real=real, seen=str(directory / "threads")))
    script.chmod(0o755)
    return script


def threads_seen(directory: Path) -> set[tuple[str, int]]:
    """Return OMP_NUM_THREADS and the most threads that were seen, of each CRTomo."""
    lines = (directory / "threads").read_text().split("\n")[:-1]
    return {(line.split()[0], int(line.split()[1])) for line in lines}


def test_a_mixed_batch_gives_the_array_engines_bytes_by_jobs_of_two_sizes(
    cluster: Cluster, tmp_path: Path, crh: Crh, programs: Path
) -> None:
    by_array, by_dask = tmp_path / "array", tmp_path / "dask"
    for survey in (by_array, by_dask):
        write_demo(survey, 2)
    (by_dask / "crh-batch.toml").write_text(f'crtomo = "{counting_crtomo(tmp_path, programs)}"\n')
    crh("submit", "--engine", "array", "-t", "2", "--collect", cwd=by_array, local=False)
    said = crh("submit", "--engine", "dask", "-t", "2", "--max", "2", "--collect", cwd=by_dask, local=False).stderr
    assert json.loads(crh("status", "--json", cwd=by_dask, local=False).stdout)["complete"], said
    assert results(by_dask) == results(by_array)

    batch = Batch(batches_of(str(by_dask))[-1])
    submissions = read_submissions(batch.paths)
    assert {(one.threads, one.cores) for one in submissions} == {(1, 1), (2, 2)}, said
    for one in submissions:
        cluster.wait_for_end(one.job_id)
        cores = cluster.wait_until(lambda one=one: cluster.cores_of(one.job_id), 30, "the accounting knows the job")  # type: ignore[misc]
        assert cores == {str(one.cores)}

    events = [event for token in list_sessions(batch.paths) for event in read_events(batch.paths, token)]
    assert not [event for event in events if event["event"] == "alone"], "the scheduler sent them home"
    assert threads_seen(tmp_path) == {("1", 1), ("2", 2)}, "each program had the threads that it was given"
