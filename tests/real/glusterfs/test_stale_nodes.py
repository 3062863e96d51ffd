"""Nodes whose caches are out of date: what one does, commands and pilots on the others see in time."""

from __future__ import annotations

import json
import os
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from clusters.glusterfs import CACHE_S
from conftest import ON_ANOTHER_HOST, Crh, wait_until
from crh_batch.demo import write_small_models
from crh_batch.engines.verify_filesystem import verify_filesystem
from crh_batch.ledger.batch import Batch, batches_of
from crh_batch.ledger.steering import _LIST_EVERY_S
from crh_batch.ledger.submissions import read_submissions, record_intent, record_submitted
from crh_batch.report.filesystem_words import FIT, findings_alone, findings_together, verdict
from faults.surveys import RESULT, crh_argv, write_tool

pytestmark = pytest.mark.glusterfs

Nodes = tuple[Path, Path, Path]
# What a pilot needs to see a notice: its cache, the pause between two looks, and a machine that is busy.
SEEN_S = CACHE_S + 5 + 20


class Gated:
    """A survey whose programs wait until they may go on, on one machine that stands for three."""

    def __init__(self, nodes: Nodes, local: Path, programs: Path, crh: Crh, count: int) -> None:
        self.one, self.two, self.three = (node / "survey" for node in nodes)
        self.paths = write_small_models(self.one, count, data=60, electrodes=16)
        self._gate, self.began = local / "gate", local / "began"
        self.began.mkdir()
        tool = write_tool(
            local / "gated-crmod",
            f'mktemp "{self.began}/XXXXXX" >/dev/null\n'
            f'while [ ! -e "{self._gate}" ]; do sleep 0.02; done\nexec "{programs}/CRMod_stable"',
        )
        self.profile = local / "profile.toml"
        self.profile.write_text(f'scheduler = "local"\ncrmod = "{tool}"\n')
        self.crh = crh

    def open(self) -> None:
        self._gate.touch()

    def submit(self) -> Batch:
        """Register everything from node one, with a pilot of one core there."""
        self.crh("submit", "-j", "1", "--profile", self.profile, cwd=self.one)
        return Batch(batches_of(str(self.one))[-1])

    def pilot(self, node: Path, batch: Batch, cores: int = 1) -> subprocess.Popen[str]:
        argv = [*ON_ANOTHER_HOST, *crh_argv("pilot", batch.batch_id, "-j", str(cores))]
        return subprocess.Popen(argv, cwd=node, stderr=subprocess.PIPE, text=True)

    def counts(self, node: Path) -> dict[str, int]:
        said = json.loads(self.crh("status", "--json", cwd=node, code=None).stdout)
        return {name: number for name, number in said["counts"].items() if number}

    def wait_for(self, node: Path, **counts: int) -> None:
        wait_until(f"{node.parent.parent.name} sees {counts}", lambda: self.counts(node) == counts, timeout_s=60)


@pytest.fixture
def survey(nodes: Nodes, tmp_path: Path, programs: Path, crh: Crh) -> Iterator[Gated]:
    gated = Gated(nodes, tmp_path, programs, crh, 6)
    yield gated
    gated.open()


def ends_well(pilot: subprocess.Popen[str]) -> None:
    said = pilot.communicate(timeout=60)[1]
    assert pilot.returncode == 0, said


def test_a_pilot_begins_on_a_node_that_has_just_looked_for_a_batch_in_vain(survey: Gated) -> None:
    """What a node knows not to be there must not keep a pilot from a batch that is a moment old."""
    survey.open()
    for node in (survey.two, survey.three):
        survey.crh("status", cwd=node, code=None)
        assert not os.path.lexists(node / ".crh-batch")
    batch = survey.submit()
    ends_well(survey.pilot(survey.two, batch))
    survey.crh("wait", cwd=survey.three)
    survey.crh("collect", cwd=survey.three)
    assert all((survey.three / path / RESULT).stat().st_size for path in survey.paths)
    assert survey.counts(survey.two) == {"collected": 6}


