"""The command line itself: help, errors, exit codes, and what it loads."""

from __future__ import annotations

import errno
import json
import os
import subprocess
import sys
from pathlib import Path

import click
import pytest

import crh_batch
from crh_batch.cli.group import COMMANDS, cli
from crh_batch.demo import write_small_models
from crh_batch.errors import SchedulerError, TomodirError
from unit.cli.conftest import Run
from unit.ledger.making import begin, make_batch, make_item, make_names

pytestmark = pytest.mark.usefixtures("no_scheduler")


@pytest.fixture
def survey(tmp_path: Path) -> Path:
    root = tmp_path / "survey"
    write_small_models(root, 3, data=60, electrodes=16)
    return root


@pytest.mark.parametrize("name", sorted(COMMANDS))
@pytest.mark.parametrize("option", ["--help", "-h"])
def test_help_when_asked_of_a_command_then_it_says_what_it_does(run: Run, name: str, option: str) -> None:
    said = run(name, option)
    assert (said.code, said.err) == (0, "")
    assert said.out.startswith(f"Usage: crh-batch {name}") or f" {name} " in said.out.splitlines()[0]


@pytest.mark.parametrize("name", sorted(COMMANDS))
def test_help_when_a_command_has_options_then_each_says_what_it_is_for(name: str) -> None:
    command = cli.get_command(click.Context(cli), name)
    assert command is not None and command.help
    for parameter in command.params:
        if isinstance(parameter, click.Option):
            assert parameter.help and parameter.help.endswith((".", ")")), (name, parameter.name)


def test_help_when_asked_of_the_whole_then_every_command_with_a_line(run: Run) -> None:
    said = run("--help")
    assert said.code == 0
    for name in COMMANDS:
        assert any(line.split()[:1] == [name] and len(line.split()) > 2 for line in said.out.splitlines()), name
    assert "Exit codes:" in said.out


def test_version_when_asked_then_that_of_the_package(run: Run) -> None:
    said = run("--version")
    assert said.code == 0
    assert crh_batch.__version__ in said.out


@pytest.mark.parametrize(
    "arguments",
    [["no-such-command"], ["status", "--no-such-option"], ["status", "a", "b"], ["submit", "--max-pilots=0"]],
)
def test_usage_when_it_is_wrong_then_two_and_a_way_to_help(run: Run, arguments: list[str]) -> None:
    said = run(*arguments)
    assert said.code == 2
    assert said.out == ""
    assert "--help" in said.err
    assert "Traceback" not in said.err


@pytest.mark.parametrize(
    "arguments",
    [
        ["status"],
        ["status", "20260101-000000-none"],
        ["status", "/no/such/place"],
        ["wait"],
        ["wait", "20260101-000000-none"],
        ["collect"],
        ["collect", "20260101-000000-none"],
        ["cancel", "20260101-000000-none"],
        ["retry", "20260101-000000-none"],
        ["show", "td07"],
        ["log", "td07"],
        ["pilot", "20260101-000000-none"],
    ],
)
def test_batch_when_it_is_unknown_then_two_and_what_to_do(run: Run, tmp_path: Path, arguments: list[str]) -> None:
    said = run(*arguments, cwd=tmp_path)
    assert said.code == 2
    assert said.out == ""
    first, second, *_ = said.err.splitlines()
    assert first.startswith("crh-batch: ")
    assert "batch" in first
    assert second.startswith("  ")
    assert "Traceback" not in said.err


def test_profile_when_a_key_is_misspelt_then_two_and_the_nearest_is_named(run: Run, survey: Path) -> None:
    (survey / "crh-batch.toml").write_text('patrition = "work"\n')
    for command in ("check", "submit", "run"):
        said = run(command, cwd=survey)
        assert said.code == 2
        assert "unknown key patrition" in said.err and "Did you mean partition?" in said.err
    assert not (survey / ".crh-batch").exists()


