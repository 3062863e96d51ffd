"""Promise: prune removes nothing that anybody may still need, says why it keeps the rest, and nothing without --yes."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click
import pytest

from conftest import Crh, tree_sums
from crh_batch.demo import write_small_models
from crh_batch.engines.history_file import history_path
from crh_batch.ledger.custody import custody_of
from crh_batch.ledger.identity import this_process
from crh_batch.ledger.session import Session
from crh_batch.ledger.submissions import record_intent, record_started
from real.local.verifying import Hurt, Verify, by_command

Prune = Callable[..., dict[str, Any]]


@pytest.fixture(scope="module")
def collected_once(tmp_path_factory: pytest.TempPathFactory, programs: Path) -> Path:
    """Three models, run and collected by the real commands."""
    base = tmp_path_factory.mktemp("prune")
    write_small_models(base / "survey", 3, data=60, electrodes=16)
    surroundings = {**os.environ, "XDG_STATE_HOME": str(base), "XDG_CONFIG_HOME": str(base)}
    argv = (sys.executable, "-m", "crh_batch", "run", "-j1")
    subprocess.run(argv, cwd=base / "survey", env=surroundings, capture_output=True, check=True)
    return base / "survey"


@pytest.fixture
def survey(collected_once: Path, tmp_path: Path) -> Hurt:
    shutil.copytree(collected_once, tmp_path / "survey", symlinks=True)
    return Hurt(tmp_path / "survey")


@pytest.fixture
def prune(capfd: pytest.CaptureFixture[str]) -> Prune:
    """Run prune in a survey, in this process, and return what it says of its only batch."""

    def run(survey: Hurt, *arguments: str, code: int = 0) -> dict[str, Any]:
        capfd.readouterr()
        assert by_command("prune", "--json", *arguments, place=survey.root) == code
        (batch,) = json.loads(capfd.readouterr().out)["batches"]
        return dict(batch)

    return run


def test_prune_when_all_is_collected_then_it_is_removed_with_yes_alone(
    survey: Hurt, prune: Prune, verify: Verify
) -> None:
    tomodirs = {path: tree_sums(survey.root / path) for path in survey.paths}
    everything = tree_sums(survey.root)
    said = prune(survey)
    assert said["kept"] == [] and said["tomodirs"] == 3
    listed = list(survey.directory.rglob("*"))
    assert said["files"] == len(listed) + 1
    assert said["bytes"] == sum(one.lstat().st_size for one in listed if one.is_symlink() or one.is_file())
    assert tree_sums(survey.root) == everything, "a dry run"

    assert prune(survey, "--yes")["kept"] == []
    assert os.listdir(survey.directory.parent) == []
    assert {path: tree_sums(survey.root / path) for path in survey.paths} == tomodirs
    assert (verify(survey.root).code, verify(survey.root).odd) == (0, {})


def test_prune_when_done_then_the_history_keeps_what_runs_took(survey: Hurt, prune: Prune) -> None:
    assert not history_path().exists()
    prune(survey, "--yes")
    assert survey.directory.name in history_path().read_text()


def _flip_result(survey: Hurt) -> None:
    path = survey.tomodir(0) / "mod/volt.dat"
    path.write_bytes(path.read_bytes()[:-2] + b"9\n")


def _uncollect(survey: Hurt) -> None:
    survey.name(0, "collected").unlink()


def _fail(survey: Hurt, failure: str) -> None:
    survey.name(0, "collected").unlink()
    survey.name(0, "done").rename(survey.name(0, f"fail.001.{failure}"))


def _register(survey: Hurt) -> None:
    batch_dir = os.path.relpath(survey.directory, survey.crh(0).parent)
    said = {"schema": 1, "batch": survey.batch.batch_id, "id": 0, "registrant": {}, "batch_dir": batch_dir}
    survey.crh(0).write_text(json.dumps(said))


def _pilot_lives(survey: Hurt) -> None:
    paths = survey.batch.paths
    record_started(paths, record_intent(paths, "local", 0, 1), this_process())


def _silent_scheduler(survey: Hurt) -> None:
    record_intent(survey.batch.paths, "slurm", 1, 1)


def _replaced(survey: Hurt) -> None:
    (survey.directory / "replaced/000000/mod").mkdir(parents=True)
    (survey.directory / "replaced/000000/mod/volt.dat").write_text("old")


def _older_result(survey: Hurt) -> None:
    """The tomodir holds a result of an earlier batch: somebody put it back from a backup."""
    path = survey.tomodir(0) / "exe/crh.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "batch": "20200101-000000-aaaa"}))


REASONS: dict[str, tuple[Callable[[Hurt], object], str]] = {
    "result changed": (_flip_result, "1 result not in place as collected"),
    "result gone": (lambda s: (s.tomodir(0) / "mod/volt.dat").unlink(), "1 result not in place as collected"),
    "any file of it gone": (lambda s: (s.tomodir(0) / "exe/crh.json").unlink(), "1 result not in place as collected"),
    "tomodir gone": (lambda s: shutil.rmtree(s.tomodir(0)), "1 result not in place as collected"),
    "older result": (_older_result, "1 result not in place as collected"),
    "not collected": (_uncollect, "1 tomodir finished and not collected"),
    "failed": (lambda s: _fail(s, "input"), "1 tomodir failed"),
    "ready": (lambda s: _fail(s, "walltime"), "1 tomodir ready"),
    "registered": (_register, "1 .crh file of it left"),
    "pilot": (_pilot_lives, "pilots of it live"),
    "silent scheduler": (_silent_scheduler, "whether pilots of it live is not known"),
    "replaced": (_replaced, "1 old output of yours in replaced/"),
    "foreign": (lambda s: (s.directory / "notes.txt").write_text("mine"), "what crh-batch did not make: notes.txt"),
    "writable by others": (lambda s: s.directory.chmod(0o777), "everybody may"),
    "damaged": (lambda s: (s.directory / "items.jsonl").write_text("{"), "damaged"),
}


@pytest.mark.parametrize("name", REASONS)
def test_prune_when_something_may_be_needed_then_it_is_kept_and_it_says_why(
    survey: Hurt, prune: Prune, name: str
) -> None:
    plant, reason = REASONS[name]
    plant(survey)
    before = tree_sums(survey.root)
    said = prune(survey, "--yes")
    assert any(reason in why for why in said["kept"]), said
    assert tree_sums(survey.root) == before


def test_prune_when_a_failed_one_was_given_up_then_it_goes_if_the_user_says_so(survey: Hurt, prune: Prune) -> None:
    _fail(survey, "input")
    assert "--failed" in prune(survey)["kept"][0]
    assert prune(survey, "--failed")["kept"] == []
    _register(survey)
    assert "1 .crh file of it left" in prune(survey, "--failed", "--yes")["kept"][0], "it was not given up"
    assert survey.directory.exists()
    survey.crh(0).unlink()
    prune(survey, "--failed", "--yes")
    assert not survey.directory.exists()


def test_prune_when_another_client_is_at_work_then_it_is_kept(survey: Hurt, prune: Prune) -> None:
    with custody_of(survey.batch):
        assert "a client is at work" in prune(survey, "--yes")["kept"][0]
    assert prune(survey, "--yes")["kept"] == []


def test_prune_when_a_newer_batch_has_put_its_result_there_then_the_older_one_may_go(
    survey: Hurt, prune: Prune
) -> None:
    path = survey.tomodir(0) / "exe/crh.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "batch": "20990101-000000-zzzz"}))
    assert prune(survey)["kept"] == []


@pytest.mark.parametrize("failure", ["cancelled"])
def test_prune_when_a_tomodir_was_cancelled_or_moved_then_it_may_go(survey: Hurt, prune: Prune, failure: str) -> None:
    _fail(survey, failure)
    os.symlink("../../sessions/x.crh", survey.name(1, "moved"))
    assert prune(survey)["kept"] == []


def test_prune_when_old_outputs_are_asked_for_then_they_go_too(survey: Hurt, prune: Prune) -> None:
    _replaced(survey)
    assert prune(survey, "--replaced", "--yes")["kept"] == []
    assert not survey.directory.exists()


def test_prune_when_too_young_then_it_is_kept_and_looking_makes_it_no_younger(survey: Hurt, prune: Prune) -> None:
    assert prune(survey, "--older-than", "1d", "--yes")["kept"] == ["it is younger than that"]
    long_ago = time.time() - 2 * 86400
    for place in [survey.directory, *survey.directory.rglob("*")]:
        os.utime(place, (long_ago, long_ago), follow_symlinks=False)
    _replaced(survey)
    assert prune(survey, "--older-than", "36h", "--yes")["kept"] != []
    Session.begin(survey.batch.paths, "client").close()
    with custody_of(survey.batch):
        pass
    assert "younger" not in str(prune(survey, "--older-than", "36h")["kept"])
    assert prune(survey, "--older-than", "3d")["kept"] == ["it is younger than that"]


@pytest.mark.parametrize("text", ["30", "d", "-1d", "1y", "1 d"])
def test_prune_when_the_age_is_none_then_it_says_so(survey: Hurt, text: str) -> None:
    assert by_command("prune", "--older-than", text, place=survey.root) == 2


def test_prune_when_a_link_stands_in_the_batch_then_what_it_leads_to_stays(survey: Hurt, prune: Prune) -> None:
    outside = survey.root.parent / "outside"
    outside.mkdir()
    (outside / "precious").write_text("mine")
    (survey.directory / "logs/link").symlink_to(outside)
    prune(survey, "--yes")
    assert not survey.directory.exists()
    assert (outside / "precious").read_text() == "mine"


def test_prune_when_the_batch_is_a_link_then_it_is_kept(survey: Hurt, prune: Prune) -> None:
    away = survey.root.parent / "away"
    survey.directory.rename(away)
    survey.directory.symlink_to(away)
    assert "symbolic link" in prune(survey, "--yes")["kept"][0]
    assert (away / "items.jsonl").exists()


def test_prune_when_it_died_amid_removing_then_the_next_one_and_verify_finish_it(
    survey: Hurt, prune: Prune, verify: Verify, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    def die(path: str) -> None:
        os.remove(os.path.join(path, "batch.json"))
        raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(click.Abort):
        patch.setattr("crh_batch.ledger.removal.shutil.rmtree", die)
        by_command("prune", "--yes", place=survey.root)
    (left,) = survey.directory.parent.iterdir()
    assert left.name == f".pruned-{survey.directory.name}"
    assert verify(survey.root).odd == {"prune-left-over": [f".crh-batch/{left.name}"]}
    capfd.readouterr()
    assert by_command("prune", place=survey.root) == 0
    assert "would remove what an earlier prune has left" in capfd.readouterr().out
    assert left.exists()
    assert by_command("prune", "--yes", place=survey.root) == 0
    assert not left.exists()


def test_prune_packs_when_the_batch_is_kept_then_spent_packs_go_and_all_else_works(
    survey: Hurt, prune: Prune, verify: Verify, crh: Crh
) -> None:
    _replaced(survey)
    size = sum(path.stat().st_size for path in (survey.directory / "packs").iterdir())
    said = prune(survey, "--packs")
    assert (len(said["packs"]), said["bytes"]) == (1, size)
    prune(survey, "--packs", "--yes")
    assert list((survey.directory / "packs").iterdir()) == []
    assert verify(survey, "--deep").odd == {}
    assert "3" in crh("status", cwd=survey.root).stdout
    crh("report", cwd=survey.root)
    assert prune(survey, "--replaced", "--yes")["kept"] == []


@pytest.mark.parametrize("plant", [_flip_result, _uncollect, lambda survey: _fail(survey, "input")])
def test_prune_packs_when_one_result_of_a_pack_may_be_needed_then_it_stays(
    survey: Hurt, prune: Prune, plant: Callable[[Hurt], object]
) -> None:
    plant(survey)
    assert prune(survey, "--packs", "--yes")["packs"] == []
    assert list((survey.directory / "packs").iterdir())
