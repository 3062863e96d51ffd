"""`submit --keep-going`: what a time limit leaves unfinished goes on in follow-up jobs, without anybody; deadlines."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path

from clusters.cluster import Cluster
from conftest import Crh
from crh_batch.demo import write_demo
from crh_batch.ledger.batch import Batch, batches_of
from crh_batch.ledger.session import list_sessions, read_events, read_header
from crh_batch.ledger.submissions import read_submissions

# Half of them in 2D, which are quick: no single one may be too long for a job on a busy machine.
WRITTEN, TOMODIRS = 48, 24
ONLY = ("--match", "_2D$")
# Jobs that know of so much time; a third of it is kept for the end.
JOB_S = 26


def short_jobs(cluster: Cluster) -> None:
    """Let jobs end long before the shortest time limit that schedulers have, a minute."""
    name = f"{cluster.scheduler}.sh.j2"
    template = (Path(__file__).parents[3] / "jobscripts" / name).read_text()
    assert '--time-left "$left"' in template
    own = Path(os.environ["XDG_CONFIG_HOME"]) / "crh-batch" / "jobscripts"
    own.mkdir()
    (own / name).write_text(template.replace('--time-left "$left"', f'--time-left "0:{JOB_S}"'))


def test_follow_ups_go_on_until_nothing_is_left(slurm_mostly: Cluster, tmp_path: Path, crh: Crh) -> None:
    """One pilot at a time, in jobs that are much too short for all: the next job begins where the last one left off."""
    survey = tmp_path / "survey"
    write_demo(survey, WRITTEN)
    (survey / "crh-batch.toml").write_text("time_minutes = 1\nwarn_s = 5\nmax_threads = 1\nfollow_ups = 30\n")
    short_jobs(slurm_mostly)
    crh(
        "submit",
        *ONLY,
        "--keep-going",
        "--max-pilots",
        "1",
        "--wait",
        "--collect",
        cwd=survey,
        local=False,
        timeout_s=240,
    )
    assert json.loads(crh("status", "--json", cwd=survey, local=False).stdout)["complete"]

    batch = Batch(batches_of(str(survey))[-1])
    submissions = read_submissions(batch.paths)
    jobs = [one.job_id for one in submissions]
    assert [one.after for one in submissions] == ["", *jobs[:-1]], "each begins when the one before has ended"
    finished: dict[str, int] = {}
    spans = []
    for token in list_sessions(batch.paths):
        header = read_header(batch.paths, token)
        assert header is not None
        events = list(read_events(batch.paths, token))
        if header.kind == "pilot":
            finished[header.job.job_id] = sum(event["event"] == "done" for event in events)
            spans.append((header.started, max(event["time"] for event in events)))
        assert not [event for event in events if event["event"] == "fail" and event["failure"] != "walltime"]
    at_work = [job for job in jobs if finished.get(job)]
    assert len(at_work) >= 2, f"several rounds: {finished}"
    assert sum(finished.values()) == TOMODIRS
    spans.sort()
    assert all(first[1] <= second[0] for first, second in zip(spans, spans[1:])), "one after another"


def test_deadline_ends_the_work_and_submitting_again_goes_on(slurm_mostly: Cluster, tmp_path: Path, crh: Crh) -> None:
    survey = tmp_path / "survey"
    write_demo(survey, WRITTEN)
    (survey / "crh-batch.toml").write_text("time_minutes = 2\nwarn_s = 5\nmax_threads = 1\nmax_pilots = 1\n")
    # Twenty seconds are kept for the end.
    deadline = int(time.time()) + 27
    text = time.strftime("%Y-%m-%dT%H:%M:%S", time.localtime(deadline))
    crh("submit", *ONLY, "--deadline", text, cwd=survey, local=False)
    batch = Batch(batches_of(str(survey))[-1])
    slurm_mostly.wait_for_end(read_submissions(batch.paths)[0].job_id, timeout_s=60)
    counts = json.loads(crh("status", "--json", cwd=survey, local=False, code=None).stdout)["counts"]
    assert counts["ready"] and counts["ready"] + counts["done"] == TOMODIRS, "unfinished ones are ready, uncharged"
    events = [event for token in list_sessions(batch.paths) for event in read_events(batch.paths, token)]
    assert all(event["time"] < deadline for event in events), "nothing goes on after it"
    # On a busy machine a pilot may begin so late that nothing fits any more.
    assert {event["why"] for event in events if event["event"] == "end"} <= {"the deadline", "nothing left to do"}

    time.sleep(max(0.0, deadline - time.time()) + 1)
    crh("submit", *ONLY, "--wait", "--collect", cwd=survey, local=False)
    assert json.loads(crh("status", "--json", cwd=survey, local=False).stdout)["complete"]
