"""What a tomodir reads, and whether that finds its place on another filesystem."""

from __future__ import annotations

from pathlib import Path

import pytest

from crh_batch.mirror.references import climb_of, inputs_of, place_of, unfit_for_staging
from unit.mirror.unsent import reading


@pytest.mark.parametrize("name", ["exe/crmod.cfg", "../time0/inv/rho05.mag", "../../common/grid.elm"])
def test_unfit_when_all_is_relative_then_it_can_run_elsewhere(tmp_path: Path, name: str) -> None:
    assert unfit_for_staging(str(tmp_path / "survey"), "line1/td", [name]) == ""


def test_unfit_when_a_path_is_absolute_then_it_says_which_and_what_to_do(tmp_path: Path) -> None:
    why = unfit_for_staging(str(tmp_path), "td", ["exe/crmod.cfg", "/data/grid.elm"])
    assert why.startswith("/data/grid.elm: ") and "relative to the tomodir" in why


def test_unfit_when_a_reference_leads_through_a_link_then_it_says_where_to(tmp_path: Path) -> None:
    (tmp_path / "elsewhere/deep/td").mkdir(parents=True)
    (tmp_path / "survey").mkdir()
    (tmp_path / "survey/td").symlink_to(tmp_path / "elsewhere/deep/td")
    why = unfit_for_staging(str(tmp_path / "survey"), "td", ["../grid.elm"])
    assert str(tmp_path / "elsewhere/deep/grid.elm") in why


def test_unfit_when_a_reference_leads_above_the_root_directory_then_it_says_so() -> None:
    """The kernel takes /.. for /; in a stage it would be somebody else's directory."""
    assert unfit_for_staging("/a/b", "td", ["../../../grid"]) == ""
    assert unfit_for_staging("/a/b", "td", ["../../../../grid"]).startswith("../../../../grid: ")


@pytest.mark.parametrize(
    ("path", "name", "place", "climb"),
    [
        ("td", "exe/f", "td/exe/f", 0),
        ("line1/td", "../f", "line1/f", 0),
        ("line1/td", "../../f", "f", 0),
        ("line1/td", "../../../f", "../f", 1),
        ("td", "../../../x/f", "../../x/f", 2),
        ("td", "../..f", "..f", 0),
    ],
)
def test_place_when_a_reference_climbs_then_it_is_as_far_above_the_survey(
    path: str, name: str, place: str, climb: int
) -> None:
    assert (place_of(path, name), climb_of(place_of(path, name))) == (place, climb)


def test_inputs_when_others_of_the_batch_make_them_then_they_are_not_sent() -> None:
    stage = reading("exe/crmod.cfg", "../td0/mod/volt.dat", "/data/grid", sources={"../td0/mod/volt.dat": [0, "x"]})
    assert list(inputs_of([stage])) == ["exe/crmod.cfg"]
