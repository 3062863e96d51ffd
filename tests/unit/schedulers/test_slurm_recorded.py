"""What a real Slurm said (tests/recorded/slurm), and what it must be read as: values written by hand."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from crh_batch.errors import MaybeSubmitted, SchedulerError, Unreachable
from crh_batch.hosts.base import Completed
from crh_batch.schedulers.base import JobRow, JobState
from crh_batch.schedulers.slurm import (
    parse_sacct,
    parse_squeue,
    parse_submitted,
    sacct_argv,
)
from crh_batch.schedulers.slurm_site import parse_max_array_size
from crh_batch.schedulers.slurm_words import last_words

RECORDED = Path(__file__).parents[2] / "recorded" / "slurm"
PENDING, RUNNING, ENDED, UNKNOWN = JobState
NAME = "crh-20261122-101500-k3f9"


def recorded(case: str) -> Completed:
    directory = RECORDED / case
    argv = json.loads((directory / "argv.json").read_text())
    status = int((directory / "exit_status").read_text())
    return Completed(tuple(argv), status, (directory / "stdout").read_text(), (directory / "stderr").read_text())


def columns(case: str, wanted: list[str]) -> Completed:
    """A recorded table with the columns that this program asks for, in its order; more were recorded."""
    done = recorded(case)
    (form,) = [one.partition("=")[2] for one in done.argv if one.startswith("--format=")]
    names = form.split("|") if "|" in form else form.split(",")
    lines = []
    for line in done.stdout.splitlines():
        cells = line.split("|")
        assert len(cells) == len(names), case
        lines.append("|".join(cells[names.index(name)] for name in wanted))
    return Completed(done.argv, done.exit_status, "".join(f"{line}\n" for line in lines), done.stderr)


def squeue(case: str) -> Completed:
    return columns(case, ["%i", "%T", "%j", "%r"])


def sacct(case: str) -> Completed:
    return columns(case, ["JobID", "State", "JobName"])


def tasks(rows: list[JobRow]) -> dict[str, JobState]:
    return {f"{row.job_id}_{row.task}" if row.task else row.job_id: row.state for row in rows}


@pytest.mark.parametrize(
    ("case", "job_id"),
    [
        ("sbatch-parsable", "8"),
        ("sbatch-parsable-with-cluster", "16"),
        ("sbatch-array-throttled", "25"),
        ("sbatch-array-scattered", "28"),
        # Accepted although they can't run.
        ("sbatch-dependency-unknown", "4"),
        ("sbatch-qos-unknown", "6"),
        ("sbatch-too-many-nodes", "3"),
        ("sbatch-time-above-the-partition", "24"),
        ("sbatch-partition-down", "38"),
        # Accounting is not needed for it.
        ("sbatch-slurmdbd-down", "42"),
    ],
)
def test_sbatch_when_it_accepted_then_the_job_id(case: str, job_id: str) -> None:
    assert parse_submitted(recorded(case)) == job_id


@pytest.mark.parametrize(
    ("case", "said"),
    [
        ("sbatch-array-index-too-high", "Invalid job array specification"),
        ("sbatch-array-malformed", "Invalid job array specification"),
        ("sbatch-clusters-accounting-off", "'testbed' can't be reached now"),
        ("sbatch-constraint-unknown", "Invalid feature specification"),
        ("sbatch-mem-twice", "--mem, --mem-per-cpu, and --mem-per-gpu are mutually exclusive"),
        ("sbatch-option-unknown", "unrecognized option"),
        ("sbatch-partition-inactive", "Required partition not available (inactive or drain)"),
        ("sbatch-partition-unknown", "Invalid partition name specified"),
        ("sbatch-reservation-unknown", "Requested reservation is invalid"),
        ("sbatch-script-empty", "Batch script is empty!"),
        ("sbatch-script-missing", "Unable to open file none.sh"),
        ("sbatch-script-with-dos-line-breaks", "UNIX line breaks"),
        ("sbatch-script-without-shebang", "#!/bin/sh"),
        ("sbatch-signal-malformed", "Invalid --signal specification"),
        ("sbatch-time-malformed", "Invalid --time specification"),
        ("sbatch-too-many-cpus", "Requested node configuration is not available"),
        ("sbatch-too-much-memory", "Requested node configuration is not available"),
    ],
)
def test_sbatch_when_it_refused_then_an_error_with_its_words_and_nothing_is_looked_for(case: str, said: str) -> None:
    with pytest.raises(SchedulerError) as caught:
        parse_submitted(recorded(case))
    assert type(caught.value) is SchedulerError
    assert said in caught.value.message
    assert caught.value.exit_status in (1, 255)
    assert caught.value.argv[0] == "sbatch"


@pytest.mark.parametrize(
    "case",
    [
        # This one had submitted: the next command found the job (squeue-name-after-controller-silent).
        "sbatch-controller-silent",
        "sbatch-controller-down",
        # Exit status 0 and no job id: not what --parsable answers.
        "sbatch-not-parsable",
        "sbatch-test-only",
    ],
)
def test_sbatch_when_it_may_have_submitted_then_it_must_be_looked_for(case: str) -> None:
    with pytest.raises(MaybeSubmitted):
        parse_submitted(recorded(case))


ARRAY_MIXED = {
    "8_0": ENDED,
    "8_1": ENDED,
    "8_2": ENDED,
    "8_3": RUNNING,
    "8_4": RUNNING,
    "8_6": RUNNING,
    "8_7": PENDING,
    "8_8": PENDING,
    "8_9": PENDING,
}


@pytest.mark.parametrize(
    ("case", "expected"),
    [
        ("squeue-array-mixed", ARRAY_MIXED),
        ("squeue-array-mixed-by-id", ARRAY_MIXED),
        ("squeue-array-mixed-not-expanded", ARRAY_MIXED),
        ("squeue-array-mixed-by-task", {"8_3": RUNNING, "8_7": PENDING}),
        (
            "squeue-array-before-cancel",
            {
                "8_0": ENDED,
                "8_1": ENDED,
                "8_2": RUNNING,
                "8_3": RUNNING,
                "8_4": RUNNING,
                **{f"8_{number}": PENDING for number in (5, 6, 7, 8, 9)},
            },
        ),
        ("squeue-array-finished", {f"8_{number}": ENDED for number in (0, 1, 2, 3, 4, 6, 7, 8, 9)}),
        (
            "squeue-array-only-unfinished",
            {task: state for task, state in ARRAY_MIXED.items() if state is not ENDED},
        ),
        (
            "squeue-array-throttled",
            {"25_0": RUNNING, "25_1": RUNNING, **{f"25_{number}": PENDING for number in range(2, 9)}},
        ),
        (
            "squeue-array-throttled-not-expanded",
            {"25_0": RUNNING, "25_1": RUNNING, **{f"25_{number}": PENDING for number in range(2, 9)}},
        ),
        # Cut by Slurm in the middle of a number, which is not known then: 28_[...,60,7 was 28_[...,60,70.
        (
            "squeue-array-scattered-not-expanded",
            {f"28_{number}": PENDING for number in (1, 3, 4, 5, 8, 10, 20, 30, 40, 50, 60)},
        ),
        (
            "squeue-suspended",
            {"25_0": RUNNING, "25_1": RUNNING, **{f"25_{number}": PENDING for number in range(2, 9)}},
        ),
        # Its node is not asked any more, and Slurm takes it for running.
        ("squeue-node-silent", {"35_0": RUNNING, "35_1": RUNNING, "36": RUNNING}),
        ("squeue-node-fail", {"35_0": ENDED, "35_1": ENDED, "36": PENDING}),
        ("squeue-completing", {"30": RUNNING}),
        ("squeue-timeout", {"29": ENDED, "30": ENDED}),
        ("squeue-deadline", {"32": ENDED}),
        ("squeue-out-of-memory", {"1": ENDED, "2": ENDED}),
        ("squeue-output-not-writable", {"33": ENDED}),
        ("squeue-requeued", {"34": PENDING}),
        ("squeue-pending-reasons", {str(number): PENDING for number in (19, 20, 21, 22, 23, 24)}),
        ("squeue-name-unknown", {}),
        ("squeue-two-ids-unknown", {}),
        ("squeue-two-purged", {}),
    ],
)
def test_squeue_when_it_answered_then_each_task_and_its_state(case: str, expected: dict[str, JobState]) -> None:
    assert tasks(parse_squeue(squeue(case))) == expected


@pytest.mark.parametrize(
    ("case", "expected"),
    [
        # MinJobAge after its end squeue doesn't know a job any more; the accounting does.
        ("squeue-purged-and-known", {"crh-known": RUNNING}),
        ("sacct-purged-and-known", {"crh-purged": ENDED, "crh-known": RUNNING}),
        # The job that "sbatch-controller-silent" was refused for, by its words.
        ("squeue-name-after-controller-silent", {"crh-submitted-all-the-same": PENDING}),
        ("squeue-requeued", {"crh-again": PENDING}),
    ],
)
def test_jobs_when_looked_for_then_they_are_found_by_their_names(case: str, expected: dict[str, JobState]) -> None:
    rows = parse_squeue(squeue(case)) if case.startswith("squeue") else parse_sacct(sacct(case))
    assert rows is not None
    assert {row.name: row.state for row in rows} == expected


def test_squeue_when_it_answered_then_names_words_and_reasons_are_kept() -> None:
    rows = {row.task: row for row in parse_squeue(squeue("squeue-array-mixed"))}
    assert rows["1"] == JobRow("8", "1", ENDED, "FAILED", NAME, "NonZeroExitCode")
    assert rows["7"] == JobRow("8", "7", PENDING, "PENDING", NAME, "Resources")
    reasons = {row.job_id: row.reason for row in parse_squeue(squeue("squeue-pending-reasons"))}
    assert reasons == {
        "19": "Resources",
        "20": "Priority",
        "21": "JobHeldUser",
        "22": "BeginTime",
        "23": "Dependency",
        "24": "PartitionTimeLimit",
    }


@pytest.mark.parametrize(
    "case",
    [
        "squeue-controller-down",
        "squeue-controller-silent",
        "squeue-name-controller-down",
        # A single id that is unknown or purged makes squeue fail; so names are asked for, which never do.
        "squeue-id-unknown",
        "squeue-id-malformed",
        "squeue-purged",
    ],
)
def test_squeue_when_it_failed_then_nothing_is_known(case: str) -> None:
    with pytest.raises(Unreachable) as caught:
        parse_squeue(squeue(case))
    assert caught.value.exit_status == 1
    assert caught.value.stderr.strip().splitlines()[-1] in caught.value.message


@pytest.mark.parametrize(
    ("case", "expected"),
    [
        (
            "sacct-array-mixed",
            {"8_0": ENDED, "8_1": ENDED, "8_2": ENDED, "8_3": RUNNING, **{f"8_{n}": PENDING for n in range(4, 10)}},
        ),
        (
            "sacct-array-mixed-by-name",
            {"8_0": ENDED, "8_1": ENDED, "8_2": ENDED, "8_3": RUNNING, **{f"8_{n}": PENDING for n in range(4, 10)}},
        ),
        ("sacct-array-cancelled", {f"8_{number}": ENDED for number in (0, 1, 2, 3, 4, 6, 7, 8, 9)}),
        ("sacct-id-unknown", {}),
        ("sacct-name-unknown", {}),
    ],
)
def test_sacct_when_it_answered_then_each_task_and_its_state(case: str, expected: dict[str, JobState]) -> None:
    rows = parse_sacct(sacct(case))
    assert rows is not None
    assert tasks(rows) == expected


def test_sacct_when_a_user_cancelled_then_the_words_after_it_do_not_matter() -> None:
    rows = parse_sacct(sacct("sacct-array-cancelled")) or []
    assert {row.raw_state for row in rows if row.task == "2"} == {"CANCELLED by 0"}


@pytest.mark.parametrize(
    "case",
    ["sacct-accounting-off", "sacct-name-accounting-off", "sacct-slurmdbd-down", "sacct-option-unknown-in-22.05"],
)
def test_sacct_when_it_does_not_answer_then_none(case: str) -> None:
    assert parse_sacct(recorded(case)) is None


def test_sacct_argv_when_made_then_without_the_option_that_22_05_does_not_know() -> None:
    refused = recorded("sacct-option-unknown-in-22.05")
    (option,) = [word for word in refused.argv if f"'{word}'" in refused.stderr]
    assert option == "--array"
    assert option not in sacct_argv(["crh-a"], "2026-11-22T10:15:00")


@pytest.mark.parametrize("case", ["scontrol-show-config", "scontrol-show-config-accounting-off"])
def test_config_when_asked_then_max_array_size(case: str) -> None:
    assert parse_max_array_size(recorded(case)) == 1001


def test_config_when_the_controller_is_down_then_unreachable() -> None:
    with pytest.raises(Unreachable, match="Unable to contact slurm controller"):
        parse_max_array_size(recorded("scontrol-show-config-controller-down"))


@pytest.mark.parametrize(
    ("case", "words"),
    [
        ("scancel-controller-down", "Unable to contact slurm controller (connect failure)"),
        ("scancel-array-finished-verbose", "Job/step already completing or completed"),
        ("scancel-array", ""),
    ],
)
def test_last_words_when_a_command_failed_then_its_last_line(case: str, words: str) -> None:
    assert words in last_words(recorded(case))
    assert bool(last_words(recorded(case))) is bool(words)