def test_check_when_all_can_run_then_zero_and_nothing_is_changed(run: Run, survey: Path) -> None:
    before = sorted(survey.rglob("*"))
    said = run("check", cwd=survey)
    assert said.code == 0
    assert "00000/td00002" in said.out
    assert "3 to run" in said.err
    assert sorted(survey.rglob("*")) == before


def test_check_when_one_cannot_run_then_one_and_why(run: Run, survey: Path) -> None:
    (survey / "00000/td00001/grid/elem.dat").unlink()
    said = run("check", "--json", cwd=survey)
    assert said.code == 1
    data = json.loads(said.out)
    assert [one["path"] for one in data["tomodirs"]] == ["00000/td00000", "00000/td00002"]
    ((problem),) = data["problems"]
    assert problem["path"] == "00000/td00001" and "elem.dat" in problem["error"]


def test_submit_when_it_is_a_dry_run_then_sizes_are_said_and_nothing_is_changed(run: Run, survey: Path) -> None:
    before = sorted(survey.rglob("*"))
    said = run("submit", "--dry-run", "--json", cwd=survey)
    assert said.code == 0
    data = json.loads(said.out)
    assert data["engine"] == "local"
    assert [(one["threads"], one["tomodirs"], one["pilots"]) for one in data["arrays"]] == [(1, 3, 1)]
    assert sorted(survey.rglob("*")) == before


EVIL = "td\x1b]0;owned\x07\n\u202e[bold]"
ESCAPED = "td\\x1b]0;owned\\x07\\n\\u202e[bold]"


def test_names_when_they_hold_what_a_terminal_acts_on_then_they_are_shown_escaped(run: Run, survey: Path) -> None:
    os.rename(survey / "00000/td00001", survey / "00000" / EVIL)
    (survey / "00000/td00002/grid/elem.dat").unlink()
    os.rename(survey / "00000/td00002", survey / "00000" / ("broken" + EVIL))
    said = run("check", cwd=survey)
    for text in (said.out, said.err):
        assert "\x1b" not in text and "\x07" not in text and "\u202e" not in text
    assert ESCAPED in said.out
    assert "broken" + ESCAPED in said.err


def test_errors_when_an_argument_holds_what_a_terminal_acts_on_then_it_is_shown_escaped(
    run: Run, tmp_path: Path
) -> None:
    said = run("show", EVIL, cwd=tmp_path)
    assert said.code == 2
    assert "\x1b" not in said.err and "\x07" not in said.err
    assert "\\x1b]0;owned\\x07" in said.err


def test_status_when_paths_hold_what_a_terminal_acts_on_then_they_are_shown_escaped(run: Run, tmp_path: Path) -> None:
    batch = make_batch(tmp_path, [make_item(0, EVIL)])
    session = begin(batch)
    session.append("fail", id=0, attempt=1, failure="input", error=f"why {EVIL}", stages=[])
    session.win(0, "fail.001.input", "symlink")
    said = run("status", cwd=tmp_path)
    assert said.code == 1
    assert "\x1b" not in said.out + said.err
    assert ESCAPED in said.out
    assert run("status", "--list", "failed", cwd=tmp_path).out == EVIL + "\n", "a script wants the name itself"


def test_status_when_a_batch_is_there_then_counts_and_zero(run: Run, tmp_path: Path) -> None:
    batch = make_batch(tmp_path, 3)
    make_names(batch, "0.done", "1.done", "1.collected")
    said = run("status", "--json", cwd=tmp_path)
    assert said.code == 0
    data = json.loads(said.out)
    assert (data["batch"], data["counts"]["done"], data["counts"]["collected"], data["counts"]["ready"]) == (
        batch.batch_id,
        1,
        1,
        1,
    )


def run_in_group(run: Run, monkeypatch: pytest.MonkeyPatch, error: BaseException) -> tuple[int, str]:
    def fail(*arguments: object, **keywords: object) -> int:
        raise error

    monkeypatch.setattr(cli, "main", fail)
    said = run("status")
    assert said.out == ""
    return said.code, said.err


