"""Arrays on Slurm: an intent before each sbatch, and after it what became of it."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from crh_batch.engines.array import ArrayEngine
from crh_batch.engines.choose import choose_engine
from crh_batch.engines.local import LocalEngine, machine_memory_mb
from crh_batch.errors import HostError, MaybeSubmitted, ProfileError, SchedulerError, Unreachable, UsageError
from crh_batch.hosts.base import Completed
from crh_batch.ledger.batch import Batch
from crh_batch.ledger.memory import MemoryRule
from crh_batch.ledger.submissions import Submission, read_submissions
from crh_batch.plan.arrays import ArrayRequest, ClassWork
from crh_batch.profile import Profile
from crh_batch.schedulers.slurm import Slurm
from unit.engines.told import SBATCH_SILENT, ToldHost, said
from unit.ledger.making import make_batch

MB = 1 << 20
CONFIG = said("MaxArraySize            = 1001\n")
NODES = said("work*|up|1-00:00:00|30:00|NO|3|4|8000|(null)\nfat|up|1:00:00|n/a|NO|1|64|256000|(null)\n")
FAT = said("fat|up|1:00:00|n/a|NO|1|64|256000|(null)\n")
ANY_SIZE = said("work*|up|infinite|n/a|NO|3|64|256000|(null)\n")
WIDE = ArrayRequest(5, 5, 3, 512 * MB, 30, 100.0)
NARROW = ArrayRequest(1, 1, 10, 256 * MB, 300, 1000.0)


@pytest.fixture
def batch(tmp_path: Path) -> Batch:
    return make_batch(tmp_path, 1)


def test_start_when_two_classes_are_due_then_an_intent_before_each_sbatch_and_its_job_after(batch: Batch) -> None:
    seen: list[list[Submission]] = []

    def sbatch(argv: tuple[str, ...]) -> Completed:
        seen.append(read_submissions(batch.paths))
        return said(f"{4710 + len(seen)}\n")

    host = ToldHost(sbatch=sbatch, scontrol=CONFIG, sinfo=NODES)
    started = ArrayEngine(Slurm(), host, Profile()).start(batch, [WIDE, NARROW])
    assert [one.submission.job_id for one in started] == ["4711", "4712"]
    assert [len(one) for one in seen] == [1, 2]
    assert all(one[-1].is_open for one in seen), "the intent is durable before sbatch is asked"
    found = read_submissions(batch.paths)
    assert [(one.threads, one.pilots, one.job_id, one.is_open) for one in found] == [
        (5, 3, "4711", False),
        (1, 10, "4712", False),
    ]
    assert "4711" in started[0].where and "3 pilots of 5 cores" in started[0].where


def test_start_when_a_script_is_sent_then_its_token_is_in_its_name_and_it_lies_in_jobs(batch: Batch) -> None:
    host = ToldHost(sbatch=said("4711\n"), scontrol=CONFIG, sinfo=NODES)
    ArrayEngine(Slurm(), host, Profile()).start(batch, [WIDE])
    (one,) = read_submissions(batch.paths)
    (argv,) = [one for one in host.asked if one[0] == "sbatch"]
    script = Path(batch.paths.jobs, f"{one.token}.sh")
    assert argv[:2] == ("sbatch", "--parsable")
    assert argv[-1] == str(script)
    assert os.access(script, os.X_OK)
    text = script.read_text()
    assert f"#SBATCH --job-name=crh-{one.token}\n" in text
    assert "#SBATCH --array=0-2\n" in text
    assert os.path.isdir(os.path.join(batch.paths.logs, one.token)), "Slurm makes no directory for its output"


def test_start_when_sbatch_refuses_then_the_reason_is_written_down_and_the_next_class_is_not_sent(batch: Batch) -> None:
    # tests/recorded/slurm/sbatch-partition-unknown.
    words = "sbatch: error: Batch job submission failed: Invalid partition name specified\n"
    host = ToldHost(sbatch=said("", words, 1), scontrol=CONFIG, sinfo=NODES)
    with pytest.raises(SchedulerError, match="Invalid partition name"):
        ArrayEngine(Slurm(), host, Profile()).start(batch, [WIDE, NARROW])
    (one,) = read_submissions(batch.paths)
    assert "Invalid partition name" in one.refused
    assert host.commands().count("sbatch") == 1


@pytest.mark.parametrize("answer", [SBATCH_SILENT, said("", "", None), said("Submitted batch job 15\n")])
def test_start_when_sbatch_may_have_submitted_then_the_intent_stays_open(batch: Batch, answer: Completed) -> None:
    with pytest.raises(MaybeSubmitted):
        ArrayEngine(Slurm(), ToldHost(sbatch=answer, scontrol=CONFIG, sinfo=NODES), Profile()).start(batch, [WIDE])
    (one,) = read_submissions(batch.paths)
    assert one.is_open


def test_start_when_sbatch_cannot_be_started_then_the_intent_is_closed(batch: Batch) -> None:
    with pytest.raises(HostError):
        ArrayEngine(Slurm(), ToldHost(scontrol=CONFIG, sinfo=NODES), Profile()).start(batch, [WIDE])
    assert read_submissions(batch.paths)[0].refused


def test_most_threads_when_the_profile_is_silent_then_the_largest_node_of_the_partition() -> None:
    assert ArrayEngine(Slurm(), ToldHost(scontrol=CONFIG, sinfo=NODES), Profile()).most_threads == 4
    fat = ToldHost(scontrol=CONFIG, sinfo=FAT)
    assert ArrayEngine(Slurm(), fat, Profile(partition="fat")).most_threads == 64
    assert [argv[-1] for argv in fat.asked if argv[0] == "sinfo"] == ["--partition=fat"]
    assert ArrayEngine(Slurm(), ToldHost(), Profile(max_threads=8)).most_threads == 8, "then nothing is asked"


def test_most_threads_when_the_controller_is_silent_then_unreachable() -> None:
    silent = said("", "slurm_load_ctl_conf error: Unable to contact slurm controller\n", 1)
    host = ToldHost(scontrol=silent, sinfo=silent)
    with pytest.raises(Unreachable):
        _ = ArrayEngine(Slurm(), host, Profile()).most_threads


def test_plan_when_sized_twice_then_the_scheduler_is_asked_once() -> None:
    host = ToldHost(scontrol=said("MaxArraySize = 5\n"), sinfo=ANY_SIZE)
    engine = ArrayEngine(Slurm(), host, Profile())
    requests = engine.plan([ClassWork(5, [3600.0] * 2, [MB] * 2), ClassWork(1, [3600.0] * 100, [MB] * 100)])
    assert [(one.threads, one.cores, one.pilots) for one in requests] == [(5, 5, 2), (1, 1, 5)]
    assert engine.limits.max_array_size == 5
    assert host.commands() == ["scontrol", "sinfo"]


SLURM = ToldHost(sbatch=said())
NO_SLURM = ToldHost()


@pytest.mark.parametrize(
    ("wanted", "scheduler", "host", "expected"),
    [
        ("", "", SLURM, ArrayEngine),
        ("", "", NO_SLURM, LocalEngine),
        ("", "local", SLURM, LocalEngine),
        ("", "slurm", SLURM, ArrayEngine),
        ("local", "slurm", SLURM, LocalEngine),
        ("local", "slurm", NO_SLURM, LocalEngine),
        ("array", "local", SLURM, ArrayEngine),
    ],
)
def test_choose_engine_when_asked_then_the_users_word_then_the_profiles_then_what_is_there(
    wanted: str, scheduler: str, host: ToldHost, expected: type
) -> None:
    assert type(choose_engine(wanted, Profile(scheduler=scheduler), host=host)) is expected


@pytest.mark.parametrize(
    ("programs", "variable", "scheduler", "expected"),
    [
        (("qsub",), "/opt/sge", "", "sge"),
        # PBS and Slurm's own wrapper are called qsub too.
        (("qsub",), "", "", "local"),
        (("qsub",), "", "sge", "sge"),
        (("sbatch", "qsub"), "/opt/sge", "", "slurm"),
        (("sbatch", "qsub"), "/opt/sge", "sge", "sge"),
    ],
)
def test_choose_engine_when_sge_may_be_here_then_its_variable_or_the_profile_tells(
    monkeypatch: pytest.MonkeyPatch, programs: tuple[str, ...], variable: str, scheduler: str, expected: str
) -> None:
    monkeypatch.setenv("SGE_ROOT", variable)
    host = ToldHost(**{program: said() for program in programs})
    assert choose_engine("", Profile(scheduler=scheduler), host=host).name == expected


@pytest.mark.parametrize(("wanted", "scheduler"), [("array", ""), ("", "slurm"), ("", "sge")])
def test_choose_engine_when_a_scheduler_is_wanted_and_missing_then_usage_error(wanted: str, scheduler: str) -> None:
    with pytest.raises(UsageError, match="no scheduler here"):
        choose_engine(wanted, Profile(scheduler=scheduler), host=NO_SLURM)


def test_local_engine_when_cores_are_given_then_tomodirs_run_side_by_side() -> None:
    engine = LocalEngine(8, max_threads=5)
    assert (engine.cores, engine.most_threads) == (8, 5)
    # 64 MB for the pilot and eight times 100 MB, in buckets of 256 MB.
    (request,) = engine.plan([ClassWork(1, [10.0] * 16, [100 * MB] * 16)])
    assert (request.pilots, request.estimate_s, request.memory_bytes) == (1, 20.0, 1024 * MB)
    assert engine.plan([ClassWork(5, [10.0] * 2, [0, 0])])[0].estimate_s == 20.0, "one at a time"
    assert LocalEngine(2, max_threads=5).most_threads == 2
    assert engine.scripts("b", [request]) == []


# Name, state, longest and default time, sharing, nodes, cores, memory, features: one line a kind of node.
PARTITIONS = said("work*|up|1:00:00|30:00|NO|2|4|8000|(null)\nfat|up|infinite|n/a|NO|1|64|256000|(null)\n")


def test_plan_when_whole_nodes_are_wanted_then_one_array_for_all_widths_of_a_nodes_cores_and_memory() -> None:
    host = ToldHost(scontrol=CONFIG, sinfo=PARTITIONS)
    profile = Profile(whole_nodes=True, partition="fat", memory_mb=200_000)
    engine = ArrayEngine(Slurm(), host, profile)
    work = [ClassWork(5, [3600.0] * 20, [MB] * 20), ClassWork(1, [3600.0] * 100, [MB] * 100)]
    (request,) = engine.plan(work)
    assert (request.threads, request.cores, request.memory_bytes) == (0, 64, 200_000 * MB)
    assert request.pilots == 4
    script = engine.scripts("b", [request])[0]
    assert "--cpus-per-task=64" in script
    assert "--cores 64 --threads 0" in script


def test_memory_rule_when_the_profile_and_the_nodes_speak_then_the_profile_first() -> None:
    def rule(profile: Profile) -> MemoryRule:
        return ArrayEngine(Slurm(), ToldHost(scontrol=CONFIG, sinfo=PARTITIONS), profile).memory_rule

    assert rule(Profile()) == MemoryRule(0, 8000)
    assert rule(Profile(memory_mb=4000)) == MemoryRule(4000, 8000)
    assert rule(Profile(memory_mb=4000, max_memory_mb=6000)) == MemoryRule(4000, 6000)
    assert rule(Profile(memory_mb=6000, whole_nodes=True)) == MemoryRule(0, 6000), "of a node, not of a tomodir"


def test_local_engine_when_it_starts_a_pilot_then_with_this_machines_memory_or_the_profiles() -> None:
    assert LocalEngine(2, memory_mb=3000).memory_rule == MemoryRule(0, 3000)
    assert LocalEngine(2).memory_rule.most_mb == machine_memory_mb() > 0


def test_plan_when_several_partitions_are_allowed_then_each_array_goes_where_it_fits() -> None:
    sinfo = said("work*|up|1-00:00:00|30:00|NO|3|4|8000|(null)\nfat|up|1:00:00|n/a|NO|1|64|256000|(null)\n")
    host = ToldHost(scontrol=CONFIG, sinfo=sinfo, sbatch=said("4711\n"))
    engine = ArrayEngine(Slurm(), host, Profile(partition="work, fat"))
    work = [ClassWork(16, [10.0], [MB]), ClassWork(1, [10.0], [MB]), ClassWork(2, [1500.0], [MB])]
    # 1500 s with a margin are more than the 30 minutes that work gives to who asks for none.
    assert [one.partition for one in engine.plan(work)] == ["fat", "work,fat", "fat"]
    script, *_ = engine.scripts("b", engine.plan(work))
    assert "#SBATCH --partition=fat\n" in script


def test_plan_when_the_time_is_beyond_the_partitions_limit_then_an_error_and_no_job_that_waits_for_ever() -> None:
    work = [ClassWork(1, [10.0], [MB])]
    host = ToldHost(scontrol=CONFIG, sinfo=NODES)
    with pytest.raises(ProfileError, match="needs 1 core, 256 MB, 1441 minutes: work allows 1440 minutes"):
        ArrayEngine(Slurm(), host, Profile(time_minutes=1441)).plan(work)
    (request,) = ArrayEngine(Slurm(), host, Profile(time_minutes=1440)).plan(work)
    assert request.partition == "", "nobody asked for a partition"
    assert ArrayEngine(Slurm(), host, Profile(time_minutes=1441, qos="long")).plan(work), "a qos may lift the limit"
    assert ArrayEngine(Slurm(), ToldHost(scontrol=CONFIG, sinfo=said("", "", 1)), Profile(time_minutes=9999)).plan(work)


def test_plan_when_memory_is_not_asked_for_then_no_partition_is_too_small() -> None:
    work = [ClassWork(1, [10.0], [9000 * MB])]
    host = ToldHost(scontrol=CONFIG, sinfo=NODES)
    with pytest.raises(ProfileError, match="work has 8000 MB on a node"):
        ArrayEngine(Slurm(), host, Profile(max_memory_mb=9000)).plan(work)
    assert ArrayEngine(Slurm(), host, Profile(max_memory_mb=9000, memory="none")).plan(work)
