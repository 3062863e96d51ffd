"""Slurm as text, where no recording says it: newer words, banners, cut lists, and what is asked for."""

from __future__ import annotations

import pytest

from crh_batch.errors import MaybeSubmitted, SchedulerError, Unreachable
from crh_batch.hosts.base import Completed
from crh_batch.profile import Profile
from crh_batch.schedulers.base import ArrayScript, JobRow, JobState, expand_tasks
from crh_batch.schedulers.slurm import (
    cancel_argv,
    directives,
    parse_sacct,
    parse_squeue,
    parse_submitted,
    sacct_argv,
    squeue_argv,
    state_of,
    submit_argv,
)

MB = 1 << 20
SCRIPT = ArrayScript("token", "20261122-101500-k3f9", pilots=3, cores=5, memory_bytes=512 * MB, threads=5)
PENDING, RUNNING, ENDED, UNKNOWN = JobState


def done(stdout: str = "", stderr: str = "", exit_status: int | None = 0) -> Completed:
    return Completed(("slurm",), exit_status, stdout, stderr)


@pytest.mark.parametrize(
    ("stdout", "job_id"),
    [
        ("4711\n", "4711"),
        ("4711", "4711"),
        ("4711;cluster2\n", "4711"),
        # A cluster called cluster2 gives no job 2, nor does a banner of the site.
        ("Welcome to cluster2, 3 jobs are yours.\n4711;cluster2\n", "4711"),
        ("sbatch: 12 hours of your budget are left\n\n4711\n\n", "4711"),
        ("4711\r\n", "4711"),
        ("12 hours are left\n4711\nThank you for flying with us.\n", "4711"),
        ("4711;my-cluster.site_1\n", "4711"),
    ],
)
def test_parse_submitted_when_the_id_stands_among_other_words_then_it_is_found(stdout: str, job_id: str) -> None:
    assert parse_submitted(done(stdout)) == job_id


@pytest.mark.parametrize("stdout", ["", "\n", "Submitted batch job 4711\n", "job4711\n", "47 11\n", "4711;a b\n"])
def test_parse_submitted_when_no_line_is_an_id_then_it_may_have_submitted(stdout: str) -> None:
    with pytest.raises(MaybeSubmitted) as caught:
        parse_submitted(done(stdout))
    assert caught.value.stdout == stdout


@pytest.mark.parametrize(
    ("stderr", "exit_status"),
    [
        ("", None),
        ("sbatch: error: Batch job submission failed: Socket timed out on send/recv operation", 1),
        ("sbatch: error: Batch job submission failed: Unable to contact slurm controller (connect failure)", 1),
        # slurm_errno.c, SLURM_PROTOCOL_SOCKET_ZERO_BYTES_SENT: the answer was lost, not the question.
        ("sbatch: error: Batch job submission failed: Zero Bytes were transmitted or received", 1),
        # Killed while it waited for the answer.
        ("", -9),
        ("", -15),
    ],
)
def test_parse_submitted_when_the_answer_was_lost_then_it_may_have_submitted(
    stderr: str, exit_status: int | None
) -> None:
    with pytest.raises(MaybeSubmitted) as caught:
        parse_submitted(done("", stderr, exit_status))
    assert "looks for the job by its name" in caught.value.next_step


def test_parse_submitted_when_it_refused_then_the_error_keeps_all_that_was_said() -> None:
    with pytest.raises(SchedulerError) as caught:
        parse_submitted(done("out", "sbatch: error: first\nsbatch: error: Invalid account\n", 1))
    error = caught.value
    assert type(error) is SchedulerError
    assert "Invalid account" in error.message
    assert (error.argv, error.exit_status, error.stdout) == (("slurm",), 1, "out")
    assert "first" in error.stderr


