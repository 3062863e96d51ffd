"""Submissions to schedulers behind SSH: each is asked where its scheduler is, and a broken line decides nothing."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from crh_batch.engines import machines
from crh_batch.engines.living import look
from crh_batch.engines.pilots import end_pilots, settle_intents
from crh_batch.engines.sending import send, write_script
from crh_batch.errors import ConnectionLost, HostError, LedgerError, MaybeSubmitted, Unreachable
from crh_batch.hosts.base import Completed
from crh_batch.hosts.mounted import MountedHost, stay_here
from crh_batch.ledger.batch import Batch
from crh_batch.ledger.identity import Verdict
from crh_batch.ledger.submissions import Submission, read_submissions, record_intent, record_submitted
from crh_batch.schedulers.known import SCHEDULERS
from unit.engines.told import Answer, ToldHost, said
from unit.ledger.making import make_batch


class ToldFar(ToldHost):
    """A login node that says what a test tells it to."""

    def __init__(self, name: str, **answers: Answer) -> None:
        super().__init__(**answers)
        self._name = name
        self.brought: list[str] = []

    @property
    def name(self) -> str:
        return self._name

    def ask(self, do: str, *, timeout_s: float = 60.0, **what: Any) -> dict[str, Any]:
        assert do == "exists"
        self.brought += what["paths"]
        return {"exists": [True for _ in what["paths"]]}


@pytest.fixture
def batch(tmp_path: Path) -> Batch:
    return make_batch(tmp_path, 2)


@pytest.fixture
def clusters(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Tells which machines can be reached, and remembers it until the test ends."""

    def reachable(*hosts: ToldFar) -> None:
        known = {host.name: host for host in hosts}
        monkeypatch.setattr(machines, "reach", known.__getitem__)

    return reachable


def submitted(batch: Batch, job_id: str, host: str, engine: str = "slurm") -> Submission:
    intent = record_intent(batch.paths, engine, 1, 1, host=host)
    return record_submitted(batch.paths, intent, job_id)


def running(submission: Submission) -> Completed:
    return said(f"{submission.job_id}_0|RUNNING|crh-{submission.token}|None\n")


def lost(argv: Sequence[str]) -> Completed:
    raise ConnectionLost("levante: the connection broke: closed", "Run the command again.", "levante")


def test_look_when_submissions_are_on_several_clusters_then_each_scheduler_is_asked_for_its_own(
    batch: Batch, clusters: Callable[..., None]
) -> None:
    one, other = submitted(batch, "7", "levante"), submitted(batch, "7", "mistral")
    levante, mistral = ToldFar("levante", squeue=running(one)), ToldFar("mistral", squeue=running(other))
    clusters(levante, mistral)
    here = ToldHost()
    living = look(batch, here)
    assert living.answered
    assert {living.submission(one), living.submission(other)} == {Verdict.ALIVE}
    assert levante.commands() == mistral.commands() == ["squeue"]
    assert not here.asked


def test_look_when_one_cluster_is_silent_then_the_other_tells_and_nothing_is_dead(
    batch: Batch, clusters: Callable[..., None]
) -> None:
    one, other = submitted(batch, "7", "levante"), submitted(batch, "8", "mistral")
    clusters(ToldFar("levante", squeue=lost), ToldFar("mistral", squeue=running(other)))
    living = look(batch, ToldHost())
    assert (living.submission(one), living.submission(other)) == (Verdict.UNKNOWN, Verdict.ALIVE)
    assert living.silent == {one.token}
    assert not living.answered


def test_settle_when_an_intent_hangs_at_a_silent_cluster_then_nothing_is_sent(
    batch: Batch, clusters: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("crh_batch.engines.pilots.LATE_S", 0.0)
    record_intent(batch.paths, "slurm", 1, 1, host="levante")
    clusters(ToldFar("levante", squeue=lost))
    with pytest.raises(Unreachable, match="may or may not have reached the scheduler"):
        settle_intents(batch, ToldHost())


def test_cancel_when_jobs_are_on_several_clusters_then_each_is_told_its_own(
    batch: Batch, clusters: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("crh_batch.engines.pilots.END_WITHIN_S", 0.0)
    one, other = submitted(batch, "7", "levante"), submitted(batch, "8", "mistral")
    hosts = [ToldFar(of.host, squeue=running(of), scancel=said()) for of in (one, other)]
    clusters(*hosts)
    end_pilots(batch, ToldHost())
    assert [[argv[-1] for argv in host.asked if argv[0] == "scancel"] for host in hosts] == [["7"], ["8"]]


def test_send_when_the_line_breaks_meanwhile_then_the_intent_stays_open(batch: Batch, tmp_path: Path) -> None:
    """sbatch may have done its work before the answer was lost."""
    host = MountedHost(ToldFar("levante", sbatch=lost), [(str(tmp_path), "/lustre")])  # type: ignore[arg-type]
    intent = record_intent(batch.paths, "slurm", 1, 1, host="levante")
    write_script(batch, intent, "#!/bin/bash\n")
    with pytest.raises(MaybeSubmitted, match="levante: the connection broke"):
        send(batch, intent, SCHEDULERS["slurm"], host)
    assert read_submissions(batch.paths)[0].is_open


def test_send_when_the_filesystem_has_another_path_there_then_that_one_is_told(batch: Batch, tmp_path: Path) -> None:
    far = ToldFar("levante", sbatch=said("Submitted batch job 9\n"))
    host = MountedHost(far, [(str(tmp_path), "/lustre/$(x) y")])  # type: ignore[arg-type]
    intent = record_intent(batch.paths, "slurm", 1, 1, host="levante")
    write_script(batch, intent, "#!/bin/bash\n")
    far.answers["sbatch"] = said("9\n")
    assert send(batch, intent, SCHEDULERS["slurm"], host).job_id == "9"
    ((argv,),) = [[argv for argv in far.asked if argv[0] == "sbatch"]]
    assert not any(str(tmp_path) in word for word in argv)
    below = os.path.relpath(batch.paths.jobs, tmp_path)
    assert f"/lustre/$(x) y/{below}/{intent.token}.sh" in argv
    # Both were seen there before the scheduler was told of them.
    assert [os.path.basename(path) for path in far.brought] == [intent.token, f"{intent.token}.sh"]


def test_machine_when_the_user_is_on_the_login_node_then_it_is_this_one(
    batch: Batch, clusters: Callable[..., None]
) -> None:
    one = submitted(batch, "7", "levante")
    clusters(ToldFar("levante"))
    here = ToldHost(squeue=running(one))
    stay_here()
    try:
        assert look(batch, here).submission(one) is Verdict.ALIVE
    finally:
        stay_here(False)


def test_machine_when_a_stage_is_gone_then_nobody_else_is_asked(batch: Batch) -> None:
    intent = record_intent(batch.paths, "slurm", 1, 1, host="levante", stage=3)
    here = ToldHost(squeue=running(intent))
    with pytest.raises((LedgerError, HostError), match=r"stages/3: is gone"):
        look(batch, here)
    assert not here.asked
