"""What commands say of odd cases: what had no effect, what to do next, and one of a thing in the singular."""

from __future__ import annotations

import json
import os
import time
from dataclasses import replace
from pathlib import Path

import pytest

from crh_batch.cli.log import _cut
from crh_batch.demo import write_small_models
from crh_batch.engines.place import Here
from crh_batch.ledger.batch import Batch
from crh_batch.ledger.steering import batch_hold
from crh_batch.ledger.submissions import read_submissions
from crh_batch.plan.order import Planned
from unit.cli.conftest import Run
from unit.ledger.making import begin, claim, make_batch, make_item, make_names

pytestmark = pytest.mark.usefixtures("no_scheduler")


@pytest.fixture
def survey(tmp_path: Path) -> Path:
    write_small_models(tmp_path / "survey", 2, data=60, electrodes=16)
    return tmp_path / "survey"


@pytest.fixture
def batch(tmp_path: Path) -> Batch:
    root = tmp_path / "survey"
    for number in range(3):
        (root / f"td{number}/exe").mkdir(parents=True)
    return make_batch(root, 3)


# ------------------------------------------------------------------ steering


def test_hold_when_it_runs_then_it_is_not_said_to_be_none_in_all(batch: Batch, run: Run) -> None:
    claim(batch, begin(batch), 0)
    said = run("hold", Path(batch.paths.root, "td0"), cwd=Path(batch.paths.root)).err
    assert "1 tomodir held\n" in said and "in all" not in said
    assert "1 that runs goes on; it is held only if begun again" in said


def test_hold_when_others_were_held_before_then_all_are_counted(batch: Batch, run: Run) -> None:
    run("hold", Path(batch.paths.root, "td0"), cwd=Path(batch.paths.root))
    assert "1 tomodir held, 2 in all" in run("hold", Path(batch.paths.root, "td1"), cwd=Path(batch.paths.root)).err
    assert not batch_hold(batch.paths).is_held


def test_retry_when_nothing_has_failed_then_no_pilot_is_started_for_others(batch: Batch, run: Run) -> None:
    make_names(batch, "0.done")
    said = run("retry", Path(batch.paths.root, "td0"), cwd=Path(batch.paths.root))
    assert (said.code, read_submissions(batch.paths)) == (0, [])
    assert "0 failed tomodirs are ready again" in said.err and "started" not in said.err


def test_show_when_given_up_without_having_run_then_that_is_no_attempt(batch: Batch, run: Run) -> None:
    run("cancel", Path(batch.paths.root, "td0"), cwd=Path(batch.paths.root))
    shown = json.loads(run("show", "--json", Path(batch.paths.root, "td0"), cwd=Path(batch.paths.root)).out)
    (event,) = shown["events"]
    assert (event["event"], event["attempt"]) == ("cancelled", None)


def test_show_when_given_up_while_it_ran_then_the_attempt_has_failed(batch: Batch, run: Run) -> None:
    claim(batch, begin(batch), 0)
    run("cancel", Path(batch.paths.root, "td0"), cwd=Path(batch.paths.root))
    events = json.loads(run("show", "--json", Path(batch.paths.root, "td0"), cwd=Path(batch.paths.root)).out)["events"]
    assert [(one["event"], one["attempt"]) for one in events] == [("claim", 1), ("fail", 1)]


def test_cancel_when_it_is_one_then_it_is_called_one(batch: Batch, run: Run) -> None:
    assert "1 tomodir given up" in run("cancel", Path(batch.paths.root, "td0"), cwd=Path(batch.paths.root)).err


# ------------------------------------------------------------------ what has no effect


def test_check_when_a_priority_matches_nothing_then_it_is_said(survey: Path, run: Run) -> None:
    said = run("check", "--priority", "lin1=5", "--priority", "td0=2", cwd=survey).err
    assert "--priority lin1=5: matches no path" in said
    assert "td0=2" not in said


@pytest.mark.parametrize(("option", "what"), [(["--keep-going"], "--keep-going"), ([], "whole_nodes")])
def test_submit_when_a_wish_means_nothing_on_this_machine_then_it_is_said(
    survey: Path, run: Run, option: list[str], what: str
) -> None:
    (survey / "crh-batch.toml").write_text(f"whole_nodes = {'false' if option else 'true'}\n")
    assert f"{what}: has no effect here" in run("submit", "--dry-run", *option, cwd=survey).err


def test_submit_when_nothing_is_unheeded_then_nothing_is_said(survey: Path, run: Run) -> None:
    assert "no effect" not in run("submit", "--dry-run", cwd=survey).err


# ------------------------------------------------------------------ what to do next


def test_check_when_a_crh_file_is_empty_then_says_how_to_go_on(survey: Path, run: Run) -> None:
    (survey / "00000/td00000.crh").touch()
    said = run("check", cwd=survey).err
    assert "the .crh is empty" in said and "submit --force takes it over" in said


def test_check_when_a_config_is_binary_then_says_so(survey: Path, run: Run) -> None:
    (survey / "00000/td00000/exe/crmod.cfg").write_bytes(b"\x7fELF\0\1\2")
    assert "crmod.cfg: is not a text file (byte 5 is 0)" in run("check", cwd=survey).err


