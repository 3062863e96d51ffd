"""Which planned tomodirs take results of others: chains, diamonds, cycles, what is missing, odd names."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crh_batch.demo import TomodirSpec, write_tomodir
from crh_batch.ledger.identity import this_process
from crh_batch.ledger.registration import register
from crh_batch.plan.dependencies import link, look_again
from crh_batch.plan.order import Planned, after_of, ids_of, in_order, item_of
from crh_batch.plan.survey import Survey, examine
from crh_batch.tomodir.stage import Description, Size, StageName, StageNeed
from unit.ledger.making import INVERSION, make_batch, make_item, make_names

SPEC = TomodirSpec(dims="2D", electrodes=8, cells_per_spacing=1, layers=3, padding_cells=2, separations=2)
LAST = "inv/rho02.modl"
MOST_THREADS = 8


def step(root: Path, path: str, prior: str = "", **more: object) -> Path:
    """Write a tomodir that starts from a prior model."""
    write_tomodir(root / path, replace(SPEC, prior_model=prior, **more))  # type: ignore[arg-type]
    return root / path


def linked(root: Path, *targets: str) -> Survey:
    survey = examine(targets, str(root), cwd=str(root), most_threads=MOST_THREADS)
    link(survey, MOST_THREADS)
    return survey


def after(survey: Survey) -> dict[str, tuple[str, ...]]:
    return {one.path: one.after for one in survey.planned}


def test_link_when_one_names_another_ones_result_then_it_comes_after_it_and_takes_it(tmp_path: Path) -> None:
    step(tmp_path, "time0")
    step(tmp_path, "time1", f"../../time0/{LAST}")
    step(tmp_path, "line2/time2", f"../../../time1/{LAST}")
    survey = linked(tmp_path)
    assert (survey.problems, survey.waiting) == ([], [])
    assert after(survey) == {"time0": (), "time1": ("time0",), "line2/time2": ("time1",)}
    ordered = in_order(survey.planned)
    assert [one.path for one in ordered] == ["time0", "time1", "line2/time2"], "longest chain first"
    assert after_of(ordered) == {1: (0,), 2: (1,)}
    item = item_of(2, ordered[2], ids_of(ordered))
    assert item.after == (1,)
    modelling, inversion = item.stages
    assert "sources" not in modelling
    assert inversion["sources"] == {"../../time1/" + LAST: [1, LAST]}
    assert "waits for time0" in ordered[1].reason


def test_link_when_an_old_result_lies_there_then_it_waits_for_the_new_one(tmp_path: Path) -> None:
    step(tmp_path, "time0")
    (tmp_path / "time0" / LAST).write_text("of an earlier run")
    step(tmp_path, "time1", f"../../time0/{LAST}")
    assert after(linked(tmp_path))["time1"] == ("time0",)


def test_link_when_the_source_is_finished_then_there_is_nothing_to_wait_for(tmp_path: Path) -> None:
    source = step(tmp_path, "time0")
    (source / "inv" / "inv.ctr").write_text("***finished***\n")
    (source / LAST).write_text("1\n1 2\n")
    step(tmp_path, "time1", f"../../time0/{LAST}")
    survey = linked(tmp_path)
    assert after(survey) == {"time1": ()}
    assert [path for path, _ in survey.finished] == ["time0"]


@pytest.mark.parametrize("lies_in", ["nowhere", "time0/exe", "time0/config"])
def test_link_when_nobody_makes_the_file_then_that_is_a_problem_with_its_path(tmp_path: Path, lies_in: str) -> None:
    step(tmp_path, "time0")
    step(tmp_path, "time1", f"../../{lies_in}/rho02.modl")
    step(tmp_path, "time2", f"../../time1/{LAST}")
    survey = linked(tmp_path)
    problems = dict(survey.problems)
    assert set(problems) == {"time1", "time2"}
    assert f"../../{lies_in}/rho02.modl" in problems["time1"]
    assert "Make " in problems["time1"]
    assert "time1, which can't be run" in problems["time2"]
    assert after(survey) == {"time0": ()}


def test_link_when_the_source_can_t_be_run_then_that_is_said(tmp_path: Path) -> None:
    source = step(tmp_path, "time0")
    (source / "grid" / "elem.dat").unlink()
    step(tmp_path, "time1", f"../../time0/{LAST}")
    problems = dict(linked(tmp_path).problems)
    assert "time0 can't be run itself" in problems["time1"]
    assert "elem.dat" in problems["time1"]


def test_link_when_only_one_is_selected_then_the_missing_result_is_a_problem(tmp_path: Path) -> None:
    step(tmp_path, "time0")
    step(tmp_path, "time1", f"../../time0/{LAST}")
    survey = linked(tmp_path, "time1")
    assert [path for path, _ in survey.problems] == ["time1"]


def test_link_when_in_a_cycle_then_each_member_shows_it_and_others_say_whom_they_wait_for(tmp_path: Path) -> None:
    for number, source in ((0, 2), (1, 0), (2, 1)):
        step(tmp_path, f"time{number}", f"../../time{source}/{LAST}")
    step(tmp_path, "time3", f"../../time2/{LAST}")
    step(tmp_path, "alone")
    survey = linked(tmp_path)
    problems = dict(survey.problems)
    assert "time0 -> time2 -> time1 -> time0" in problems["time0"]
    assert "time1 -> time0 -> time2 -> time1" in problems["time1"]
    assert "time2 -> time1 -> time0 -> time2" in problems["time2"]
    assert "time2, which can't be run" in problems["time3"]
    assert after(survey) == {"alone": ()}


def test_link_when_a_tomodir_names_its_own_result_from_outside_then_it_is_no_cycle(tmp_path: Path) -> None:
    own = step(tmp_path, "time0", f"../../time0/{LAST}")
    (own / LAST).write_text("of an earlier run")
    assert after(linked(tmp_path)) == {own.name: ()}


@pytest.mark.parametrize(
    "name", ["with space", 'it\'s "quoted"', "grüße-测试", "-rf", "$(touch x)", "%j %a", "back\\slash", "*?[a]", "a->b"]
)
def test_link_when_names_are_odd_then_they_are_names(name: str) -> None:
    """Names that a .cfg can't hold (blanks) can still be meant by a planned input."""
    survey = Survey("/survey", [planned(name), planned("reader", f"../{name}/{LAST}")])
    link(survey, MOST_THREADS)
    assert after(survey) == {name: (), "reader": (name,)}


