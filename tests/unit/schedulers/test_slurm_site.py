"""What a real Slurm told of its site (tests/recorded/sites), and what it must be read as: values written by hand."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from crh_batch.errors import ProfileError, Unreachable, UnreadableAnswer
from crh_batch.hosts.base import Completed
from crh_batch.profile import Profile
from crh_batch.schedulers.base import keyed_lines
from crh_batch.schedulers.slurm import Slurm
from crh_batch.schedulers.slurm_site import (
    parse_max_array_size,
    parse_minutes,
    parse_partitions,
    parse_site,
    partitions_argv,
    questions,
)
from crh_batch.site import NodeKind, Partition, Site

RECORDED = Path(__file__).parents[2] / "recorded" / "sites"
FAT = NodeKind(4, 8000, 1, ("avx2", "fat"))
QUICK = NodeKind(4, 8000, 1, ("avx2",))
PLAIN = NodeKind(4, 8000, 1)
WORK = Partition("work", (FAT, QUICK, PLAIN), 1440, 30, is_default=True)
SHORT = Partition("short", (FAT, QUICK, PLAIN), 2)
WHOLE = Partition("whole", (FAT,), 7 * 1440 + 12 * 60 + 30, whole_nodes=True)
CLOSED = Partition("closed", (QUICK, PLAIN), is_up=False)


def recorded(case: str) -> Completed:
    directory = RECORDED / case
    argv = json.loads((directory / "argv.json").read_text())
    status = int((directory / "exit_status").read_text())
    return Completed(tuple(argv), status, (directory / "stdout").read_text(), (directory / "stderr").read_text())


def said(stdout: str, stderr: str = "", exit_status: int | None = 0) -> Completed:
    return Completed(("sinfo",), exit_status, stdout, stderr)


def test_questions_when_answered_then_they_are_those_that_were_recorded_and_no_more() -> None:
    answers = [recorded(f"slurm-{name}") for name in ("config", "partitions", "associations")]
    assert [tuple(argv) for argv in questions([], "root")] == [answer.argv for answer in answers]
    assert questions(answers, "root") == []
    assert tuple(partitions_argv(["short", "closed"])) == recorded("slurm-partitions-named").argv


def test_parse_site_when_everything_is_told_then_all_of_it() -> None:
    answers = [recorded(f"slurm-{name}") for name in ("config", "partitions", "associations")]
    assert parse_site(answers, "root") == Site(
        scheduler="slurm",
        version="22.05.8",
        partitions=(WORK, SHORT, WHOLE, CLOSED),
        max_array_size=1001,
        memory="mem",
        accounting=True,
        accounts=("geo42", "root"),
        qos=("long", "normal"),
        kill_wait_s=5,
    )


def test_parse_site_when_accounting_is_off_and_memory_is_not_counted_then_neither_is_asked_for() -> None:
    answers = [recorded(f"slurm-{name}-accounting-off") for name in ("config", "partitions", "associations")]
    site = parse_site(answers, "root")
    assert (site.accounting, site.accounts, site.qos, site.memory) == (False, (), (), "none")


@pytest.mark.parametrize(
    ("select", "parameters", "memory", "whole_nodes"),
    [
        ("select/cons_tres", "CR_CORE_MEMORY\nMaxMemPerCPU = 4000", "mem-per-cpu", False),
        ("select/cons_tres", "CR_CPU_MEMORY\nMaxMemPerCPU = UNLIMITED", "mem", False),
        ("select/cons_tres", "CR_CORE", "none", False),
        ("select/linear", "CR_MEMORY", "mem", True),
    ],
)
def test_parse_site_when_memory_is_counted_so_then_it_is_asked_for_so(
    select: str, parameters: str, memory: str, whole_nodes: bool
) -> None:
    config = f"SelectType = {select}\nSelectTypeParameters = {parameters}\n"
    site = parse_site([said(config), said(""), said("")], "root")
    assert (site.memory, site.whole_nodes) == (memory, whole_nodes)


def test_parse_site_when_the_controller_is_down_then_unreachable() -> None:
    down = recorded("slurm-partitions-controller-down")
    with pytest.raises(Unreachable, match="Unable to contact slurm controller"):
        parse_site([down, down, down], "root")


def test_parse_partitions_when_some_are_named_then_those() -> None:
    assert parse_partitions(recorded("slurm-partitions-named"), ["short", "closed"]) == (SHORT, CLOSED)


@pytest.mark.parametrize(
    ("case", "names"),
    [("slurm-partitions-unknown", ["none"]), ("slurm-partitions-one-unknown", ["short", "none"])],
)
def test_parse_partitions_when_one_of_them_is_unknown_then_it_is_named(case: str, names: list[str]) -> None:
    with pytest.raises(ProfileError, match="partition none: Slurm knows none") as caught:
        parse_partitions(recorded(case), names)
    assert caught.value.key == "partition"


def test_parse_partitions_when_sinfo_failed_then_nothing_is_known_and_nothing_is_refused() -> None:
    assert parse_partitions(recorded("slurm-partitions-controller-down"), ["work"]) == ()


def test_parse_partitions_when_lines_are_strange_then_they_are_passed_over() -> None:
    text = "Welcome to the cluster\nwork*|up|1:00:00|n/a|NO|0|64|256000|(null)\nfat|up|n/a|n/a|FORCE:2|2|n/a|9+|a,b\n"
    assert parse_partitions(said(text)) == (
        Partition("work", (), 60, is_default=True),
        Partition("fat", (NodeKind(0, 9, 2, ("a", "b")),)),
    )


@pytest.mark.parametrize(
    ("text", "minutes"),
    [("2:00", 2), ("30:00", 30), ("1:00:00", 60), ("1-00:00:00", 1440), ("infinite", None), ("n/a", None), ("", None)],
)
def test_parse_minutes_when_slurm_writes_a_limit_so_then_minutes(text: str, minutes: int | None) -> None:
    assert parse_minutes(text) == minutes


@pytest.mark.parametrize(
    ("stdout", "size"),
    [
        ("MaxArraySize            = 1001\n", 1001),
        ("A = 1\nMaxArraySize=75000\nB = 2\n", 75000),
        ("NotMaxArraySize = 5\n", 1001),
        ("", 1001),
    ],
)
def test_parse_max_array_size_when_the_configuration_comes_then_the_number_of_tasks(stdout: str, size: int) -> None:
    assert parse_max_array_size(said(stdout)) == size


def test_parse_max_array_size_when_arrays_are_switched_off_then_it_says_so() -> None:
    with pytest.raises(UnreadableAnswer, match="switched off"):
        parse_max_array_size(said("MaxArraySize = 0\n"))


@pytest.mark.parametrize("exit_status", [1, None])
def test_parse_max_array_size_when_it_failed_then_unreachable(exit_status: int | None) -> None:
    with pytest.raises(Unreachable):
        parse_max_array_size(said("", "", exit_status))


@pytest.mark.parametrize(
    ("partition", "names", "cores", "memory_mb"),
    [
        ("", ["work"], 4, 8000),
        ("fat", ["fat"], 64, 512000),
        ("work,fat", ["work", "fat"], 64, 512000),
    ],
)
def test_limits_when_partitions_are_allowed_then_the_largest_node_of_them(
    partition: str, names: list[str], cores: int, memory_mb: int
) -> None:
    rows = "work*|up|1-00:00:00|n/a|NO|3|4|8000|(null)\nfat|up|1:00:00|n/a|NO|1|64|512000|(null)\n"
    listed = "".join(
        line + "\n" for line in rows.splitlines() if not partition or line.split("|")[0].strip("*") in names
    )
    limits = Slurm().parse_limits([said("MaxArraySize = 1001\n"), said(listed)], Profile(partition=partition))
    assert (limits.cores, limits.memory_mb) == (cores, memory_mb)
    assert [one.name for one in limits.partitions] == names


def test_limits_when_there_is_no_default_partition_then_nothing_is_known() -> None:
    limits = Slurm().parse_limits([said(""), said("work|up|infinite|n/a|NO|3|4|8000|(null)\n")], Profile())
    assert (limits.cores, limits.partitions) == (0, ())


@pytest.mark.parametrize("separator", [None, "="])
def test_keyed_lines_when_a_line_is_of_blanks_then_it_takes_no_time(separator: str | None) -> None:
    # By a regular expression this took hours.
    text = f"a{separator or ' '}" + " " * 300_000 + "\n" + "\t" * 300_000 + f"b {separator or ''} c \nd\n e f\n"
    assert keyed_lines(text, separator) == {"a": ""}
    assert keyed_lines(f"a {separator or ''} b c \nd\n e {separator or ''} f\n", separator) == {"a": "b c"}
