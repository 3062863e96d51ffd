"""Promise: whatever a scheduler's command answers, nothing that lives is taken for dead, and nothing is sent twice.

Each question that this program asks, told by the ``Scheduler`` protocol itself, is answered by each lie (answering.py),
for both schedulers. Two arrays run, with a claim each; then a command meets the lie, and then the truth.
"""

from __future__ import annotations

import contextlib
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from crh_batch.engines import living, pilots
from crh_batch.engines.accounting import job_usages
from crh_batch.engines.array import ArrayEngine
from crh_batch.engines.resume import resume
from crh_batch.errors import CrhBatchError
from crh_batch.hosts.base import Host
from crh_batch.ledger.batch import Batch
from crh_batch.ledger.names import StateName, states
from crh_batch.ledger.session import Job
from crh_batch.ledger.settings import ItemClass
from crh_batch.ledger.submissions import read_submissions
from crh_batch.profile import Profile
from crh_batch.schedulers.base import UsageSource
from crh_batch.schedulers.known import SCHEDULERS
from crh_batch.schedulers.known_usage import USAGE_SOURCES
from faults.answering import LIES, Asked, Lie, SgeHost, SlurmHost, asking_methods
from faults.lying_scheduler import Cluster
from unit.ledger.making import ELSEWHERE, begin, make_batch, make_item

HOSTS: dict[str, Callable[[Cluster], Host]] = {"slurm": SlurmHost, "sge": SgeHost}
# Nothing is taken for dead by these, nor sent again: tests/unit/engines/test_unstick.py, the site's parsers in
# tests/unit/schedulers, and tests/unit/engines/dask/test_head_job.py; all these lies in tests/unit/schedulers/
# test_capacity.py.
ELSEWHERE_ASKED = {"stuck_argv", "free_argv", "site_questions", "submitting_argvs", "capacity_argvs"}
QUESTIONS = sorted(set(asking_methods()) - ELSEWHERE_ASKED)


@dataclass
class World:
    """A batch, its scheduler, and who asks it."""

    batch: Batch
    cluster: Cluster
    asked: Asked
    name: str

    def resume(self, *, error: bool = False) -> None:
        """Go on with the batch as ``submit`` does; with an error, it may say that it can't."""
        engine = ArrayEngine(self.asked, self.asked.host, Profile(max_threads=8))
        with contextlib.suppress(*([CrhBatchError] if error else [])):
            resume(self.batch, engine, self.asked.host, collect=False)

    def live(self) -> Counter[int]:
        """Return how many arrays of each class wait or run."""
        threads = {f"crh-{one.token}": one.threads for one in read_submissions(self.batch.paths)}
        jobs = [job for job in self.cluster.jobs() if job["state"] in ("PENDING", "RUNNING")]
        return Counter(threads[job["name"]] for job in jobs)

    def start(self) -> None:
        """Let the jobs run, and each pilot claim a tomodir on a node of its own."""
        tokens = {f"crh-{one.token}": one for one in read_submissions(self.batch.paths)}
        for job in self.cluster.jobs():
            self.cluster.set_state(job["id"], "RUNNING")
            one = tokens[job["name"]]
            task = "0" if self.name == "slurm" else "1"
            session = begin(self.batch, who=ELSEWHERE, job=Job(self.name, job["id"], task, 0), submission=one.token)
            first = 0 if one.threads == 4 else 2
            assert session.win(first, "claim.001", self.batch.settings.links)
            session.close()

    def running(self) -> int:
        """Return how many tomodirs run."""
        found = states(self.batch.paths, self.batch.items.ids, self.batch.settings)
        return sum(state.name is StateName.RUNNING for _, state in found)


