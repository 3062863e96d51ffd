"""Follow-ups behind the first array, and what a client that waits does for a batch."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from crh_batch.engines import keep_going
from crh_batch.engines.array import ArrayEngine
from crh_batch.engines.keep_going import Keeper
from crh_batch.engines.living import Living
from crh_batch.engines.profile_then import profile_of
from crh_batch.engines.resume import Resumed, resume
from crh_batch.engines.sending import write_script
from crh_batch.errors import SchedulerError
from crh_batch.hosts.base import Completed
from crh_batch.ledger.batch import Batch
from crh_batch.ledger.custody import custody_of
from crh_batch.ledger.items import write_items
from crh_batch.ledger.settings import ItemClass, write_settings
from crh_batch.ledger.submissions import read_submissions, record_intent, record_submitted
from crh_batch.mirror.stage import Stage, write_stage
from crh_batch.plan.arrays import ALL_WIDTHS
from crh_batch.profile import Profile
from crh_batch.schedulers.base import JobRow, JobState
from crh_batch.schedulers.slurm import Slurm
from unit.engines.told import SBATCH_SILENT, SQUEUE_SILENT, ToldHost, said
from unit.ledger.making import make_batch, make_item, make_names

PROFILE = Profile(follow_ups=2, max_threads=8)


class Slurmlike(ToldHost):
    """A queue in which jobs wait until they are ended."""

    def __init__(self) -> None:
        self.states: dict[str, tuple[str, str]] = {}
        self.scripts: dict[str, str] = {}
        super().__init__(
            sbatch=self._sbatch,
            squeue=self._squeue,
            scontrol=said("MaxArraySize = 1001\n"),
            sinfo=said("work*|8|8000\n"),
        )

    def _sbatch(self, argv: tuple[str, ...]) -> Completed:
        job = str(11 + len(self.states))
        self.scripts[job] = Path(argv[-1]).read_text()
        self.states[job] = (Path(argv[-1]).stem, "PENDING")
        return said(f"{job}\n")

    def _squeue(self, argv: tuple[str, ...]) -> Completed:
        return said("".join(f"{job}_0|{state}|crh-{token}|None\n" for job, (token, state) in self.states.items()))

    def end(self, *jobs: str) -> None:
        for job in jobs:
            self.states[job] = (self.states[job][0], "TIMEOUT")


def batch_in(root: Path, *, keep_going: bool = True, deadline: float = 0.0) -> Batch:
    items = [make_item(number, threads=5 if number < 2 else 1) for number in range(5)]
    batch = make_batch(root, items, classes=[ItemClass(5, 0, 2), ItemClass(1, 2, 5)])
    extra = {"profile": {**PROFILE.to_json(), "a key of another version": 1}}
    write_settings(batch.paths, replace(batch.settings, keep_going=keep_going, deadline=deadline, extra=extra))
    return Batch(batch.paths.directory)


@pytest.fixture
def batch(tmp_path: Path) -> Batch:
    return batch_in(tmp_path)


@pytest.fixture
def host() -> Slurmlike:
    return Slurmlike()


def go_on(batch: Batch, host: Slurmlike) -> list[tuple[int, str, str]]:
    """Do as submit does; return all submissions: class, job, and which it follows."""
    resume(batch, ArrayEngine(Slurm(), host, PROFILE), host, collect=False)
    return [(one.threads, one.job_id, one.after) for one in read_submissions(batch.paths)]


def test_start_when_it_is_to_keep_going_then_follow_ups_wait_one_behind_the_other(
    batch: Batch, host: Slurmlike
) -> None:
    found = go_on(batch, host)
    assert found == [(5, "11", ""), (5, "12", "11"), (5, "13", "12"), (1, "14", ""), (1, "15", "14"), (1, "16", "15")]
    assert "--dependency" not in host.scripts["11"]
    assert "#SBATCH --dependency=afterany:12\n" in host.scripts["13"]
    assert go_on(batch, host) == found, "there are enough of them"


def test_start_when_it_is_not_to_keep_going_then_no_follow_ups(tmp_path: Path, host: Slurmlike) -> None:
    assert go_on(batch_in(tmp_path, keep_going=False), host) == [(5, "11", ""), (1, "12", "")]


def test_start_when_some_of_a_chain_are_over_then_it_is_filled_up_behind_the_last(
    batch: Batch, host: Slurmlike
) -> None:
    go_on(batch, host)
    host.end("11", "12")
    assert go_on(batch, host)[6:] == [(5, "17", "13"), (5, "18", "17")]
    host.end("13", "17", "18")
    assert go_on(batch, host)[8:] == [(5, "19", ""), (5, "20", "19"), (5, "21", "20")]


def test_start_when_nothing_of_a_class_is_ready_then_its_chain_is_left(batch: Batch, host: Slurmlike) -> None:
    go_on(batch, host)
    make_names(batch, "0.done", "1.done")
    host.end("11", "12", "13", "14")
    assert go_on(batch, host)[6:] == [(1, "17", "16")]


def test_start_when_there_is_a_deadline_then_slurm_knows_until_when_a_job_may_begin(
    tmp_path: Path, host: Slurmlike
) -> None:
    batch = batch_in(tmp_path, keep_going=False, deadline=4e9)
    engine = ArrayEngine(Slurm(), host, replace(PROFILE, time_minutes=60))
    resume(batch, engine, host, collect=False)
    assert "#SBATCH --deadline=2096-10-02T" in host.scripts["11"]
    over = batch_in(tmp_path / "over", keep_going=False, deadline=1e9)
    resume(over, engine, host, collect=False)
    assert "--deadline" not in host.scripts["13"], "it is over: who submits again wants to go on"


def test_keeper_when_all_pilots_of_a_class_are_gone_then_it_starts_more(batch: Batch, host: Slurmlike) -> None:
    keeper = Keeper(host)
    go_on(batch, host)
    assert keeper.bring_on(batch) is None, "they live"
    make_names(batch, "0.claim.001", "0.fail.001.walltime")
    host.end(*host.states)
    started = keeper.bring_on(batch)
    assert started is not None
    assert [one.submission.job_id for one in started] == ["17", "18", "19", "20", "21", "22"]


def test_keeper_when_the_last_ones_began_nothing_then_no_more_are_started(batch: Batch, host: Slurmlike) -> None:
    keeper = Keeper(host)
    go_on(batch, host)
    host.end(*host.states)
    assert keeper.bring_on(batch)
    host.end(*host.states)
    assert keeper.bring_on(batch) is None
    make_names(batch, "0.claim.001", "0.fail.001.walltime")
    assert keeper.bring_on(batch), "one more attempt was made"


def test_keeper_when_the_batch_is_not_to_keep_going_then_nothing(tmp_path: Path, host: Slurmlike) -> None:
    batch = batch_in(tmp_path, keep_going=False)
    go_on(batch, host)
    host.end(*host.states)
    assert Keeper(host).bring_on(batch) is None


def test_keeper_when_the_deadline_is_over_then_nothing(tmp_path: Path, host: Slurmlike) -> None:
    batch = batch_in(tmp_path, deadline=1e9)
    go_on(batch, host)
    host.end(*host.states)
    assert Keeper(host).bring_on(batch) is None


@pytest.mark.usefixtures("_at_once")
def test_keeper_when_a_submission_hangs_in_the_air_then_it_is_sent_with_its_token(
    tmp_path: Path, host: Slurmlike
) -> None:
    batch = batch_in(tmp_path, keep_going=False)
    intent = record_intent(batch.paths, "slurm", 1, 3)
    write_script(batch, intent, "#!/bin/sh\n")
    host.answers["sbatch"], works = SBATCH_SILENT, host.answers["sbatch"]
    keeper = Keeper(host)
    assert keeper.bring_on(batch) == [], "still silent: to be tried again"
    host.answers["squeue"], tells = SQUEUE_SILENT, host.answers["squeue"]
    assert keeper.bring_on(batch) == []
    host.answers.update(sbatch=works, squeue=tells)
    started = keeper.bring_on(batch)
    assert started is not None
    assert [(one.submission.token == intent.token, one.submission.threads) for one in started] == [
        (True, 1),
        (False, 5),
    ]


@pytest.mark.usefixtures("_at_once")
def test_keeper_when_the_scheduler_refuses_then_it_says_so(batch: Batch, host: Slurmlike) -> None:
    go_on(batch, host)
    host.end(*host.states)
    host.answers["sbatch"] = said(
        "", "sbatch: error: Batch job submission failed: Invalid partition name specified\n", 1
    )
    with pytest.raises(SchedulerError, match="Invalid partition"):
        Keeper(host).bring_on(batch)


def test_keeper_when_another_client_is_at_work_then_it_tries_later(batch: Batch, host: Slurmlike) -> None:
    go_on(batch, host)
    host.end(*host.states)
    keeper = Keeper(host)
    with custody_of(batch):
        assert keeper.bring_on(batch) == []
    assert keeper.bring_on(batch)


@pytest.fixture
def _at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("crh_batch.engines.pilots.LATE_S", 0.0)


def test_profile_when_a_batch_has_it_then_as_it_was_submitted(batch: Batch) -> None:
    assert profile_of(batch) == PROFILE


# ------------------------------------------------------------------ several clusters


@pytest.fixture
def split(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Batch, list[str]]:
    """A batch that keeps going in two stages of two tomodirs each; the second list takes what is resumed."""
    batch = batch_in(tmp_path)
    for number, ids in ((1, (0, 1, 2)), (2, (3, 4))):
        stage = Stage(batch.paths, number, f"far{number}", f"far{number}", "slurm", "/stages/x", "/stages/x")
        write_stage(stage)
        assert write_items(stage.here, [batch.items[one] for one in ids])
    resumed: list[str] = []

    def resume_it(batch: Batch, *arguments: object, **more: object) -> Resumed:
        resumed.append(batch.batch_id)
        return Resumed(batch)

    monkeypatch.setattr(keep_going, "resume", resume_it)
    monkeypatch.setattr(keep_going, "_engine_of", lambda batch, submissions, host: None)
    return batch, resumed


def told(monkeypatch: pytest.MonkeyPatch, batch: Batch, *, alive: int) -> None:
    """All pilots of one stage live, and those of no other."""
    rows = []
    for one in read_submissions(batch.paths):
        state = JobState.RUNNING if one.stage == alive else JobState.ENDED
        rows.append(JobRow(one.job_id, "0", state, "", f"crh-{one.token}"))
    monkeypatch.setattr(keep_going, "look", lambda batch, host: Living(rows, frozenset()))


def test_wait_when_one_cluster_has_no_pilots_then_another_ones_are_none_for_it(
    split: tuple[Batch, list[str]], host: Slurmlike, monkeypatch: pytest.MonkeyPatch
) -> None:
    batch, resumed = split
    for number in (1, 2):
        one = record_intent(batch.paths, "slurm", ALL_WIDTHS, 1, host=f"far{number}", stage=number)
        record_submitted(batch.paths, one, str(10 + number))
    told(monkeypatch, batch, alive=1)
    keeper = Keeper(host)
    assert keeper.bring_on(batch) == []
    assert len(resumed) == 1
    # What runs on the other one is no sign that those here begin anything.
    make_names(batch, "0.claim.001")
    assert keeper.bring_on(batch) is None
    make_names(batch, "3.claim.001")
    assert keeper.bring_on(batch) == []
    # And when all is over there, nothing is due.
    make_names(batch, "3.done", "4.done")
    assert keeper.bring_on(batch) is None
    assert len(resumed) == 2
