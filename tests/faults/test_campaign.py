"""The random campaign counts what it says it counts; a small one runs here, with another seed each time."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from conftest import Crh
from faults import campaign
from faults.campaign import Figures
from faults.surveys import Survey, batches_in, make_survey, names_in, sorted_problems
from faults.trial import Outcome

TRIALS = 12


def test_small_campaign(place: Path) -> None:
    """Prints its seed, so that what it found can be looked for again."""
    argv = [sys.executable, campaign.__file__, str(TRIALS)]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=250, env={**os.environ, "TMPDIR": str(place)})
    print(done.stdout)
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"| {TRIALS}, " in done.stdout
    kills = int(done.stdout.split("**killed (SIGKILL)** | **")[1].split("**")[0])
    assert kills > TRIALS, "processes were killed"


def test_a_failed_trial_is_kept_and_told(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class BadTrial:
        def __init__(self, seed: int, number: int, directory: Path) -> None:
            self.directory, self.number = directory, number

        def run(self) -> Outcome:
            (self.directory / "evidence").touch()
            problems = [("lost", "td00: no result")] if self.number == 1 else []
            return Outcome(self.number, "2 models", {"pilot": 3}, problems=problems)

    monkeypatch.setattr(campaign, "Trial", BadTrial)
    figures = Figures(seed=1)
    for outcome in campaign.outcomes(1, range(3), place, 2):
        figures.add(outcome)
    assert (figures.trials_with, figures.kills["pilot"]) == (Counter(lost=1), 9)
    assert "| **results lost** | **1** |" in figures.table()
    assert [path.name for path in place.glob("*/evidence")] == ["evidence"]
    assert (place / "1/evidence").exists()


@pytest.fixture
def finished(place: Path, programs: Path, crh: Crh) -> Survey:
    """A survey of two with which all is well."""
    survey = make_survey(place / "survey", 2, programs)
    crh("run", "-j1", cwd=survey.root)
    assert sorted_problems(survey) == []
    return survey


def test_a_lost_result_is_counted(finished: Survey) -> None:
    (finished.root / finished.paths[0] / "mod/volt.dat").unlink()
    assert kinds(finished) == {"lost"}


def test_a_result_of_another_tomodir_is_counted(finished: Survey) -> None:
    first, second = (finished.root / path / "mod/volt.dat" for path in finished.paths)
    shutil.copy(first, second)
    assert kinds(finished) == {"lost"}


def test_a_doubled_commit_is_counted(finished: Survey) -> None:
    """A second batch with the same tomodirs has committed them, too."""
    (batch,) = batches_in(finished.root)
    shutil.copytree(batch, batch.with_name("20991231-000000-copy"), symlinks=True)
    assert "doubled" in kinds(finished)


def test_a_result_that_replaced_another_one_is_counted(finished: Survey) -> None:
    (batch,) = batches_in(finished.root)
    (batch / "replaced/000000/mod").mkdir(parents=True)
    (batch / "replaced/000000/mod/volt.dat").touch()
    assert kinds(finished) == {"doubled"}


def test_a_stuck_tomodir_is_counted(finished: Survey) -> None:
    """As if it had never got further than its claim."""
    for named in names_in(finished.root):
        if named.path == finished.paths[0] and named.mark in ("done", "collected"):
            (named.batch / "names/000" / f"{named.item_id:06d}.{named.mark}").unlink()
    shutil.rmtree(finished.root / finished.paths[0] / "mod")
    assert kinds(finished) == {"stuck"}


@pytest.mark.parametrize("what", ["content", "time", "gone"])
def test_a_changed_input_is_counted(finished: Survey, what: str) -> None:
    path = finished.root / finished.paths[1] / "rho/rho.dat"
    if what == "content":
        path.write_bytes(path.read_bytes() + b" ")
    elif what == "time":
        os.utime(path, (1, 1))
    else:
        path.unlink()
    assert kinds(finished) == {"inputs"}


def test_what_is_left_behind_is_counted(finished: Survey) -> None:
    (finished.root / f"{finished.paths[0]}.crh").write_text("{}")
    assert kinds(finished) == {"left"}


def kinds(survey: Survey) -> set[str]:
    return {problem.kind for problem in sorted_problems(survey)}
