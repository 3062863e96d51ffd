"""Looking through a tree: where its batch belongs, and each tomodir in exactly one place."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import pytest

from crh_batch.demo import write_small_models
from crh_batch.errors import UsageError
from crh_batch.plan.survey import Survey, choose_root, examine


def make_tomodir(path: Path) -> Path:
    (path / "exe").mkdir(parents=True)
    (path / "exe" / "crmod.cfg").touch()
    return path


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    for name in ("survey/line1/td1", "survey/line1/td10", "survey/line10/td4", "survey/line2/td2", "other/td3"):
        make_tomodir(tmp_path / name)
    (tmp_path / "survey" / "a file").touch()
    return tmp_path


@pytest.mark.parametrize(
    ("targets", "cwd", "root"),
    [
        ([], "survey", "survey"),
        (["."], "survey", "survey"),
        (["line1"], "survey", "survey"),
        (["line1/td1", "line2"], "survey", "survey"),
        # A root is never a tomodir: .crh files stand beside tomodirs.
        ([], "survey/line1/td1", "survey/line1"),
        (["."], "survey/line1/td1", "survey/line1"),
        ([".."], "survey/line1/td1", "survey/line1"),
        # From elsewhere: the common parent.
        (["survey/line1", "survey/line2"], ".", "."),
        (["../survey/line1", "../survey/line2"], "other", "survey"),
        (["../survey/line1"], "other", "survey/line1"),
        (["../survey/line1/td1"], "other", "survey/line1"),
        (["../survey/line1/td1/"], "other", "survey/line1"),
        (["../survey", "td3"], "other", "."),
        # line10 does not lie in line1, nor td10 in td1.
        (["../line10"], "survey/line1", "survey/line10"),
        ([".", "../line10"], "survey/line1", "survey"),
        (["../td10"], "survey/line1/td1", "survey/line1"),
    ],
)
def test_choose_root_when_targets_and_place_are_given_then_this_one(
    tree: Path, targets: Sequence[str], cwd: str, root: str
) -> None:
    assert choose_root(targets, str(tree / cwd)) == os.path.normpath(tree / root)
    absolute = [str(tree / cwd / target) for target in targets]
    assert choose_root(absolute, str(tree / cwd)) == os.path.normpath(tree / root)


@pytest.mark.parametrize("target", ["missing", "a file"])
def test_choose_root_when_a_target_is_no_directory_then_usage_error(tree: Path, target: str) -> None:
    with pytest.raises(UsageError, match=f"{target}: not a directory"):
        choose_root(["line1", target], str(tree / "survey"))


@pytest.fixture
def survey(tmp_path: Path) -> Path:
    """Four small models that need a modelling: 00000/td00000 and so on."""
    root = tmp_path / "survey"
    write_small_models(root, 4, data=60, electrodes=16)
    return root


def look(
    targets: Sequence[str], root: Path, *, cwd: Path | None = None, match: str = "", most_threads: int = 4
) -> Survey:
    return examine(targets, str(root), cwd=str(cwd or root), most_threads=most_threads, match=match)


ALL = ["00000/td00000", "00000/td00001", "00000/td00002", "00000/td00003"]


def paths(found: Survey) -> list[str]:
    return [one.path for one in found.planned]


def test_examine_when_tomodirs_need_work_then_they_are_planned(survey: Path) -> None:
    found = look([], survey)
    assert paths(found) == ALL
    assert (found.finished, found.registered, found.problems) == ([], [], [])
    one = found.planned[0]
    assert [stage.name.value for stage in one.description.stages] == ["modelling"]
    assert (one.threads, one.omp_threads) == (1, 1)
    assert one.estimate_s > 0


@pytest.mark.parametrize(
    "targets",
    [
        [".", "."],
        [".", "00000"],
        ["00000", "."],
        ["00000/td00002", ".", "00000/td00002/"],
        ["00000/../00000", "./00000/td00001"],
    ],
)
def test_examine_when_targets_overlap_then_each_tomodir_comes_once(survey: Path, targets: list[str]) -> None:
    assert sorted(paths(look(targets, survey))) == ALL


def test_examine_when_called_from_elsewhere_then_paths_are_relative_to_the_root(survey: Path, tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    found = look(["../survey/00000/td00001"], survey, cwd=elsewhere)
    assert paths(found) == ["00000/td00001"]
    found = look(["../survey/00000/td00001"], survey / "00000", cwd=elsewhere)
    assert paths(found) == ["td00001"]
    assert paths(look([str(survey / "00000" / "td00003")], tmp_path, cwd=elsewhere)) == ["survey/00000/td00003"]


@pytest.mark.parametrize(
    ("match", "expected"),
    [("td0000[12]$", ALL[1:3]), ("^00000/", ALL), ("00003", ALL[3:]), ("^td", []), ("", ALL)],
)
def test_examine_when_match_is_given_then_it_is_looked_for_in_the_relative_path(
    survey: Path, match: str, expected: list[str]
) -> None:
    assert paths(look([], survey, match=match)) == expected


def test_examine_when_match_is_no_expression_then_usage_error(survey: Path) -> None:
    with pytest.raises(UsageError, match="--match td"):
        look([], survey, match="td(")


def test_examine_when_one_is_broken_then_it_is_a_problem_and_the_others_are_planned(survey: Path) -> None:
    (survey / "00000/td00001/exe/crmod.cfg").write_bytes(b"\xff\xfe nothing\n")
    (survey / "00000/td00002/grid/elem.dat").unlink()
    found = look([], survey)
    assert paths(found) == [ALL[0], ALL[3]]
    assert [path for path, _ in found.problems] == ALL[1:3]
    assert "elem.dat" in found.problems[1][1]


def test_examine_when_one_is_registered_then_it_is_not_looked_into(survey: Path) -> None:
    (survey / "00000/td00001.crh").write_text("whatever stands here")
    (survey / "00000/td00001/exe/crmod.cfg").write_bytes(b"broken")
    found = look([], survey)
    assert paths(found) == [ALL[0], *ALL[2:]]
    ((path, registration),) = found.registered
    assert path == ALL[1] and registration.flaw
    assert found.problems == []


def test_examine_when_a_survey_is_empty_then_nothing(tmp_path: Path) -> None:
    found = look([], tmp_path)
    assert (found.planned, found.finished, found.registered, found.problems) == ([], [], [], [])


def test_examine_when_it_goes_on_then_progress_counts_up(survey: Path) -> None:
    seen: list[int] = []
    examine([], str(survey), most_threads=1, on_progress=seen.append)
    assert seen == [1, 2, 3, 4]
