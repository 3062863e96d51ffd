"""Workers of dask under SGE's h_vmem, a limit on the virtual memory of a job: what they ask for is enough."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from clusters.cluster import Cluster
from conftest import Crh, wait_until
from crh_batch.demo import write_small_models
from crh_batch.engines.dask.fleet import WORKER_BYTES
from crh_batch.ledger.batch import Batch, batches_of
from crh_batch.ledger.lost import open_claims
from crh_batch.ledger.session import list_sessions, read_events
from crh_batch.ledger.submissions import read_submissions
from gate import Gate

JOB_MB = 80


def bytes_of(pattern: str, text: str, unit: int) -> int:
    found = re.search(pattern, text, re.MULTILINE)
    assert found is not None, text
    return int(found.group(1)) * unit


@pytest.mark.sge
def test_a_worker_and_the_head_keep_below_their_h_vmem(
    sge_env: Cluster, tmp_path: Path, crh: Crh, programs: Path
) -> None:
    survey, gate = tmp_path / "survey", Gate(tmp_path / "gate", programs)
    write_small_models(survey, 4, data=60, electrodes=16)
    (survey / "crh-batch.toml").write_text(f'{gate.profile}memory_resource = "h_vmem"\nmemory_mb = {JOB_MB}\n')
    crh("submit", "--engine", "dask", "--head-job", "--max", "1", cwd=survey, local=False)
    batch = Batch(batches_of(str(survey))[-1])
    try:
        wait_until("a worker is at work", lambda: list(open_claims(batch)), timeout_s=120)
        (header,) = [claim.header for claim in open_claims(batch)]
        assert header is not None
        process = Path("/proc", str(header.who.pid))
        limit = bytes_of(r"^Max address space +(\d+) ", (process / "limits").read_text(), 1)
        assert limit == (JOB_MB << 20) + WORKER_BYTES, "what was asked for is what stands"
        peak = bytes_of(r"^VmPeak:\s+(\d+) kB", (process / "status").read_text(), 1024)
        print(f"worker: VmPeak {peak / 2**20:.0f} MB of {limit / 2**20:.0f}")
        assert peak < WORKER_BYTES, "what is over is for the guard, the job's shell, and the programs"
    finally:
        gate.open()
    crh("wait", "--timeout", "100", cwd=survey, local=False)
    crh("collect", cwd=survey, local=False)
    events = [event for token in list_sessions(batch.paths) for event in read_events(batch.paths, token)]
    assert not [event for event in events if event["event"] == "alone"], "dask's worker was at work, not a pilot alone"
    # One for the head, one for the worker: nothing died and was started again.
    assert len(read_submissions(batch.paths)) == 2
