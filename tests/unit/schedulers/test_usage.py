"""What jobs used, in the words of sacct and qacct: recorded ones, and by hand what other versions say."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from crh_batch.hosts.base import Completed
from crh_batch.schedulers.base import JobUsage
from crh_batch.schedulers.sge_usage import SgeUsage
from crh_batch.schedulers.sge_usage import parse_bytes as sge_bytes
from crh_batch.schedulers.sge_usage import parse_time as sge_time
from crh_batch.schedulers.slurm_usage import SlurmUsage, parse_bytes, parse_duration, parse_requested, parse_time

RECORDED = Path(__file__).parents[2] / "recorded"

# As Slurm 22.05.8 answers SlurmUsage.argvs: an array with one task requeued and pending again, a running one, one that
# waits for another, and tasks that wait together.
SACCT = """\
1_0|crh-aaaa|COMPLETED|2026-11-22T19:57:52|2026-11-22T19:57:53|2026-11-22T19:57:55|4|2|00:01.486|300M||n1|1
1_0.batch|batch|COMPLETED|2026-11-22T19:57:53|2026-11-22T19:57:53|2026-11-22T19:57:53|4|2|00:01.486||69288K|n1|1
1_1|crh-aaaa|REQUEUED|2026-11-22T19:57:52|2026-11-22T19:57:53|2026-11-22T19:57:53|1|2|00:00.220|300M||n1|1
1_1.batch|batch|CANCELLED|2026-11-22T19:57:53|2026-11-22T19:57:53|2026-11-22T19:57:53|1|2|00:00.220|||n1|1
1_1|crh-aaaa|PENDING|2026-11-22T19:57:54|2026-11-22T19:59:54|Unknown|0|2|00:00:00|300M||None assigned|0
2|crh-bbbb|CANCELLED by 0|2026-11-22T19:57:52|Unknown|Unknown|0|0|00:00:00|70M||None assigned|0
4_0|crh-cccc|RUNNING|2026-11-22T19:58:16|2026-11-22T19:58:16|2026-11-22T19:58:16|7200|1|00:00:00|1000M||n1|1
4_[1-3%1]|crh-cccc|PENDING|2026-11-22T19:58:16|2026-11-22T19:58:16|Unknown|0|1|00:00:00|1000M||None assigned|0
9|crh-other|COMPLETED|2026-11-22T19:58:16|2026-11-22T19:58:16|2026-11-22T19:58:16|7200|1|00:00:00|1000M||n1|1
"""


def said(stdout: str, status: int | None = 0, stderr: str = "") -> Completed:
    return Completed(("sacct",), status, stdout, stderr)


def sacct(*, tokens: tuple[str, ...] = ("aaaa", "bbbb", "cccc")) -> list[JobUsage]:
    found = SlurmUsage().parse(said(SACCT), tokens, "")
    assert found is not None
    return found


def test_slurm_argvs_when_there_are_many_then_few_questions() -> None:
    argvs = SlurmUsage().argvs([f"t{number}" for number in range(1100)], 0.0)
    assert [argv[4].count(",") + 1 for argv in argvs] == [500, 500, 100]
    assert "--duplicates" in argvs[0] and "--parsable2" in argvs[0]
    assert argvs[0][4].startswith("--name=crh-t0,crh-t1,")


def test_slurm_parse_when_a_task_had_two_lives_then_both_are_told() -> None:
    found = sacct()
    assert [(one.job_id, one.task, one.token, one.state) for one in found] == [
        ("1", "0", "aaaa", "COMPLETED"),
        ("1", "1", "aaaa", "REQUEUED"),
        ("1", "1", "aaaa", "PENDING"),
        ("2", "", "bbbb", "CANCELLED"),
        ("4", "0", "cccc", "RUNNING"),
    ]
    first, requeued, pending, never, running = found
    assert (first.cores, first.elapsed_s, first.cpu_s, first.host) == (2, 4.0, 1.486, "n1")
    assert (first.requested_memory_bytes, first.peak_bytes) == (300 << 20, 69288 << 10)
    assert first.waited_s == 2.0, "since it could start"
    assert (requeued.elapsed_s, requeued.peak_bytes) == (1.0, None)
    assert (pending.started, pending.waited_s, pending.elapsed_s) == (None, None, 0.0)
    assert (never.submitted, never.waited_s) == (parse_time("2026-11-22T19:57:52"), None)
    assert running.elapsed_s == 7200.0


def test_slurm_parse_when_accounting_is_off_then_none() -> None:
    assert SlurmUsage().parse(said("", 1, "Slurm accounting storage is disabled\n"), ["aaaa"]) is None
    assert SlurmUsage().parse(said("", None), ["aaaa"]) is None
    assert SlurmUsage().parse(said(""), ["aaaa"]) == []
    assert SlurmUsage().parse(said("a banner of the site\n|||\n"), ["aaaa"]) == []


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("00:01.486", 1.486),
        ("01:02:03", 3723.0),
        ("1-02:03:04", 93784.0),
        ("05:00", 300.0),
        ("", 0.0),
        ("INVALID", 0.0),
    ],
)
def test_slurm_duration(text: str, seconds: float) -> None:
    assert parse_duration(text) == seconds


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("69288K", 69288 << 10),
        ("1.50G", 3 << 29),
        ("0", 0),
        ("12M", 12 << 20),
        ("", None),
        ("16?", None),
        ("none", None),
    ],
)
def test_slurm_bytes(text: str, value: int | None) -> None:
    assert parse_bytes(text) == value


@pytest.mark.parametrize(
    ("text", "value"), [("500M", 500), ("500Mc", 2000), ("500Mn", 1000), ("16?", None), ("", None)]
)
def test_slurm_request_of_old_and_new_versions_with_4_cores_on_2_nodes(text: str, value: int | None) -> None:
    assert parse_requested(text, 4, 2) == (None if value is None else value << 20)


def test_slurm_time_is_local() -> None:
    assert parse_time("2026-11-22T19:57:52") == time.mktime((2026, 11, 22, 19, 57, 52, 0, 0, -1))
    assert parse_time("Unknown") is None and parse_time("None") is None


# ---------------------------------------------------------------- SGE


def recorded(case: str) -> Completed:
    directory = RECORDED / "sge" / case
    status = int((directory / "exit_status").read_text())
    return Completed(("qacct",), status, (directory / "stdout").read_text(), (directory / "stderr").read_text())


def test_sge_parse_when_tasks_ended_in_several_ways_then_each_is_told() -> None:
    found = SgeUsage().parse(recorded("qacct-ends"), ["20261122k3f9"], "")
    assert found is not None
    by_task = {one.task: one for one in found}
    assert set(by_task) == {"1", "2", "3", "4", "5"}
    killed = by_task["4"]
    assert (killed.cores, killed.elapsed_s, killed.waited_s) == (4, 2.0, 1.0)
    assert killed.state == "failed 100, exit status 137"
    assert killed.peak_bytes == int(1.797 * (1 << 20))
    assert by_task["2"].state == "failed 0, exit status 3"
    assert killed.requested_memory_bytes is None, "nothing was asked for"


def test_sge_parse_when_another_token_is_meant_then_nothing() -> None:
    assert SgeUsage().parse(recorded("qacct-ends"), ["another"], "") == []


@pytest.mark.parametrize(
    ("case", "answer"), [("qacct-later", []), ("qacct-name-unknown", []), ("qacct-no-file-yet", None)]
)
def test_sge_parse_when_no_job_has_ended_then_nothing_is_known_of_any(case: str, answer: list[JobUsage] | None) -> None:
    assert SgeUsage().parse(recorded(case), ["20261122k3f9"], "") == answer


def test_sge_parse_when_qacct_fails_then_none() -> None:
    assert SgeUsage().parse(said("", 1, "error: unable to read qmaster name\n"), ["x"], "") is None
    assert SgeUsage().parse(said("", None), ["x"], "") is None


OLDER = """\
==============================================================
qname        all.q
hostname     node1
jobname      crh-x
jobnumber    12
taskid       undefined
qsub_time    11/22/2026 17:09:56.123
start_time   11/22/2026 17:10:06.456
end_time     11/22/2026 17:11:06.789
slots        4
failed       0
exit_status  0
ru_wallclock 0
cpu          57.623
maxvmem      1.200G
category     -l tmem=1G,h_rt=60 -pe smp 4
==============================================================
jobname      crh-x
jobnumber    13
taskid       3
qsub_time    Sun Nov 22 17:09:56 2026
start_time   -/-
end_time     -/-
slots        1
failed       1  : assumedly before job
exit_status  0
ru_wallclock 0
"""


def test_sge_parse_when_other_versions_speak_then_they_are_understood_too() -> None:
    found = SgeUsage().parse(said(OLDER), ["x"], "")
    assert found is not None
    ran, never = found
    assert (ran.task, ran.elapsed_s, ran.waited_s, ran.cpu_s) == ("", 60.0, 10.0, 57.623)
    assert (ran.requested_memory_bytes, ran.peak_bytes) == (4 << 30, int(1.2 * (1 << 30)))
    assert (never.started, never.waited_s, never.elapsed_s, never.state) == (None, None, 0.0, "failed 1, exit status 0")


def test_sge_parse_when_the_profile_names_the_resource_then_it_counts() -> None:
    text = OLDER.replace("tmem=1G", "tmem=1G,h_vmem=3G")
    for resource, expected in (("tmem", 4 << 30), ("h_vmem", 12 << 30), ("mem_free", None)):
        found = SgeUsage().parse(said(text), ["x"], resource)
        assert found is not None and found[0].requested_memory_bytes == expected


def test_sge_bytes_and_times() -> None:
    assert [sge_bytes(text) for text in ("1.000GB", "1G", "0.000B", "2k", "1.5KB", "-", "")] == [
        1 << 30,
        1 << 30,
        0,
        2000,
        1536,
        None,
        None,
    ]
    assert sge_time("Sun Nov 22 17:09:56 2026") == sge_time("11/22/2026 17:09:56.999") != None  # noqa: E711
    assert sge_time("-/-") is None