@pytest.mark.parametrize(
    ("error", "code", "words"),
    [
        (TomodirError("td07: wrong", "Mend it."), 1, "crh-batch: td07: wrong\n  Mend it.\n"),
        (SchedulerError("squeue failed", "Try again."), 3, "crh-batch: squeue failed\n  Try again.\n"),
        (OSError(errno.ENOSPC, "No space left on device", "/s/x"), 3, "crh-batch: /s/x: No space left on device\n"),
        (OSError("something odd"), 3, "crh-batch: something odd\n"),
        (KeyboardInterrupt(), 130, "crh-batch: interrupted"),
        (click.Abort(), 130, "crh-batch: interrupted"),
        (click.UsageError("not so"), 2, "not so"),
    ],
)
def test_main_when_a_command_ends_with_an_error_then_its_words_once_and_its_code(
    run: Run, monkeypatch: pytest.MonkeyPatch, error: BaseException, code: int, words: str
) -> None:
    found, said = run_in_group(run, monkeypatch, error)
    assert found == code
    assert said.count(words.strip()) == 1


def test_main_when_a_fault_of_the_program_comes_then_it_is_not_hidden(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(ZeroDivisionError):
        run_in_group(run, monkeypatch, ZeroDivisionError())


def test_main_when_the_reader_goes_away_then_it_ends_quietly(tmp_path: Path) -> None:
    """As ``crh-batch status | head -1`` does it; click ends with 1 then."""
    reading, writing = os.pipe()
    os.close(reading)
    done = subprocess.run(
        [sys.executable, "-m", "crh_batch", "--help"], stdout=writing, stderr=subprocess.PIPE, cwd=tmp_path, check=False
    )
    os.close(writing)
    assert done.stderr == b""
    assert done.returncode in (0, 1)


LOADED = """
import sys
sys.argv = ["crh-batch", *sys.argv[1:]]
from crh_batch.cli.group import main
try:
    main()
except SystemExit as end:
    print(end.code, *sorted(name for name in sys.modules if "." not in name), file=sys.stderr)
"""


def loaded(cwd: Path, *arguments: str) -> set[str]:
    """The packages that a command has loaded when it ends."""
    done = subprocess.run(
        [sys.executable, "-c", LOADED, *arguments], cwd=cwd, capture_output=True, text=True, check=True
    )
    code, *names = done.stderr.splitlines()[-1].split()
    assert code in ("0", "1"), done.stderr
    return set(names)


@pytest.mark.parametrize(
    ("arguments", "without"),
    [
        (["status"], {"dask", "distributed", "paramiko", "jinja2", "numpy", "asyncio"}),
        (["status", "--json"], {"dask", "distributed", "paramiko", "jinja2", "numpy", "asyncio"}),
        (["show", "td0"], {"dask", "distributed", "paramiko", "jinja2", "numpy", "asyncio"}),
        (["report"], {"dask", "distributed", "paramiko", "numpy", "asyncio"}),
        (["hold"], {"dask", "distributed", "paramiko", "numpy", "asyncio"}),
        (["verify"], {"dask", "distributed", "paramiko", "numpy", "asyncio"}),
        (["prune"], {"dask", "distributed", "paramiko", "numpy", "asyncio"}),
        (["collect"], {"dask", "distributed", "paramiko", "numpy", "asyncio"}),
        (["submit", "--dry-run"], {"dask", "distributed", "paramiko", "numpy", "asyncio"}),
        (["--help"], {"dask", "distributed", "paramiko", "numpy", "asyncio"}),
    ],
)
def test_import_when_a_command_runs_then_nothing_is_loaded_that_it_has_no_use_for(
    tmp_path: Path, arguments: list[str], without: set[str]
) -> None:
    make_batch(tmp_path, 1)
    names = loaded(tmp_path, *arguments)
    assert "crh_batch" in names
    assert not names & without