def test_pilots_obey_what_is_said_on_another_node(survey: Gated) -> None:
    """Held on the third node, then released: pilots on the others see it."""
    batch = survey.submit()
    pilot = survey.pilot(survey.two, batch)
    wait_until("both pilots run one", lambda: len(list(survey.began.iterdir())) == 2)
    began = time.monotonic()
    survey.crh("hold", cwd=survey.three)
    held = survey.counts(survey.three)
    assert held == {"running": 2, "held": 4}
    # The bound that is promised: a pilot may go by a listing of names that is so old.
    wait_until("the notice must be seen", lambda: time.monotonic() - began > _LIST_EVERY_S)
    survey.open()
    survey.wait_for(survey.three, done=2, held=4)
    assert len(list(survey.began.iterdir())) == 2, "nothing was begun while it was held"
    survey.crh("release", cwd=survey.three)
    ends_well(pilot)
    ends_well(survey.pilot(survey.two, batch))
    survey.crh("wait", cwd=survey.one)
    survey.wait_for(survey.two, done=6)


def test_what_is_cancelled_on_another_node_is_ended(survey: Gated) -> None:
    batch = survey.submit()
    pilot = survey.pilot(survey.two, batch)
    wait_until("both pilots run one", lambda: len(list(survey.began.iterdir())) == 2)
    survey.crh("cancel", cwd=survey.three, code=None)
    pilot.communicate(timeout=SEEN_S)
    survey.wait_for(survey.one, failed=6)


def test_the_claims_of_a_pilot_that_was_killed_on_one_node_are_run_by_another(survey: Gated) -> None:
    batch = survey.submit()
    pilot = subprocess.Popen(crh_argv("pilot", batch.batch_id, "-j", "2"), cwd=survey.two, stderr=subprocess.DEVNULL)
    wait_until("all cores run one", lambda: len(list(survey.began.iterdir())) == 3)
    pilot.kill()
    pilot.wait()
    survey.open()
    assert "no pilot is left" in survey.crh("wait", cwd=survey.three, code=3).stderr
    survey.crh("submit", "--wait", "--collect", "--profile", survey.profile, cwd=survey.three)
    assert survey.counts(survey.one) == {"collected": 6}
    lost = [name for name in os.listdir(batch.paths.shard(0)) if ".fail.001.lost" in name]
    assert len(lost) == 2


def test_submissions_that_two_nodes_note_in_turn_are_all_there(survey: Gated) -> None:
    """The journal is appended to by whichever client has custody: also right behind another node."""
    survey.open()
    batch = survey.submit()
    there = Batch(str(survey.two / ".crh-batch" / batch.batch_id))
    before = len(read_submissions(batch.paths))
    tokens = []
    for number in range(10):
        paths = (batch, there)[number % 2].paths
        intent = record_intent(paths, "slurm", threads=1, pilots=1)
        record_submitted(paths, intent, str(number))
        tokens.append(intent.token)
    third = Batch(str(survey.three / ".crh-batch" / batch.batch_id))
    wait_until("the third sees all", lambda: len(read_submissions(third.paths)) == before + 10, timeout_s=10)
    noted = {one.token: one.job_id for one in read_submissions(third.paths)}
    assert [noted[token] for token in tokens] == [str(number) for number in range(10)]


def test_what_was_just_collected_is_not_submitted_again_by_a_node_that_saw_no_result(survey: Gated) -> None:
    survey.open()
    batch = survey.submit()
    survey.crh("wait", cwd=survey.one)
    # Node two now knows that there is no result, and that each is registered.
    assert "6 registered already" in survey.crh("check", cwd=survey.two, code=None).stderr
    survey.crh("collect", cwd=survey.three)
    said = survey.crh("submit", "--profile", survey.profile, cwd=survey.two, code=None).stderr
    assert batches_of(str(survey.three)) == [str(survey.three / ".crh-batch" / batch.batch_id)], said
    wait_until(
        "node two sees all finished",
        lambda: "6 finished" in survey.crh("check", cwd=survey.two, code=None).stderr,
        timeout_s=CACHE_S + 20,
    )


def test_verify_fs_finds_two_mounts_fit_and_how_late_they_are(nodes: Nodes) -> None:
    report = verify_filesystem(str(nodes[0]), str(nodes[1]))
    findings = [*findings_alone(report.alone), *findings_together(report.parties, report.links)]
    assert verdict(report.links, findings) == FIT, findings
    times = report.parties[0]["there_and_back_s"]
    assert times["listed"] < 1.5
    # There and back, each way out of a cache of its own; the second may run out while the first is waited for.
    assert 0.8 * CACHE_S < times["asked"] < 2 * CACHE_S + 3 and 0.8 * CACHE_S < times["content"] < 2 * CACHE_S + 3
    assert list(nodes[2].iterdir()) == []