def test_check_when_the_survey_file_is_no_toml_then_shows_what_is(survey: Path, run: Run) -> None:
    (survey / "crh-batch.toml").write_text("time_minutes: 30\n")
    said = run("check", cwd=survey)
    assert said.code == 2 and "time_minutes = 30" in said.err


def test_dry_run_when_the_scheduler_does_not_answer_then_sizes_are_this_machines(
    survey: Path, run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "bin").mkdir()
    for name in ("sbatch", "squeue", "scontrol", "sinfo"):
        (tmp_path / "bin" / name).write_text("#!/bin/sh\necho down >&2\nexit 1\n")
        (tmp_path / "bin" / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:{os.environ['PATH']}")
    (tmp_path / "config/crh-batch/profile.toml").write_text('scheduler = "slurm"\n')
    said = run("submit", "--dry-run", cwd=survey)
    assert said.code == 0 and "sizes are those of this machine" in said.err
    assert not (survey / ".crh-batch").exists()


class _Elsewhere(Here):
    def unfit(self, root: str, one: Planned) -> str:
        """As where an absolute path is another file."""
        return "names a path of this machine" if one.path.endswith("0") else ""


@pytest.mark.parametrize("arguments", [["check"], ["submit", "--dry-run"]])
def test_check_when_one_can_not_run_where_the_batch_would_then_it_is_told_as_submit_tells_it(
    survey: Path, run: Run, monkeypatch: pytest.MonkeyPatch, arguments: list[str]
) -> None:
    for command in ("check", "submit"):
        monkeypatch.setattr(f"crh_batch.cli.{command}.place_for", lambda engine, say: _Elsewhere())
    said = run(*arguments, cwd=survey)
    assert said.code == (1 if arguments == ["check"] else 0)
    assert "1 can't be run:" in said.err and "names a path of this machine" in said.err


@pytest.mark.parametrize("arguments", [["submit"], ["--on", "here", "submit"], ["check"]])
def test_share_when_no_cluster_is_named_then_nothing_runs_here_instead(
    survey: Path, run: Run, arguments: list[str]
) -> None:
    said = run("--share", "far=1", *arguments, cwd=survey)
    assert said.code == 2 and "--share far=1: neither --on nor a profile names clusters" in said.err
    assert not (survey / ".crh-batch").exists()


def test_profile_init_when_no_scheduler_is_here_then_no_option_is_named_that_it_lacks(
    run: Run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    (tmp_path / "crh-batch.toml").write_text('scheduler = "sge"\n')
    said = run("profile", "init", "new", cwd=tmp_path)
    # What the survey's file says is heeded: it is SGE's command that is missing.
    assert said.code == 2 and "qsub" in said.err and "sbatch" not in said.err and "--engine" not in said.err


@pytest.mark.parametrize(("unfit", "word"), [({"unfit": 2}, "time_minutes"), ({"unfit_memory": 2}, "memory_mb")])
def test_status_when_pilots_left_what_did_not_fit_then_says_why_and_what_to_do(
    batch: Batch, run: Run, unfit: dict[str, int], word: str
) -> None:
    for number in range(2):
        session = begin(batch, f"slurm-1_{number}-r0", submission="token")
        session.append(
            "end", **{"finished": 0, "failed": 0, "why": "nothing left", "unfit": 0, "unfit_memory": 0, **unfit}
        )
        session.close()
    said = run("status", cwd=Path(batch.paths.root)).err
    assert "2 that are ready" in said and word in said


def test_status_when_a_later_submission_left_nothing_then_says_nothing(batch: Batch, run: Run) -> None:
    for submission, unfit in (("first", 2), ("second", 0)):
        session = begin(batch, f"slurm-{submission}", submission=submission)
        session.append("end", finished=0, failed=0, why="", unfit=unfit, unfit_memory=0)
        session.close()
        # Events have times in milliseconds.
        time.sleep(0.002)
    assert "that are ready" not in run("status", cwd=Path(batch.paths.root)).err


# ------------------------------------------------------------------ long things


def test_log_when_a_line_is_a_kilometre_long_then_its_middle_is_left_out() -> None:
    line = "start " + "x" * 100_000 + " end"
    cut = _cut(line)
    assert len(cut) < 500 and cut.startswith("start") and cut.endswith(" end") and "characters" in cut
    assert _cut("0 %\r50 %\r100 %\r") == "100 %"
    assert _cut("short") == "short"


def test_status_all_when_ten_thousand_wait_in_one_chain_then_each_is_answered_once(tmp_path: Path, run: Run) -> None:
    count = 10_000
    after = {number: (number - 1,) for number in range(1, count)}
    batch = make_batch(tmp_path, [replace(make_item(n), after=after.get(n, ())) for n in range(count)], after=after)
    listed = json.loads(run("status", "--all", "--json", cwd=Path(batch.paths.root)).out)["tomodirs"]
    assert {one["error"] for one in listed[1:]} == {"waits for td0, which is ready"}
