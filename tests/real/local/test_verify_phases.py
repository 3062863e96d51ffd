"""Promise: verify says nothing of a batch that is well, whatever phase it is in, also while pilots and clients work."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from conftest import Crh
from crh_batch.demo import write_small_models, write_time_lapse
from crh_batch.engines.new_batch import make_batch
from crh_batch.ledger import durable
from crh_batch.ledger.batch import batches_of
from crh_batch.plan.dependencies import link
from crh_batch.plan.survey import examine
from crh_batch.profile_files import load_profile
from real.local.verifying import Hurt, Verify


def begun(crh: Crh, root: Path, *arguments: str) -> subprocess.Popen[bytes]:
    """Start a command that is looked at while it works."""
    return subprocess.Popen(
        [sys.executable, "-m", "crh_batch", *arguments],
        cwd=root,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )


def nothing_is_odd(verify: Verify, root: Path, *arguments: str) -> int:
    """Look once; return how many tomodirs there are."""
    said = verify(root, *arguments)
    assert (said.code, said.odd) == (0, {}), said.words()
    return int(said.parts[0].get("tomodirs", 0))


def counts(crh: Crh, root: Path) -> dict[str, int]:
    found: dict[str, int] = json.loads(crh("status", "--json", cwd=root, code=None).stdout)["counts"]
    return {state: number for state, number in found.items() if number}


@pytest.mark.parametrize("links", [durable.SYMLINK, durable.FILE])
def test_verify_while_pilots_and_clients_work_says_nothing(
    verify: Verify, crh: Crh, tmp_path: Path, programs: Path, monkeypatch: pytest.MonkeyPatch, links: str
) -> None:
    root = tmp_path / "survey"
    write_small_models(root, 24, data=60, electrodes=16)
    monkeypatch.setattr(durable, "find_link_kind", lambda directory: links)
    survey = examine([], str(root), most_threads=1)
    batch = make_batch(str(root), survey.planned, load_profile(str(root)), lambda batch: None).batch
    assert batch is not None
    pilots = [begun(crh, root, "pilot", batch.paths.directory, "-j1") for _ in range(2)]
    looks = 0
    while any(pilot.poll() is None for pilot in pilots):
        assert nothing_is_odd(verify, root) == 24
        looks += 1
    assert looks > 1
    assert nothing_is_odd(verify, root, "--deep") == 24
    collect = begun(crh, root, "collect")
    while collect.poll() is None:
        nothing_is_odd(verify, root, "--deep")
    assert counts(crh, root) == {"collected": 24}
    assert nothing_is_odd(verify, root, "--deep") == 24


def test_verify_when_a_batch_is_made_just_now_then_it_says_nothing(
    verify: Verify, crh: Crh, tmp_path: Path, programs: Path
) -> None:
    root = tmp_path / "survey"
    write_small_models(root, 300, data=60, electrodes=16)
    (root / ".crh-batch").mkdir()
    submit = begun(crh, root, "submit", "--engine", "local", "-j1")
    while submit.poll() is None:
        said = verify(root)
        # Before its client has custody nothing tells whose the directory is; that takes a moment.
        assert set(said.odd) <= {"batch-half-made"} and not said.fixable, said.words()
    crh("cancel", cwd=root)


def test_verify_when_held_cancelled_retried_failed_or_moved_then_it_says_nothing(
    verify: Verify, crh: Crh, tmp_path: Path, programs: Path
) -> None:
    root = tmp_path / "survey"
    crh("demo", root, "-n", "1", "--with-broken", cwd=tmp_path)
    crh("submit", "--engine", "local", "-j1", "--wait", cwd=root, code=1)
    assert counts(crh, root) == {"done": 1, "failed": 1}
    nothing_is_odd(verify, root, "--deep")
    crh("collect", cwd=root, code=1)
    nothing_is_odd(verify, root, "--deep")
    crh("hold", cwd=root)
    crh("retry", cwd=root)
    assert counts(crh, root) == {"collected": 1, "held": 1}
    nothing_is_odd(verify, root)
    crh("release", cwd=root)
    nothing_is_odd(verify, root)
    crh("run", "-j1", cwd=root, code=1)
    # A second batch takes it over.
    crh("run", "-j1", "--force", cwd=root, code=1)
    assert len(batches_of(str(root))) == 2
    nothing_is_odd(verify, root, "--all", "--deep")
    write_small_models(root / "more", 2, data=60, electrodes=16)
    survey = examine(["more"], str(root), most_threads=1)
    make_batch(str(root), survey.planned, load_profile(str(root)), lambda batch: None)
    crh("cancel", cwd=root)
    nothing_is_odd(verify, root, "--all")


def test_verify_of_a_chain_says_nothing_before_and_after_each_step(
    verify: Verify, crh: Crh, tmp_path: Path, programs: Path
) -> None:
    root = tmp_path / "survey"
    write_time_lapse(root, 3)
    survey = examine([], str(root), most_threads=1)
    link(survey, 1)
    batch = make_batch(str(root), survey.planned, load_profile(str(root)), lambda batch: None).batch
    assert batch is not None
    assert nothing_is_odd(verify, root) == 3
    pilot = begun(crh, root, "pilot", batch.paths.directory, "-j1")
    while pilot.poll() is None:
        nothing_is_odd(verify, root)
    assert counts(crh, root) == {"done": 3}
    nothing_is_odd(verify, root, "--deep")
    crh("collect", cwd=root)
    nothing_is_odd(verify, root, "--deep")


def test_verify_of_a_survey_that_was_moved_as_a_whole_says_nothing(
    verify: Verify, crh: Crh, tmp_path: Path, programs: Path
) -> None:
    root = tmp_path / "survey"
    write_small_models(root, 2, data=60, electrodes=16)
    crh("submit", "--engine", "local", "-j1", "--wait", cwd=root)
    shutil.move(root, tmp_path / "moved to")
    moved = Hurt(tmp_path / "moved to")
    assert nothing_is_odd(verify, moved.root, "--deep") == 2
    (moved.root / "link").symlink_to(moved.root / "00000")
    nothing_is_odd(verify, moved.root)