@pytest.fixture(params=HOSTS)
def world(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> World:
    """A batch of two classes, and nothing sent yet."""
    name = request.param
    monkeypatch.setattr(pilots, "LATE_S", 0.0)
    monkeypatch.setattr(pilots, "END_WITHIN_S", 0.0)
    cluster = Cluster(tmp_path / "cluster")
    asked = Asked(SCHEDULERS[name], HOSTS[name](cluster))
    monkeypatch.setitem(SCHEDULERS, name, asked)
    items = [make_item(number, threads=4 if number < 2 else 1) for number in range(5)]
    batch = make_batch(tmp_path, items, classes=[ItemClass(4, 0, 2), ItemClass(1, 2, 5)])
    return World(batch, cluster, asked, name)


@pytest.mark.parametrize("lie", LIES, ids=lambda lie: lie.name)
@pytest.mark.parametrize("question", QUESTIONS)
def test_running_jobs_are_not_taken_for_dead_nor_sent_again(
    world: World, monkeypatch: pytest.MonkeyPatch, question: str, lie: Lie
) -> None:
    world.resume()
    world.start()
    if not lie.fits:
        # What can be told from an answer must not count as one, however often it comes.
        monkeypatch.setattr(living, "FORGOTTEN_AFTER_S", 0.0)
    if question == "accounting_argvs":
        # It is asked for what the queue has forgotten.
        for job in world.cluster.jobs()[:1]:
            world.cluster.set_state(job["id"], "COMPLETED")
    expected = world.live(), world.running()
    world.asked.lie(lie, question)
    for _ in range(3):
        world.resume(error=True)
    if question != "accounting_argvs":
        assert (world.live(), world.running()) == expected
    assert world.live()[1] == 1, "the one that runs is left alone"
    assert max(world.live().values()) == 1

    world.asked.lie(None)
    world.resume()
    assert world.live() == {4: 1, 1: 1}


@pytest.mark.parametrize("lie", LIES, ids=lambda lie: lie.name)
@pytest.mark.parametrize("question", QUESTIONS)
def test_what_is_sent_is_sent_once(world: World, question: str, lie: Lie) -> None:
    world.asked.lie(lie, question)
    for _ in range(3):
        world.resume(error=True)
    names = Counter(job["name"] for job in world.cluster.jobs())
    assert not lie.acts or max(names.values(), default=0) <= 1, "a lost answer doesn't double a job"
    world.asked.lie(None)
    world.resume()
    assert world.live() == {4: 1, 1: 1}
    assert not any(one.is_open for one in read_submissions(world.batch.paths))


@pytest.mark.parametrize("lie", LIES, ids=lambda lie: lie.name)
def test_cancel_that_was_not_heard_can_be_repeated(world: World, lie: Lie) -> None:
    world.resume()
    world.start()
    world.asked.lie(lie, "cancel_argv")
    with contextlib.suppress(CrhBatchError):
        pilots.end_pilots(world.batch, world.asked.host)
    assert world.asked.lied
    world.asked.lie(None)
    pilots.end_pilots(world.batch, world.asked.host)
    assert not world.live()


@pytest.mark.parametrize("lie", LIES, ids=lambda lie: lie.name)
def test_report_does_without_an_accounting_that_lies(world: World, monkeypatch: pytest.MonkeyPatch, lie: Lie) -> None:
    world.resume()
    world.start()
    source = Asked(USAGE_SOURCES[world.name], HOSTS[world.name](world.cluster))
    monkeypatch.setitem(USAGE_SOURCES, world.name, source)
    for question in asking_methods(UsageSource):
        source.lie(lie, question)
        assert not job_usages(world.batch, source.host)
        assert source.lied


def test_each_question_of_the_protocol_is_asked_here(world: World) -> None:
    """Else a new one would be lied to nowhere."""
    world.resume()
    world.start()
    for job in world.cluster.jobs():
        world.cluster.set_state(job["id"], "COMPLETED")
    world.resume()
    pilots.end_pilots(world.batch, world.asked.host)
    of_sge_alone = {"more_limits_argvs"}
    assert set(QUESTIONS) - world.asked.asked <= (of_sge_alone if world.name == "slurm" else set())