def test_link_when_a_tomodir_is_a_link_then_its_real_place_counts(tmp_path: Path) -> None:
    real = step(tmp_path / "elsewhere", "real0")
    root = tmp_path / "survey"
    root.mkdir()
    (root / "time0").symlink_to(real)
    step(root, "time1", "../../../elsewhere/real0/" + LAST)
    step(root, "time2", f"../../time0/{LAST}")
    survey = linked(root, "time0", "time1", "time2")
    assert after(survey)["time1"] == ("time0",)
    assert after(survey)["time2"] == ("time0",)


def test_link_when_the_path_is_absolute_then_the_new_result_can_t_be_put_there(tmp_path: Path) -> None:
    survey = Survey("/survey", [planned("time0"), planned("time1", f"/survey/time0/{LAST}")])
    link(survey, MOST_THREADS)
    ((path, why),) = survey.problems
    assert path == "time1"
    assert "relative" in why


def test_link_when_volt_is_modelled_by_another_one_then_sizes_come_from_there(tmp_path: Path) -> None:
    step(tmp_path, "model", inversion=False, dims="2.5D")
    reader = step(tmp_path, "reader", modelling=False, dims="2.5D")
    cfg = reader / "exe" / "crtomo.cfg"
    cfg.write_text(cfg.read_text().replace("../mod/volt.dat", "../../model/mod/volt.dat"))
    survey = linked(tmp_path)
    assert survey.problems == []
    model, one = survey.planned
    assert one.after == ("model",)
    (stage,) = one.description.stages
    (made,) = model.description.stages
    assert (stage.wavenumbers, stage.size.data) == (made.wavenumbers, made.size.data)
    assert stage.wavenumbers > 1
    assert stage.size.data > 0
    assert one.threads == model.threads > 1


def test_link_when_widths_differ_then_connected_ones_get_the_widest(tmp_path: Path) -> None:
    step(tmp_path, "wide", dims="2.5D")
    step(tmp_path, "narrow", f"../../wide/{LAST}")
    step(tmp_path, "alone")
    widths = {one.path: one.threads for one in linked(tmp_path).planned}
    assert widths["narrow"] == widths["wide"] > widths["alone"] == 1


@pytest.mark.parametrize(
    ("names", "said"),
    [(["0.done"], "which is done"), (["0.claim.001"], "which is running"), ([], "which is ready")],
)
def test_link_when_an_older_batch_has_the_source_then_it_is_left_alone(
    tmp_path: Path, names: Sequence[str], said: str
) -> None:
    source = step(tmp_path, "time0")
    step(tmp_path, "time1", f"../../time0/{LAST}")
    step(tmp_path, "time2", f"../../time1/{LAST}")
    batch = make_batch(tmp_path, [make_item(0, "time0", stages=[INVERSION])])
    assert register(str(source), batch.paths, 0, this_process(), "inv") is None
    make_names(batch, *names)
    survey = linked(tmp_path)
    assert survey.planned == []
    assert survey.problems == []
    waiting = dict(survey.waiting)
    assert f"time0 of batch {batch.batch_id}, {said}" in waiting["time1"]
    assert "submit it when that is collected" in waiting["time1"]
    assert "time1, which takes" in waiting["time2"]