@pytest.mark.parametrize(
    ("word", "state"),
    [
        ("PENDING", PENDING),
        ("REQUEUED", PENDING),
        ("REQUEUE_HOLD", PENDING),
        ("SPECIAL_EXIT", PENDING),
        ("CONFIGURING", RUNNING),
        ("RUNNING", RUNNING),
        ("COMPLETING", RUNNING),
        ("SUSPENDED", RUNNING),
        ("STOPPED", RUNNING),
        ("RESIZING", RUNNING),
        ("COMPLETED", ENDED),
        ("FAILED", ENDED),
        ("TIMEOUT", ENDED),
        ("CANCELLED", ENDED),
        ("CANCELLED by 1000", ENDED),
        ("CANCELLED+", ENDED),
        ("OUT_OF_MEMORY", ENDED),
        ("NODE_FAIL", ENDED),
        ("BOOT_FAIL", ENDED),
        ("PREEMPTED", ENDED),
        ("DEADLINE", ENDED),
        # A newer Slurm's word, two letters, or nothing: never dead for that.
        ("EXPEDITING", UNKNOWN),
        ("CA", UNKNOWN),
        ("completed", UNKNOWN),
        ("", UNKNOWN),
        ("   ", UNKNOWN),
    ],
)
def test_state_of_when_a_word_comes_then_what_it_means_for_a_pilot(word: str, state: JobState) -> None:
    assert state_of(word) is state


@pytest.mark.parametrize(
    ("identifier", "expected"),
    [
        ("123", [("123", "")]),
        ("123_7", [("123", "7")]),
        ("123_[7]", [("123", "7")]),
        ("123_[0-3%4]", [("123", "0"), ("123", "1"), ("123", "2"), ("123", "3")]),
        ("123_[1,3-5]", [("123", "1"), ("123", "3"), ("123", "4"), ("123", "5")]),
        ("123_[0-8:4%2]", [("123", "0"), ("123", "4"), ("123", "8")]),
        # Cut by Slurm: what stands before the cut is known, the number at the cut is not.
        ("123_[1,3,...]", [("123", "1"), ("123", "3")]),
        ("123_[1,3,4", [("123", "1"), ("123", "3")]),
        ("123_[1,3-5", [("123", "1")]),
        ("123_[7", []),
        ("123_[]", []),
        # A heterogeneous job's parts, and what is no job at all.
        ("123+0", []),
    ],
)
def test_parse_squeue_when_an_identifier_comes_then_its_tasks(identifier: str, expected: list[tuple[str, str]]) -> None:
    rows = parse_squeue(done(f"{identifier}|PENDING|crh-token|Resources\n"))
    assert [(row.job_id, row.task) for row in rows] == expected
    assert all((row.state, row.name, row.reason) == (PENDING, "crh-token", "Resources") for row in rows)


def test_parse_squeue_when_a_banner_stands_before_the_rows_then_it_is_passed_over() -> None:
    text = "Attention: maintenance on Friday\n\n123_1|RUNNING|crh-a|None\n123_2|NEW_WORD|crh-a\n"
    assert parse_squeue(done(text)) == [
        JobRow("123", "1", RUNNING, "RUNNING", "crh-a", "None"),
        JobRow("123", "2", UNKNOWN, "NEW_WORD", "crh-a", ""),
    ]


@pytest.mark.parametrize(
    "text",
    [
        "123_1|RUNNING|crh-a|None\n123_2|RUN",
        "123_1|RUNNING|crh-a|None\n123_2|RUNNING|crh-",
        "123_1|RUNNING|crh-a|None\nx|y\n",
        "123_1|RUNNING|crh-a|None\nslurm_load_jobs error: Unexpected message received\n",
        "slurm_load_jobs error: Unable to contact slurm controller (connect failure)\n",
        "<html><body>502 Bad Gateway</body></html>\n",
        "\0\ufffd\ufffd|\n",
    ],
)
def test_parse_squeue_when_it_said_something_else_than_rows_then_unreachable(text: str) -> None:
    """What is not in half an answer, or in none, would be dead."""
    with pytest.raises(Unreachable, match="not its answer"):
        parse_squeue(done(text))


