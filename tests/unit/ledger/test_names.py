"""States read from names alone; the table is docs of the protocol in small."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from crh_batch.ledger.names import (
    Failure,
    RetryPolicy,
    State,
    StateName,
    claim_mark,
    fail_mark,
    gather,
    parse_name,
    states,
)
from unit.ledger.making import make_batch, make_item, make_names

THREE = RetryPolicy(charged_attempts=3, walltime_attempts=5)
READY, RUNNING, DONE, FAILED, HELD, WAITING, COLLECTED, MOVED = StateName


def state_of(*marks: str, policy: RetryPolicy = THREE) -> State:
    return gather(f"000017.{mark}" for mark in marks)[17].state(policy)


@pytest.mark.parametrize(
    ("marks", "expected"),
    [
        (["claim.001"], (RUNNING, 1, None)),
        (["claim.001", "done"], (DONE, 1, None)),
        (["claim.001", "done", "collected"], (COLLECTED, 1, None)),
        # Another batch's now, whatever came before or comes after.
        (["fail.001.input", "moved"], (MOVED, 1, None)),
        (["claim.001", "done", "moved"], (MOVED, 1, None)),
        (["moved", "claim.002", "fail.002.crash", "retry.002", "held.001", "collected"], (MOVED, 2, None)),
        # Collected counts even if a listing lacks the rest.
        (["collected"], (COLLECTED, 0, None)),
        (["claim.001", "fail.001.crash"], (READY, 2, "crash")),
        (["claim.001", "fail.001.crash", "claim.002"], (RUNNING, 2, None)),
        (["claim.001", "fail.001.crash", "claim.002", "done"], (DONE, 2, None)),
        # A listing may lack names that are older than others.
        (["claim.002"], (RUNNING, 2, None)),
        (["fail.002.lost"], (READY, 3, "lost")),
        (["fail.001.lost", "claim.002"], (RUNNING, 2, None)),
        # A zombie's success after its claim was declared lost counts, also while another attempt runs.
        (["claim.001", "fail.001.lost", "done"], (DONE, 1, None)),
        (["claim.001", "fail.001.lost", "claim.002", "done"], (DONE, 2, None)),
        # Input and cancelled are final at once.
        (["claim.001", "fail.001.input"], (FAILED, 1, "input")),
        (["claim.001", "fail.001.cancelled"], (FAILED, 1, "cancelled")),
        (["fail.001.crash", "claim.002", "fail.002.input"], (FAILED, 2, "input")),
        # Crash, memory and lost are charged together, to a limit of three.
        (["fail.001.crash", "fail.002.memory"], (READY, 3, "memory")),
        (["fail.001.crash", "fail.002.memory", "fail.003.lost"], (FAILED, 3, "lost")),
        (["fail.001.lost", "fail.002.lost", "fail.003.lost"], (FAILED, 3, "lost")),
        # Walltime and program are not charged.
        (["fail.001.crash", "fail.002.walltime", "fail.003.crash"], (READY, 4, "crash")),
        (["fail.001.crash", "fail.002.walltime", "fail.003.crash", "fail.004.crash"], (FAILED, 4, "crash")),
        (["fail.001.program", "fail.002.program", "fail.003.program", "fail.004.program"], (READY, 5, "program")),
        # Two crashes before do not make a walltime final, nor a program.
        (["fail.001.crash", "fail.002.crash", "fail.003.walltime"], (READY, 4, "walltime")),
        ([f"fail.00{number}.walltime" for number in range(1, 5)], (READY, 5, "walltime")),
        ([f"fail.00{number}.walltime" for number in range(1, 6)], (FAILED, 5, "walltime")),
        # A retry forgives all attempts up to its number.
        (["fail.001.input", "retry.001"], (READY, 2, "input")),
        (["fail.001.input", "retry.001", "claim.002"], (RUNNING, 2, None)),
        (["fail.001.input", "retry.001", "fail.002.input"], (FAILED, 2, "input")),
        (["fail.001.crash", "fail.002.crash", "fail.003.crash", "retry.003", "fail.004.crash"], (READY, 5, "crash")),
        (
            [f"fail.00{number}.crash" for number in range(1, 7)] + ["retry.003"],
            (FAILED, 6, "crash"),
        ),
        (["fail.001.cancelled", "retry.001"], (READY, 2, "cancelled")),
        # It forgives failures and takes no result back.
        (["fail.001.crash", "claim.002", "done", "retry.001"], (DONE, 2, None)),
        # Held if the last held is later than the last release.
        (["held.001"], (HELD, 1, None)),
        (["held.001", "release.001"], (READY, 1, None)),
        (["held.001", "release.001", "held.002"], (HELD, 1, None)),
        (["held.001", "release.002", "held.002"], (READY, 1, None)),
        (["held.001", "claim.001", "fail.001.crash"], (HELD, 2, "crash")),
        # What runs, is over or has failed is not held.
        (["held.001", "claim.001"], (RUNNING, 1, None)),
        (["held.001", "fail.001.input"], (FAILED, 1, "input")),
        (["held.001", "done"], (DONE, 0, None)),
        # Two classes for one attempt: what says most counts; lost, which is a guess from outside, counts least.
        (["fail.001.lost", "fail.001.input"], (FAILED, 1, "input")),
        (["fail.001.lost", "fail.001.crash"], (READY, 2, "crash")),
        (["fail.001.lost", "fail.001.walltime"], (READY, 2, "walltime")),
        (["fail.001.lost", "fail.001.cancelled"], (FAILED, 1, "cancelled")),
        (["fail.001.cancelled", "fail.001.input"], (FAILED, 1, "cancelled")),
        (["fail.001.crash", "fail.001.memory"], (READY, 2, "memory")),
        # A limit counts attempts, not names.
        (["fail.001.lost", "fail.001.crash", "fail.002.lost", "fail.002.crash"], (READY, 3, "crash")),
        (["fail.001.lost", "fail.002.lost", "fail.003.lost", "fail.003.walltime"], (READY, 4, "walltime")),
        # A newer crh-batch's kinds are passed over, a newer class is taken for a crash.
        (["claim.001", "paused.001"], (RUNNING, 1, None)),
        (["claim.001", "fail.001.radiation"], (READY, 2, "crash")),
        (["claim.001", "fail.001"], (READY, 2, "crash")),
        # Attempts beyond three digits.
        (["claim.999", "fail.999.program", "claim.1000"], (RUNNING, 1000, None)),
    ],
)
def test_state_when_these_names_are_there_then_this_state(
    marks: list[str], expected: tuple[StateName, int, str | None]
) -> None:
    name, attempt, failure = expected
    state = state_of(*marks)
    assert (state.name, state.attempt) == (name, attempt)
    assert (state.failure.value if state.failure else None) == failure


def test_state_when_the_policy_allows_one_attempt_then_the_first_crash_is_final() -> None:
    policy = RetryPolicy(charged_attempts=1, walltime_attempts=1)
    assert state_of("fail.001.crash", policy=policy).name is FAILED
    assert state_of("fail.001.walltime", policy=policy).name is FAILED
    assert state_of("fail.001.program", policy=policy).name is READY


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("000017.fail.001.lost", (17, "fail", 1, "lost")),
        ("000017.claim.001", (17, "claim", 1, "")),
        ("000017.done", (17, "done", 0, "")),
        ("999999.retry.012", (999999, "retry", 12, "")),
        ("1000000.done", (1000000, "done", 0, "")),
    ],
)
def test_parse_name_when_it_is_a_name_then_its_parts(text: str, expected: tuple[int, str, int, str]) -> None:
    assert parse_name(text) == expected


@pytest.mark.parametrize(
    "text",
    [
        "",
        ".",
        ".000017.done",
        "000017",
        "000017.",
        "000017.Done",
        "custody.001",
        "custody.001.end",
        ".probe-abcdefgh.symlink",
        "000017.done ",
        "000017.done\n",
        "000017.fail.001.lost.part",
        "-00017.done",
        "000017.fail.x.lost",
        "td07.crh",
        ".nfs0000000000a1b2c3",
    ],
)
def test_parse_name_when_it_is_something_else_then_none(text: str) -> None:
    assert parse_name(text) is None


def test_states_when_a_batch_is_listed_then_each_tomodir_has_its_own(tmp_path: Path) -> None:
    """One listing a thousand tomodirs; those without a name are ready for their first attempt."""
    items = [make_item(number) for number in (0, 1, 2, 999, 1000, 2500)]
    batch = make_batch(tmp_path, items)
    make_names(batch, "0.claim.001", "0.done", "1.claim.001", "999.fail.001.input", "1000.claim.001", "2500.done")
    assert list(states(batch.paths, batch.items.ids, batch.settings)) == [
        (0, State(DONE, 1)),
        (1, State(RUNNING, 1)),
        (2, State(READY, 1)),
        (999, State(FAILED, 1, Failure.INPUT)),
        (1000, State(RUNNING, 1)),
        (2500, State(DONE, 0)),
    ]


def test_states_when_a_shard_is_missing_then_its_tomodirs_are_ready(tmp_path: Path) -> None:
    batch = make_batch(tmp_path, 2)
    os.rmdir(batch.paths.shard(0))
    assert list(states(batch.paths, [0, 1], batch.settings)) == [(0, State(READY, 1)), (1, State(READY, 1))]


def test_marks_when_written_then_the_protocol_spells_them_so() -> None:
    assert (claim_mark(1), claim_mark(12), claim_mark(1000)) == ("claim.001", "claim.012", "claim.1000")
    assert fail_mark(12, Failure.WALLTIME) == "fail.012.walltime"
    assert [failure.value for failure in Failure] == [
        "input",
        "crash",
        "memory",
        "walltime",
        "toolong",
        "program",
        "lost",
        "cancelled",
    ]


@pytest.mark.parametrize(
    ("names", "state", "failures"),
    [
        ("claim.001 fail.001.memory", READY, 1),
        ("claim.001 fail.001.memory claim.002 fail.002.crash", READY, 1),
        ("claim.001 fail.001.memory claim.002 fail.002.memory", READY, 2),
        ("claim.001 fail.001.memory claim.002 fail.002.memory claim.003 fail.003.memory", FAILED, 3),
        ("claim.001 fail.001.memory retry.001", READY, 0),
        ("claim.001 fail.001.memory retry.001 claim.002 fail.002.memory", READY, 1),
        # Called lost, then its own session said why.
        ("claim.001 fail.001.lost fail.001.memory", READY, 1),
    ],
)
def test_state_when_attempts_ran_out_of_memory_then_they_are_counted_since_the_last_retry(
    names: str, state: StateName, failures: int
) -> None:
    found = gather(f"000007.{name}" for name in names.split())[7].state(RetryPolicy())
    assert (found.name, found.memory_failures) == (state, failures)


def test_state_when_a_whole_job_was_not_enough_then_it_has_failed_at_once_until_a_retry() -> None:
    names = ["000007.claim.001", "000007.fail.001.toolong"]
    assert gather(names)[7].state(RetryPolicy()) == State(FAILED, 1, Failure.TOO_LONG)
    assert gather([*names, "000007.retry.001"])[7].state(RetryPolicy()).name is READY
