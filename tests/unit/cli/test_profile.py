"""`crh-batch profile` as it is typed, where no scheduler is needed; with one: tests/real/clusters/test_profile.py."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from crh_batch.demo import write_small_models
from unit.cli.conftest import Run

# A Slurm that says what was recorded from a real one, for commands that only ask.
_ASKED = """#!/bin/sh
case "$0 $*" in
*/sinfo*) exec cat "{sites}/slurm-partitions/stdout" ;;
*/scontrol*) exec cat "{sites}/slurm-config/stdout" ;;
*/sacctmgr*) exec cat "{sites}/slurm-associations/stdout" ;;
esac
exit 1
"""


@pytest.fixture
def config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    return tmp_path / "config" / "crh-batch"


@pytest.fixture
def recorded_slurm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sites = Path(__file__).parents[2] / "recorded" / "sites"
    directory = tmp_path / "bin"
    directory.mkdir()
    for name in ("sbatch", "sinfo", "scontrol", "sacctmgr"):
        (directory / name).write_text(_ASKED.format(sites=sites))
        (directory / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{directory}:{os.environ['PATH']}")


def test_init_when_a_name_is_given_then_it_can_be_chosen_and_is_not_overwritten(
    run: Run, config: Path, recorded_slurm: None
) -> None:
    said = run("profile", "init", "big")
    path = config / "profiles" / "big.toml"
    assert said.code == 0 and f"wrote {path}" in said.err and "profile test --profile big" in said.err
    shown = json.loads(run("profile", "show", "--json", "--profile", "big").out)
    assert shown["settings"]["partition"] == "work" and shown["sources"]["partition"] == str(path)
    path.write_text("nice = 5\n")
    said = run("profile", "init", "big")
    assert said.code == 2 and "exists already" in said.err and path.read_text() == "nice = 5\n"
    assert run("profile", "init", "big", "--force").code == 0
    (copy,) = path.parent.glob("big.toml.*")
    assert copy.read_text() == "nice = 5\n" and 'partition = "work"' in path.read_text()
    listed = json.loads(run("profile", "list", "--json").out)
    assert [one["name"] for one in listed["profiles"]] == ["big"], "the copy is no profile"


def test_init_when_output_is_a_dash_then_it_is_printed_and_nothing_is_written(
    run: Run, config: Path, recorded_slurm: None
) -> None:
    said = run("profile", "init", "--output", "-")
    assert said.out.startswith("# Slurm 22.05.8, asked by") and said.err == ""
    assert not config.exists()
    assert run("profile", "init", "big", "--output", "-").code == 2


def test_show_and_list_when_a_survey_names_a_profile_then_it_holds_and_its_source_is_shown(
    run: Run, config: Path, tmp_path: Path
) -> None:
    (config / "profiles").mkdir(parents=True)
    (config / "profiles" / "fast.toml").write_text('qos = "high"\n')
    (tmp_path / "crh-batch.toml").write_text('profile = "fast"\nnice = 7\n')
    lines = run("profile", "show").out.splitlines()
    assert any(line.startswith('qos = "high"') and line.endswith("profiles/fast.toml") for line in lines)
    assert any(line.startswith("nice = 7") and line.endswith("crh-batch.toml") for line in lines)
    listed = run("profile", "list").out
    assert "  fast (holds here): " in listed and "crh-batch.toml: 1 key\n" in listed


@pytest.mark.parametrize("command", ["check", "submit", "run"])
def test_profile_when_a_command_is_given_one_that_is_not_there_then_it_says_so(
    run: Run, config: Path, tmp_path: Path, command: str
) -> None:
    write_small_models(tmp_path / "survey", 1, data=60, electrodes=16)
    said = run(command, "--profile", "nope", cwd=tmp_path / "survey")
    assert said.code == 2 and "nope: there is no profile of this name" in said.err


def test_profile_when_a_command_is_given_a_file_then_it_holds(run: Run, config: Path, tmp_path: Path) -> None:
    write_small_models(tmp_path / "survey", 1, data=60, electrodes=16)
    (tmp_path / "mine.toml").write_text('scheduler = "slurmm"\n')
    said = run("check", "--profile", tmp_path / "mine.toml", cwd=tmp_path / "survey")
    assert said.code == 2 and f"{tmp_path}/mine.toml: scheduler = 'slurmm': not known" in said.err
    assert "Did you mean 'slurm'?" in said.err


def test_test_when_pilots_run_on_this_machine_then_there_is_no_job_to_try(
    run: Run, config: Path, tmp_path: Path
) -> None:
    (tmp_path / "crh-batch.toml").write_text('scheduler = "local"\n')
    said = run("profile", "test")
    assert said.code == 2 and "there is no job to be submitted" in said.err