@pytest.mark.parametrize("exit_status", [1, 255, None, -9])
def test_parse_squeue_when_it_failed_then_unreachable_whatever_it_printed(exit_status: int | None) -> None:
    """A timeout read as an empty answer would make everything dead."""
    with pytest.raises(Unreachable) as caught:
        parse_squeue(done("123_1|RUNNING|crh-a|None\n", "", exit_status))
    assert "Nothing is taken for dead" in caught.value.next_step


def test_parse_squeue_when_it_is_empty_then_no_rows() -> None:
    assert parse_squeue(done("")) == []


@pytest.mark.parametrize("exit_status", [1, None])
def test_parse_sacct_when_it_failed_then_none(exit_status: int | None) -> None:
    assert parse_sacct(done("123|COMPLETED|crh-a\n", "accounting is off", exit_status)) is None


def test_parse_sacct_when_steps_are_among_the_rows_then_they_are_no_jobs() -> None:
    text = "123_1|COMPLETED|crh-a\n123_1.batch|COMPLETED|batch\n124.extern|COMPLETED|extern\n"
    rows = parse_sacct(done(text)) or []
    assert [(row.job_id, row.task, row.name) for row in rows if row.name == "crh-a"] == [("123", "1", "crh-a")]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", []),
        ("5", ["5"]),
        ("0-2", ["0", "1", "2"]),
        ("0-9:3", ["0", "3", "6", "9"]),
        ("1,3-4%10", ["1", "3", "4"]),
        (" 1 , 2 ", ["1", "2"]),
        ("5-3", []),
        ("x,2", ["2"]),
        ("0-4:0", ["0", "1", "2", "3", "4"]),
    ],
)
def test_expand_tasks_when_a_list_comes_then_its_numbers(text: str, expected: list[str]) -> None:
    assert expand_tasks(text) == expected


def test_directives_when_nothing_is_asked_for_then_memory_alone() -> None:
    assert directives(SCRIPT, Profile()) == ["--mem=512M"]
    assert directives(SCRIPT, Profile(memory="none")) == []


def test_directives_when_all_is_asked_for_then_all_of_it() -> None:
    profile = Profile(
        partition="work", account="geo", qos="long", constraint="avx2", nice=100, time_minutes=90, memory="mem-per-cpu"
    )
    assert directives(SCRIPT, profile) == [
        "--partition=work",
        "--account=geo",
        "--qos=long",
        "--constraint=avx2",
        "--nice=100",
        "--time=90",
        # 512 MB of five cores, rounded up: 102.4.
        "--mem-per-cpu=103M",
    ]


def test_directives_when_memory_is_no_whole_megabyte_then_it_is_rounded_up() -> None:
    script = ArrayScript("token", "b", 1, 1, 512 * MB + 1, 1)
    assert directives(script, Profile()) == ["--mem=513M"]


def test_argv_when_made_then_nothing_is_left_to_a_shell() -> None:
    assert submit_argv("/s/a b;c/%j", "/s/a b;c/x.sh") == [
        "sbatch",
        "--parsable",
        "--chdir=/s/a b;c/%j",
        "/s/a b;c/x.sh",
    ]
    assert squeue_argv(["crh-a", "crh-b"]) == [
        "squeue",
        "--noheader",
        "--array",
        "--states=all",
        "--name=crh-a,crh-b",
        "--format=%i|%T|%j|%r",
    ]
    assert sacct_argv(["crh-a", "crh-b"], "2026-11-22T10:15:00") == [
        "sacct",
        "--noheader",
        "--parsable2",
        "--allocations",
        "--name=crh-a,crh-b",
        "--starttime=2026-11-22T10:15:00",
        "--format=JobID,State,JobName",
    ]
    assert cancel_argv(["1", "2"]) == ["scancel", "1", "2"]
