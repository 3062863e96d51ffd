"""Directories may have any name that the filesystem takes: every command works, and no shell ever sees one.

A survey has one tomodir for each strange name; a second survey lies itself in a directory with such a name.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from conftest import Crh, tree_sums
from crh_batch.demo import write_small_models

NAMES: dict[str, bytes] = {
    "blanks": b"  two  blanks ",
    "quotes": b'it\'s "quoted" `touch ran`',
    "newline": b"first\nsecond",
    "carriage return": b"first\rsecond\x1b[31m",
    "unicode": "Übertiefe–Ω·m–深さ".encode(),
    "dash": b"-j99",
    "dashes": b"--help",
    "command": b"$(touch ran)",
    "variable": b"$HOME;touch ran;#",
    "redirection": b"a>ran<b|c&d",
    "backslash": b"back\\slash\\n",
    "not utf-8": b"t\xe4st\xff",
    "slurm": b"%j%x%A_%a",
    "globs": b"[a-z]*?{b,c}~",
    "percent": b"100%s{0}%(path)s",
    "markup": b"[bold red]td[/] :smiley:",
    "crh": b"td.crh",
    "trailing dots": b"td...",
    "long": b"long" * 60,
}
# Those that arguments and listings are most likely to trip over.
TRICKY = [NAMES[key] for key in ("newline", "dashes", "not utf-8", "crh", "globs")]
RESULT = "mod/volt.dat"


@pytest.fixture
def models(tmp_path: Path) -> list[Path]:
    """As many small models as there are names."""
    root = tmp_path / "models"
    return [root / path for path in write_small_models(root, len(NAMES), data=60, electrodes=16)]


def decoded(name: bytes) -> str:
    """Return a name as Python has it."""
    return os.fsdecode(name)


def assert_no_shell_ran(directory: Path) -> None:
    """Nothing that a name asked a shell to do was done."""
    assert not list(directory.rglob("ran"))


def test_every_command_works_on_every_name(tmp_path: Path, models: list[Path], crh: Crh, programs: Path) -> None:
    survey = tmp_path / "survey"
    survey.mkdir()
    for model, name in zip(models, NAMES.values()):
        shutil.copytree(model, survey / decoded(name))
    inputs = {name: tree_sums(survey / decoded(name)) for name in NAMES.values()}
    names = {decoded(name) for name in NAMES.values()}

    checked = json.loads(crh("check", "--json", cwd=survey).stdout)
    assert {one["path"] for one in checked["tomodirs"]} == names
    assert checked["problems"] == []
    crh("check", cwd=survey)

    crh("submit", "--engine", "local", "-j2", "--wait", cwd=survey)
    status = json.loads(crh("status", "--all", "--json", cwd=survey).stdout)
    assert {one["path"] for one in status["tomodirs"]} == names
    assert status["counts"]["done"] == len(names)
    argv = [sys.executable, "-m", "crh_batch", "status", "--list", "done"]
    listed = subprocess.run(argv, cwd=survey, capture_output=True, check=True).stdout
    assert listed.count(b"\n") == len(names) + sum(name.count(b"\n") for name in NAMES.values())
    for name in NAMES.values():
        assert name + b"\n" in listed
    crh("status", "--all", cwd=survey)
    for path in map(decoded, TRICKY):
        shown = json.loads(crh("show", "--json", "--", path, cwd=survey).stdout)
        assert (shown["path"], shown["state"]) == (path, "done")
    for key in ("newline", "not utf-8", "carriage return"):
        text = crh("show", "--", decoded(NAMES[key]), cwd=survey).stdout
        assert "\x1b" not in text
        assert "CRMod" in crh("log", "--", decoded(NAMES[key]), cwd=survey).stdout

    crh("collect", cwd=survey)
    for name, sums in inputs.items():
        now = tree_sums(survey / decoded(name))
        assert {file: sha256 for file, sha256 in now.items() if file in sums} == sums
        assert RESULT in now, name
    assert not [path for path in survey.glob("*.crh") if path.name != "td.crh"]
    assert_no_shell_ran(tmp_path)
    assert "nothing to do" in crh("run", cwd=survey).stderr


def test_survey_may_have_any_name(tmp_path: Path, models: list[Path], crh: Crh, programs: Path) -> None:
    """The root's path goes to pilots and programs as an argument, to sessions as JSON, to scripts not at all."""
    root = tmp_path.joinpath(*map(decoded, NAMES.values()))
    shutil.copytree(models[0], root / "td")
    done = json.loads(crh("run", "-j1", "--json", "--", "td", cwd=root).stdout)
    (batch,) = done["batches"]
    assert (batch["root"], batch["complete"]) == (str(root), True)
    assert (root / "td" / RESULT).is_file()
    assert not (root / "td.crh").exists()
    crh("status", cwd=root)
    assert_no_shell_ran(tmp_path)


def test_chosen_by_path_or_list_or_expression(tmp_path: Path, models: list[Path], crh: Crh, programs: Path) -> None:
    survey = tmp_path / "survey"
    survey.mkdir()
    for model, name in zip(models, NAMES.values()):
        shutil.copytree(model, survey / decoded(name))

    def planned(*arguments: str) -> set[str]:
        done = crh("check", "--json", *arguments, cwd=survey)
        return {one["path"] for one in json.loads(done.stdout)["tomodirs"]}

    for name in TRICKY:
        assert planned("--", decoded(name)) == {decoded(name)}
    (tmp_path / "by nul").write_bytes(b"\0".join(NAMES.values()) + b"\0")
    assert planned("--from-file", str(tmp_path / "by nul")) == {decoded(name) for name in NAMES.values()}
    by_line = [name for name in NAMES.values() if b"\n" not in name]
    (tmp_path / "by line").write_bytes(b"\n".join(by_line) + b"\n")
    assert planned("--from-file", str(tmp_path / "by line")) == {decoded(name) for name in by_line}
    assert planned("--match", r"^\$\(touch") == {decoded(NAMES["command"])}
    assert planned("--match", "Ω") == {decoded(NAMES["unicode"])}


def test_name_without_room_for_the_registration_is_refused_and_the_others_run(
    tmp_path: Path, models: list[Path], crh: Crh, programs: Path
) -> None:
    survey = tmp_path / "survey"
    shutil.copytree(models[0], survey / ("x" * 253))
    shutil.copytree(models[1], survey / "td")
    done = crh("run", "-j1", cwd=survey, code=1)
    assert "File name too long" in done.stderr
    assert "must leave room for .crh" in done.stderr
    assert (survey / "td" / RESULT).is_file()


@pytest.mark.parametrize(
    "locale", [{"LC_ALL": "C"}, {"LC_ALL": "POSIX", "PYTHONCOERCECLOCALE": "0"}, {"LC_ALL": "C.utf8"}]
)
def test_names_are_the_same_bytes_in_every_locale(
    tmp_path: Path, models: list[Path], crh: Crh, programs: Path, locale: dict[str, str]
) -> None:
    """Compute nodes often have another locale than the login node."""
    survey = tmp_path / "survey"
    survey.mkdir()
    for model, name in zip(models, (NAMES["unicode"], NAMES["not utf-8"])):
        shutil.copytree(model, survey / decoded(name))
    crh("run", "-j1", cwd=survey, env={"LANG": "", **locale})
    for name in (NAMES["unicode"], NAMES["not utf-8"]):
        assert (survey / decoded(name) / RESULT).is_file()
    status = json.loads(crh("status", "--json", cwd=survey).stdout)
    assert status["counts"]["collected"] == 2
