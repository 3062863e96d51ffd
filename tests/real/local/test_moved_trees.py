"""A survey under other paths: renamed, mounted elsewhere, reached by links. Paths in the ledger are relative."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import pytest

from conftest import Crh, skip_or_fail, tree_sums, wait_until
from crh_batch.demo import write_small_models
from crh_batch.engines.new_batch import make_batch
from crh_batch.ledger.batch import Batch, batches_of
from crh_batch.ledger.identity import Verdict, verdict_here
from crh_batch.ledger.submissions import read_submissions
from crh_batch.plan.survey import examine
from crh_batch.profile import Profile
from gate import Gate

COUNT = 4


@pytest.fixture
def survey(tmp_path: Path, programs: Path) -> Path:
    """Small models that need a modelling each."""
    write_small_models(tmp_path / "survey", COUNT, data=60, electrodes=16)
    return tmp_path / "survey"


def results(root: Path) -> list[Path]:
    """Return the results that are in place."""
    return sorted(root.glob("*/*/mod/volt.dat"))


def check_all_well(crh: Crh, root: Path, inputs: dict[str, str]) -> None:
    """All is collected, once, from unchanged inputs, and nothing is left over."""
    assert len(results(root)) == COUNT
    now = tree_sums(root, skip=(".crh-batch",))
    assert {name: now.get(name) for name in inputs} == inputs
    assert not list(root.glob("*/*.crh"))
    assert len(list(root.glob(".crh-batch/*/names/*/*.done"))) == COUNT
    counts = json.loads(crh("status", "--json", cwd=root).stdout)["counts"]
    assert counts["collected"] == COUNT


def test_collect_when_the_survey_was_renamed_then_all_is_found(crh: Crh, survey: Path) -> None:
    inputs = tree_sums(survey)
    crh("submit", "-j2", "--wait", cwd=survey)
    moved = survey.rename(survey.with_name("re named\nsurvey"))
    assert "00000/td00001: done" in crh("show", "00000/td00001", cwd=moved).stdout
    assert f"{COUNT} registered already" in crh("check", cwd=moved).stderr
    crh("collect", cwd=moved)
    check_all_well(crh, moved, inputs)


def test_pilot_when_the_survey_is_renamed_meanwhile_then_stops_and_nothing_is_lost(
    crh: Crh, survey: Path, tmp_path: Path, programs: Path
) -> None:
    gate = Gate(tmp_path / "gate", programs)
    (survey / "crh-batch.toml").write_text(gate.profile)
    inputs = tree_sums(survey)
    crh("submit", "-j2", cwd=survey)
    batch = Batch(batches_of(str(survey))[0])
    wait_until("two run", lambda: len(list(Path(batch.paths.names).glob("*/*.claim.001"))) == 2)
    (pilot,) = (one.process for one in read_submissions(batch.paths))
    assert pilot is not None
    moved = survey.rename(tmp_path / "elsewhere")
    # Something new at the old place must not be taken for the survey.
    survey.mkdir()
    gate.open()
    wait_until("the pilot has ended", lambda: verdict_here(pilot) is Verdict.DEAD)
    assert list(survey.iterdir()) == []
    (log,) = moved.glob(".crh-batch/*/logs/*/pilot.out")
    assert str(survey) in log.read_text() and "Traceback" not in log.read_text()
    assert not results(moved)
    crh("run", "-j2", cwd=moved)
    check_all_well(crh, moved, inputs)


@pytest.fixture
def waiting(survey: Path) -> Batch:
    """A batch that no pilot works on yet."""
    found = examine([], str(survey), most_threads=1)
    made = make_batch(str(survey), found.planned, Profile(), lambda batch: None)
    assert made.batch is not None
    return made.batch


def test_pilot_when_its_node_has_the_survey_under_another_path_then_runs_all(
    crh: Crh, survey: Path, waiting: Batch, tmp_path: Path
) -> None:
    if os.geteuid() != 0 or shutil.which("unshare") is None:
        skip_or_fail("only root can mount")
    inputs = {name: value for name, value in tree_sums(survey / "00000").items() if not name.endswith(".crh")}
    inputs = {f"00000/{name}": value for name, value in inputs.items()}
    there = tmp_path / "mounted"
    there.mkdir()
    script = 'mount --bind -- "$0" "$1" && shift && exec "$@"'
    node = ("unshare", "--mount", "sh", "-c", script, str(survey), str(there))
    crh("pilot", there / ".crh-batch" / waiting.batch_id, "-j1", cwd=there, prefix=node)
    crh("collect", cwd=survey)
    check_all_well(crh, survey, inputs)


def test_submit_when_the_survey_is_reached_by_a_link_then_it_is_the_same(crh: Crh, survey: Path) -> None:
    inputs = tree_sums(survey)
    link = survey.with_name("link")
    link.symlink_to(survey)
    crh("submit", "-j2", "--wait", cwd=link)
    assert f"{COUNT} registered already" in crh("check", cwd=survey).stderr
    crh("collect", link, cwd=survey.parent)
    check_all_well(crh, survey, inputs)


def test_submit_when_tomodirs_are_spelled_twice_then_each_is_run_once(crh: Crh, survey: Path) -> None:
    inputs = tree_sums(survey)
    (survey / "again").symlink_to("00000")
    said = crh("run", "-j2", "00000", "./00000/../00000", survey / "00000", "again", cwd=survey, code=None)
    assert "Traceback" not in said.stderr
    (survey / "again").unlink()
    check_all_well(crh, survey, inputs)


def test_submit_when_the_state_directory_is_a_link_then_it_is_refused(crh: Crh, survey: Path, tmp_path: Path) -> None:
    (tmp_path / "state").mkdir()
    (survey / ".crh-batch").symlink_to(tmp_path / "state")
    said = crh("submit", "-j1", cwd=survey, code=3)
    assert "no directory of its own" in said.stderr
    assert not list((tmp_path / "state").iterdir())
