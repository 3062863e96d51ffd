"""Jobs of a whole node: one array for all widths, whose pilots pack what fits side by side."""

from __future__ import annotations

import json
from pathlib import Path

from clusters.cluster import Cluster
from conftest import Crh
from crh_batch.demo import write_demo
from crh_batch.ledger.batch import Batch, batches_of
from crh_batch.ledger.session import list_sessions, read_events, read_header
from crh_batch.ledger.submissions import read_submissions

# What a node of the tests' clusters has.
CORES = 4


def test_one_array_of_whole_nodes_packs_all_widths(slurm_mostly: Cluster, tmp_path: Path, crh: Crh) -> None:
    survey = tmp_path / "survey"
    write_demo(survey, 8)
    (survey / "crh-batch.toml").write_text("whole_nodes = true\nmax_pilots = 1\nmax_threads = 3\n")
    crh("submit", "--wait", "--collect", cwd=survey, local=False)
    assert json.loads(crh("status", "--json", cwd=survey, local=False).stdout)["complete"]

    batch = Batch(batches_of(str(survey))[-1])
    (submission,) = read_submissions(batch.paths)
    assert (submission.threads, submission.cores) == (0, CORES)
    slurm_mostly.wait_until(lambda: slurm_mostly.cores_of(submission.job_id), 30, "the accounting knows the array")
    assert slurm_mostly.cores_of(submission.job_id) == {str(CORES)}

    pilots = [token for token in list_sessions(batch.paths) if _is_pilot(batch, token)]
    (pilot,) = pilots
    assert {item.threads for item in batch.items} == {1, 3}
    side_by_side = _side_by_side(batch, pilot)
    assert max(sum(widths) for widths in side_by_side) <= CORES, "never more than the job has"
    assert [1, 3] in [sorted(widths) for widths in side_by_side], "a narrow one fills what a wide one leaves"


def _is_pilot(batch: Batch, token: str) -> bool:
    header = read_header(batch.paths, token)
    return header is not None and header.kind == "pilot"


def _side_by_side(batch: Batch, token: str) -> list[list[int]]:
    """Return the widths of the programs that ran together, at each program's beginning."""
    spans = [
        (float(stage["began"]), float(stage["began"]) + float(stage["wall_s"]), batch.items[event["id"]].threads)
        for event in read_events(batch.paths, token)
        if event["event"] == "done"
        for stage in event["stages"]
    ]
    # Times are rounded to a tenth of a millisecond.
    return [[width for began, end, width in spans if began <= now < end - 0.001] for now, _, _ in spans]