def test_link_when_the_older_batch_has_collected_then_the_file_counts(tmp_path: Path) -> None:
    source = step(tmp_path, "time0")
    (source / LAST).write_text("1\n")
    step(tmp_path, "time1", f"../../time0/{LAST}")
    batch = make_batch(tmp_path, [make_item(0, "time0", stages=[INVERSION])])
    assert register(str(source), batch.paths, 0, this_process(), "inv") is None
    make_names(batch, "0.done", "0.collected")
    assert after(linked(tmp_path)) == {"time1": ()}


def test_look_again_when_the_file_has_come_then_it_is_no_problem_any_more(tmp_path: Path) -> None:
    step(tmp_path, "time1", f"../../time0/{LAST}")
    survey = examine([], str(tmp_path), most_threads=MOST_THREADS)
    (tmp_path / "time0" / "inv").mkdir(parents=True)
    (tmp_path / "time0" / LAST).write_text("1\n")
    look_again(survey, MOST_THREADS)
    link(survey, MOST_THREADS)
    assert after(survey) == {"time1": ()}
    assert survey.problems == []


# ---------------------------------------------------------------- against everything that can be tried


def planned(path: str, *outside: str, seconds: float = 1.0, priority: int = 0) -> Planned:
    """A tomodir of 2D that reads such files; none of them is there."""
    stage = StageNeed(
        StageName.INVERSION,
        "2D",
        1,
        ("exe/crtomo.cfg", *outside),
        outside,
        ("exe", "inv"),
        inv_dirs=("inv",),
        absent=tuple((name, f"{name} can't be read") for name in outside),
    )
    description = Description(path, (stage,), "2D", 1, "why", Size())
    return Planned(path, description, 1, 1, seconds, 1, priority=priority)


@st.composite
def surveys(draw: st.DrawFn) -> Mapping[str, list[str]]:
    """Who takes what of whom; "nobody" makes nothing."""
    names = [f"td{number}" for number in range(draw(st.integers(1, 7)))]
    return {name: draw(st.lists(st.sampled_from([*names, "nobody"]), max_size=2, unique=True)) for name in names}


def out_by_hand(graph: Mapping[str, Sequence[str]]) -> set[str]:
    """Return who can't run: who can't be put into any order behind all that it takes."""
    fine: set[str] = set()
    while True:
        more = {one for one, sources in graph.items() if all(source in fine or source == one for source in sources)}
        if more == fine:
            return set(graph) - fine
        fine = more


@given(surveys(), st.lists(st.integers(0, 3), min_size=7, max_size=7), st.lists(st.integers(-2, 2), min_size=7))
def test_link_when_any_graph_then_just_those_run_that_can_and_each_after_its_sources(
    graph: Mapping[str, list[str]], seconds: list[int], priorities: list[int]
) -> None:
    many = [
        planned(
            name,
            # A reference to oneself that is not there is nobody's: it is left out here.
            *(f"../{source}/inv/rho02.modl" for source in sources if source != name),
            seconds=float(duration),
            priority=priority,
        )
        for (name, sources), duration, priority in zip(graph.items(), seconds, priorities)
    ]
    survey = Survey("/survey", many)
    link(survey, MOST_THREADS)
    out = out_by_hand(graph)
    assert {path for path, _ in survey.problems} == out
    assert len(survey.problems) == len(out), "each once"
    assert survey.waiting == []
    for one in survey.planned:
        assert set(one.after) == set(graph[one.path]) - {one.path}
        assert {source.member for source in one.sources} <= {"inv/rho02.modl"}
    places = {one.path: place for place, one in enumerate(in_order(survey.planned))}
    assert set(places) == set(graph) - out
    assert all(places[source] < places[one.path] for one in survey.planned for source in one.after)


def test_link_when_a_chain_is_as_long_as_a_batch_then_it_works(tmp_path: Path) -> None:
    count = 3000
    many = [planned("td0"), *(planned(f"td{n}", f"../td{n - 1}/inv/rho02.modl") for n in range(1, count))]
    survey = Survey(os.fspath(tmp_path), many)
    link(survey, MOST_THREADS)
    ordered = in_order(survey.planned)
    assert [one.path for one in ordered] == [f"td{number}" for number in range(count)]
