"""--select, --count, --group, --priority, --deadline, as a user types them."""

from __future__ import annotations

import contextlib
import json
import os
import pty
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from conftest import Crh
from crh_batch.demo import write_small_models
from crh_batch.engines.history_file import history_path
from crh_batch.ledger.batch import Batch, batches_of
from unit.cli.conftest import Run

pytestmark = pytest.mark.usefixtures("no_scheduler")


@pytest.fixture
def survey(tmp_path: Path) -> Path:
    root = tmp_path / "survey"
    write_small_models(root, 6, data=60, electrodes=16)
    return root


def check(run: Run, survey: Path, *arguments: str) -> dict[str, Any]:
    said = run("check", "--json", *arguments, cwd=survey)
    assert said.code == 0, said
    answer: dict[str, Any] = json.loads(said.out)
    return answer


def numbers(run: Run, survey: Path, *arguments: str) -> list[int]:
    return [one["number"] for one in check(run, survey, *arguments)["tomodirs"]]


def test_select_when_numbers_are_given_then_those_of_the_list(run: Run, survey: Path) -> None:
    assert numbers(run, survey) == [0, 1, 2, 3, 4, 5]
    assert numbers(run, survey, "--select", "1:3,-1") == [1, 2, 5]
    assert numbers(run, survey, "--select", "::2", "--count", "2") == [0, 2]
    assert numbers(run, survey, "--match", "td0000[345]", "--select", "0") == [0], "of those that match"


@pytest.mark.parametrize(
    "arguments",
    [
        ["--select", "a"],
        ["--select", "6"],
        ["--group", "a b"],
        ["--priority", "high"],
        ["--deadline", "yesterday"],
        ["--count", "0"],
        ["--max-time", "0"],
    ],
)
def test_options_when_they_are_wrong_then_two_and_what_may_stand_there(
    run: Run, survey: Path, arguments: list[str]
) -> None:
    said = run("check", *arguments, cwd=survey)
    assert said.code == 2
    assert arguments[0] in said.err


def test_numbers_when_some_are_finished_or_registered_then_they_stay_the_same(
    run: Run, survey: Path, crh: Crh, programs: Path
) -> None:
    crh("run", "--select", "0:2", "-j1", cwd=survey)
    answer = check(run, survey)
    assert {one["number"]: bool(one["stages"]) for one in answer["tomodirs"]} == {
        0: False, 1: False, 2: True, 3: True, 4: True, 5: True,
    }  # fmt: skip
    assert numbers(run, survey, "--select", "2:4") == [2, 3]


def test_run_when_wishes_are_given_then_they_stand_in_the_batch(survey: Path, crh: Crh, programs: Path) -> None:
    wishes = ["--group", "g1", "--priority", "td00003=7", "--deadline", "+2h", "--max-time", "30", "--reverse"]
    crh("run", "-j1", *wishes, cwd=survey)
    batch = Batch(batches_of(str(survey))[-1])
    assert {item.group for item in batch.items} == {"g1"}
    assert next(iter(batch.items)).path.endswith("td00003")
    assert [item.path[-1] for item in batch.items] == ["3", "5", "4", "2", "1", "0"], "equal ones: the last path first"
    assert batch.settings.max_time_s == 1800
    assert batch.settings.deadline > 0


def test_check_when_there_is_a_deadline_then_how_much_is_done_by_then(run: Run, survey: Path) -> None:
    expected = check(run, survey, "--deadline", "+1h", "-j", "2")["expected"]
    assert (expected["done_by_deadline"], expected["cores"]) == (6, 2)
    assert expected["makespan_s"] >= expected["lower_bound_s"] > 0
    said = run("check", "--deadline", "+1h", cwd=survey)
    assert "about 6 of 6" in said.err


def test_history_when_batches_were_collected_then_check_says_how_far_off_it_was(
    run: Run, survey: Path, crh: Crh, programs: Path
) -> None:
    assert check(run, survey)["past_estimates"] is None
    crh("run", "-j1", cwd=survey)
    answer = json.loads(run("history", "--json", cwd=survey).out)
    assert answer["runs"] == 6
    assert answer["past_estimates"]["worst_factor"] >= answer["past_estimates"]["median_factor"] >= 1
    assert "past estimates were off by a factor of" in run("check", cwd=survey).err
    history_path().unlink()
    assert json.loads(run("history", "--json", cwd=survey).out)["runs"] == 0
    assert json.loads(run("history", "--json", "--rebuild", cwd=survey.parent).out)["runs"] == 6


@pytest.mark.timeout(90)
@pytest.mark.parametrize(("answer", "code"), [(b"n\n", 1), (b"y\n", 0), (b"\n", 0)])
def test_run_when_on_a_terminal_then_it_asks_first(programs: Path, survey: Path, answer: bytes, code: int) -> None:
    """As td_run_all_local does; elsewhere nobody could answer."""
    ours, theirs = pty.openpty()
    argv = [sys.executable, "-m", "crh_batch", "run", "-j1", "--select", "0"]
    process = subprocess.Popen(argv, cwd=survey, stdin=theirs, stderr=theirs, stdout=subprocess.DEVNULL)
    os.close(theirs)
    try:
        said = b""
        while b"[Y/n]: " not in said:
            said += os.read(ours, 1024)
        assert b"Run 1 tomodir on 1 core" in said
        os.write(ours, answer)
        with contextlib.suppress(OSError):
            # Until the other side is closed, for a full terminal would hold the command up.
            while os.read(ours, 1024):
                pass
        assert process.wait(60) == code
    finally:
        process.kill()
        process.wait()
        os.close(ours)
    assert bool(batches_of(str(survey))) is (code == 0)
