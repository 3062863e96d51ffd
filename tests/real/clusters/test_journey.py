"""The main job on real schedulers, as a user types it: every test on Slurm and on SGE, some without accounting too."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from clusters.cluster import Cluster
from conftest import ON_ANOTHER_HOST, Crh, tree_sums, wait_until
from crh_batch.demo import TomodirSpec, write_demo, write_tomodir
from crh_batch.ledger.batch import Batch, batches_of
from crh_batch.ledger.lost import open_claims
from crh_batch.ledger.names import parse_name
from crh_batch.ledger.session import list_sessions, read_header
from crh_batch.ledger.submissions import read_submissions
from gate import Gate

# Made by the run, or by crh-batch beside the tomodirs.
STATE = (".crh-batch",)
WEIRD = [
    "with space",
    'it\'s "quoted"',
    "new\nline",
    "grüße-测试",
    "-rf",
    "$(touch x)",
    "`touch x`;touch x&",
    "%j %a %%",
    "back\\slash",
    "*?[a]",
]


@pytest.fixture
def survey(tmp_path: Path) -> Iterator[Path]:
    """An empty directory for a survey; no pilot may be left in it."""
    directory = tmp_path / "survey"
    directory.mkdir()
    yield directory


def wait_for_claims(survey: Path, count: int) -> None:
    """Wait until pilots have claimed so many tomodirs; they keep them as long as the gate is closed."""
    wait_until(f"{count} tomodirs are claimed", lambda: len(open_claims(newest(survey))) >= count)


def status(crh: Crh, cwd: Path) -> dict[str, Any]:
    answer: dict[str, Any] = json.loads(crh("status", "--json", "--all", cwd=cwd, local=False, code=None).stdout)
    return answer


def newest(survey: Path) -> Batch:
    return Batch(batches_of(str(survey))[-1])


def done_names(batch: Batch) -> dict[int, int]:
    """Return how many ``claim`` names each finished tomodir has."""
    claims: dict[int, int] = {}
    done = set()
    for name in (path.name for path in Path(batch.paths.names).glob("*/*")):
        parsed = parse_name(name)
        assert parsed is not None
        item_id, kind, _, _ = parsed
        claims[item_id] = claims.get(item_id, 0) + (kind == "claim")
        if kind == "done":
            done.add(item_id)
    return {item_id: claims[item_id] for item_id in done}


def elsewhere(cluster: Cluster) -> tuple[str, ...]:
    """Return how a client is started to which the nodes are other machines."""
    return ON_ANOTHER_HOST if cluster.reaches_nodes else ()


def test_submit_wait_collect_finishes_everything(any_cluster: Cluster, survey: Path, crh: Crh) -> None:
    paths = write_demo(survey / "demo", 4, with_broken=True)
    before = tree_sums(survey)
    checked = json.loads(crh("check", "--json", cwd=survey, local=False).stdout)
    assert {one["dims"]: one["threads"] for one in checked["tomodirs"]} == {"2D": 1, "2.5D": 4}

    crh("submit", cwd=survey, local=False)
    registered = list(survey.rglob("*.crh"))
    assert len([path for path in registered if ".crh-batch" not in path.parts]) == 5
    crh("wait", "--timeout", "90", cwd=survey, local=False, code=1)
    collected = crh("collect", cwd=survey, local=False, code=1)

    assert "Magnitude <= 0" in collected.stdout, "the failure carries the text of error.dat"
    answer = status(crh, survey)
    assert {state: count for state, count in answer["counts"].items() if count} == {"failed": 1, "collected": 4}
    for path in paths[:4]:
        assert (survey / "demo" / path / "inv" / "inv.ctr").read_text().rstrip().endswith("***finished***")
    after = tree_sums(survey, skip=STATE)
    assert {name: after[name] for name in before} == before, "inputs are as they were"
    assert [path.name for path in survey.rglob("demo/**/*.crh")] == [f"{Path(paths[4]).name}.crh"]


def test_arrays_have_one_core_for_2d_and_more_for_25d(cluster: Cluster, survey: Path, crh: Crh) -> None:
    write_demo(survey / "demo", 2)
    crh("submit", "--wait", cwd=survey, local=False)
    by_threads = {one.threads: one.job_id for one in read_submissions(newest(survey).paths)}
    assert set(by_threads) == {1, 4}

    for threads, job in by_threads.items():
        cluster.wait_until(partial(cluster.cores_of, job), 30, "the accounting knows the array")
        assert cluster.cores_of(job) == {str(threads)}
    stages = [stage for row in status(crh, survey)["tomodirs"] for stage in [row["stage"]]]
    assert stages == ["inversion", "inversion"]


def test_names_that_a_shell_would_read_run_right(cluster: Cluster, tmp_path: Path, crh: Crh) -> None:
    survey = tmp_path / "a survey's $(touch y) %j\nwith 'all' of it"
    survey.mkdir()
    for name in WEIRD:
        write_tomodir(survey / name, TomodirSpec(dims="2D", inversion=False))
    result = crh("submit", "--wait", "--collect", cwd=survey, local=False)
    for name in WEIRD:
        assert (survey / name / "mod" / "volt.dat").is_file(), f"{name!r}\n{result.stderr}"
    assert not [path for path in tmp_path.rglob("*") if path.name in ("x", "y")]
    assert status(crh, survey)["complete"]


def test_cancelled_array_is_finished_by_one_more_command(cluster: Cluster, survey: Path, crh: Crh, gate: Gate) -> None:
    """scancel or qdel of a running array: the pilots record how far they came, and submit goes on from there."""
    write_demo(survey / "demo", 8)
    (survey / "crh-batch.toml").write_text(gate.profile)
    crh("submit", cwd=survey, local=False)
    wait_for_claims(survey, 2)
    for submission in read_submissions(newest(survey).paths):
        cluster.cancel(submission.job_id)
        cluster.wait_for_end(submission.job_id)
    assert not status(crh, survey)["complete"]
    gate.open()
    crh("submit", "--wait", "--collect", cwd=survey, local=False)
    answer = status(crh, survey)
    assert answer["counts"]["collected"] == 8
    assert len(done_names(newest(survey))) == 8


def test_killed_pilots_are_found_out_by_the_scheduler(any_cluster: Cluster, survey: Path, crh: Crh, gate: Gate) -> None:
    """SIGKILL leaves no word behind, and a login node can't see a node's processes.

    1. Pilots run; each has a claim. 2. They are killed. 3. The scheduler ends their jobs. 4. A client of another
    host asks it: the jobs have ended, so the claims are lost, and ready again.
    """
    write_demo(survey / "demo", 4)
    (survey / "crh-batch.toml").write_text(gate.profile)
    crh("submit", cwd=survey, local=False)
    # One for each width at least.
    wait_for_claims(survey, 2)
    batch = newest(survey)
    for token in list_sessions(batch.paths):
        header = read_header(batch.paths, token)
        if header is not None and header.kind == "pilot":
            os.kill(header.who.pid, signal.SIGKILL)
    for submission in read_submissions(batch.paths):
        any_cluster.wait_for_end(submission.job_id)
    gate.open()
    crh("submit", "--wait", "--collect", cwd=survey, local=False, prefix=elsewhere(any_cluster))
    claims = done_names(batch)
    assert len(claims) == 4
    lost = [path.name for path in Path(batch.paths.names).glob("*/*.lost")]
    assert len(lost) == sum(claims.values()) - 4 >= 1


def test_refused_submission_is_kept_and_sent_by_the_next_command(cluster: Cluster, survey: Path, crh: Crh) -> None:
    write_demo(survey / "demo", 2)
    (survey / "crh-batch.toml").write_text('partition = "wrok"\n')
    assert cluster.says["partition"] in crh("submit", cwd=survey, local=False, code=2).stderr
    assert not batches_of(str(survey))

    (survey / "crh-batch.toml").write_text('constraint = "bigmem"\n')
    refused = crh("submit", cwd=survey, local=False, code=3)
    assert cluster.says["constraint"] in refused.stderr, refused.stderr
    (survey / "crh-batch.toml").write_text('partition = "work"\n')
    crh("submit", "--wait", "--collect", cwd=survey, local=False)
    assert len(batches_of(str(survey))) == 1, "the kept batch was sent, no second one was made"
    assert status(crh, survey)["counts"]["collected"] == 2


def test_controller_down_says_so_and_loses_nothing(cluster: Cluster, survey: Path, crh: Crh) -> None:
    write_demo(survey / "demo", 2)
    cluster.stop_controller()
    try:
        down = crh("submit", cwd=survey, local=False, code=3)
        assert cluster.says["down"] in down.stderr
    finally:
        cluster.start_controller()
    crh("submit", "--wait", "--collect", cwd=survey, local=False)
    assert status(crh, survey)["complete"]


def test_submitting_twice_leaves_the_living_alone_and_adds_what_is_new(
    cluster: Cluster, survey: Path, crh: Crh
) -> None:
    write_demo(survey / "first", 4)
    crh("submit", cwd=survey, local=False)
    write_demo(survey / "second", 2)
    again = crh("submit", cwd=survey, local=False)
    assert "left alone" in again.stderr
    crh("wait", cwd=survey, local=False)
    crh("collect", cwd=survey, local=False)
    batches = [Batch(directory) for directory in batches_of(str(survey))]
    assert [len(batch.items) for batch in batches] == [4, 2]
    assert all(len(done_names(batch)) == len(batch.items) for batch in batches)
    assert all(set(done_names(batch).values()) == {1} for batch in batches), "each ran once"


def test_requeued_job_recovers_its_own_former_claims(cluster: Cluster, survey: Path, crh: Crh, gate: Gate) -> None:
    write_demo(survey / "demo", 4)
    directives = [cluster.requeue_directive] if cluster.requeue_directive else []
    (survey / "crh-batch.toml").write_text(
        f"extra_directives = {json.dumps(directives)}\nmax_pilots = 1\n{gate.profile}"
    )
    crh("submit", cwd=survey, local=False)
    wait_for_claims(survey, 2)
    for submission in read_submissions(newest(survey).paths):
        cluster.requeue(submission.job_id, 0)
    gate.open()
    crh("submit", "--wait", "--collect", cwd=survey, local=False)
    answer = status(crh, survey)
    assert answer["counts"]["collected"] == 4
    assert len(done_names(newest(survey))) == 4


def test_node_that_dies_costs_the_attempts_on_it_and_no_more(
    cluster: Cluster, survey: Path, crh: Crh, gate: Gate
) -> None:
    """A pilot runs, its node dies, the scheduler puts the job back: its second life knows what the first one had."""
    write_demo(survey / "demo", 6)
    directives = [cluster.requeue_directive] if cluster.requeue_directive else []
    (survey / "crh-batch.toml").write_text(f"extra_directives = {json.dumps(directives)}\n{gate.profile}")
    crh("submit", cwd=survey, local=False)
    wait_for_claims(survey, 2)
    (wide,) = [one for one in read_submissions(newest(survey).paths) if one.threads == 4]
    node = cluster.wait_until(lambda: cluster.node_of(wide.job_id), 30, "the wide array runs")
    cluster.lose_node(node)
    gate.open()
    crh("submit", "--wait", "--collect", cwd=survey, local=False, prefix=elsewhere(cluster))
    batch = newest(survey)
    claims = done_names(batch)
    assert len(claims) == 6
    lost = [path.name for path in Path(batch.paths.names).glob("*/*.fail.*")]
    assert len(lost) == sum(claims.values()) - 6 >= 1
    assert {Path(name).suffix for name in lost} == {".lost"}


def test_mended_input_runs_again_in_a_new_batch_and_the_old_one_forgets_it(
    cluster: Cluster, survey: Path, crh: Crh
) -> None:
    *_, broken = write_demo(survey / "demo", 1, with_broken=True)
    crh("submit", "--wait", "--collect", cwd=survey, local=False, code=1)
    noise = survey / "demo" / broken / "exe" / "crt.noisemod"
    good = next(path for path in survey.rglob("crt.noisemod") if path != noise)
    noise.write_bytes(good.read_bytes())
    crh("submit", "--wait", "--collect", cwd=survey, local=False)
    assert [len(Batch(directory).items) for directory in batches_of(str(survey))] == [2, 1]
    crh("collect", cwd=survey, local=False)
    old = json.loads(crh("status", "--json", batches_of(str(survey))[0], cwd=survey, local=False).stdout)
    assert old["complete"] and old["counts"]["collected"] == 1
