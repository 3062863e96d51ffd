"""Pilots and the time limit of their jobs."""

from __future__ import annotations

import json
import os
from pathlib import Path

from clusters.cluster import Cluster
from conftest import Crh
from crh_batch.demo import write_demo
from crh_batch.ledger.batch import Batch, batches_of
from crh_batch.ledger.session import list_sessions, read_events


def test_pilot_stops_claiming_when_the_time_left_does_not_suffice(cluster: Cluster, tmp_path: Path, crh: Crh) -> None:
    """A job of one minute with a warning of two: the pilot knows its end, claims what fits, and leaves with a word."""
    survey = tmp_path / "survey"
    write_demo(survey, 2)
    (survey / "crh-batch.toml").write_text("time_minutes = 1\nwarn_s = 10\n")
    # Fits: the estimate is a second or two, the minute less the grace is thirty.
    crh("submit", "--wait", "--collect", cwd=survey, local=False)
    assert json.loads(crh("status", "--json", cwd=survey, local=False).stdout)["complete"]

    late = tmp_path / "late"
    write_demo(late, 2)
    name = f"{cluster.scheduler}.sh.j2"
    template = (Path(__file__).parents[3] / "jobscripts" / name).read_text()
    assert '--time-left "$left"' in template
    own = Path(os.environ["XDG_CONFIG_HOME"]) / "crh-batch" / "jobscripts"
    own.mkdir()
    # A job that begins with twenty seconds left: not more than the grace.
    (own / name).write_text(template.replace('--time-left "$left"', '--time-left "0:20"'))
    done = crh("submit", "--wait", cwd=late, local=False, code=3)
    assert "no pilot is left" in done.stderr
    batch = Batch(batches_of(str(late))[-1])
    events = [event for token in list_sessions(batch.paths) for event in read_events(batch.paths, token)]
    assert not [event for event in events if event["event"] in ("claim", "fail")]
    assert {event["why"] for event in events if event["event"] == "end"} <= {"end of the job", "nothing left to do"}
