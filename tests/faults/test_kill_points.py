"""Promise: a client or pilot may die before any of its changes to the filesystem; one more command finishes everything.

Each change is tried, not some. killing.py says what counts as one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from conftest import Crh
from crh_batch.engines.new_batch import make_batch
from crh_batch.plan.survey import examine
from crh_batch.profile_files import load_profile
from faults.killing import Plan, Point, go_through
from faults.surveys import Survey, make_survey, problems_of, wait_for_empty, wait_for_quiet

RUN = ("run", "-j2")
SUBMIT = ("submit", "--engine", "local", "--wait", "--collect")
COLLECT = ("collect",)


@pytest.fixture
def template(place: Path, programs: Path) -> Survey:
    """Two small models."""
    return make_survey(place / "template", 2, programs)


def assert_each_is_mended(
    place: Path, template: Survey, plan: Plan, *, once: bool, replaces: bool = False
) -> list[Point]:
    """Go through all points, and look at every survey afterwards."""
    Path(plan.base).mkdir()
    points = go_through(plan)
    wait_for_quiet(Path(plan.base))
    problems = []
    for point in points:
        found = problems_of(replace(template, root=Path(plan.base, str(point.number))), once=once, replaces=replaces)
        found += [f"looked finished too early: {path}" for path in point.early]
        if point.exit_code:
            found.append(f"exit code {point.exit_code}: {point.said}")
        problems += [f"killed before {point.number}, {point.event}; then {point.after}: {what}" for what in found]
    assert not problems, "\n".join(problems)
    wait_for_empty(place / "scratch")
    print(f"{len(points)} points")
    return points


def plan_for(place: Path, template: Survey, kind: str, arguments: Sequence[str], *afters: Sequence[str]) -> Plan:
    """Return a plan with its copies in ``points``."""
    return Plan(str(template.root), str(place / "points"), kind, arguments, afters)


def events_of(points: list[Point]) -> str:
    """Return what the process would have done next at each point."""
    return "\n".join(point.event for point in points)


def test_submit_may_die_before_each_change(place: Path, template: Survey) -> None:
    plan = plan_for(place, template, "client", ("submit", "--engine", "local", "-j1"), RUN, SUBMIT)
    points = assert_each_is_mended(place, template, plan, once=True)
    seen = events_of(points)
    for step in (
        "pilot.pyz",
        "batch.json",
        "custody.001",
        "td00001.crh",
        "items.jsonl",
        "submissions.jsonl",
        "start of",
    ):
        assert step in seen, step


@pytest.mark.parametrize("afters", [(COLLECT,), (RUN, SUBMIT)], ids=["then collect", "then run or submit"])
def test_collect_may_die_before_each_change(
    place: Path, template: Survey, crh: Crh, afters: Sequence[Sequence[str]]
) -> None:
    crh("submit", "--engine", "local", "--wait", cwd=template.root)
    wait_for_quiet(template.root)
    plan = plan_for(place, template, "client", COLLECT, *afters)
    points = assert_each_is_mended(place, template, plan, once=True)
    seen = events_of(points)
    for step in ("custody.002", "td00000/mod/volt.dat", "td00001/exe/crh.json", "collected", "td00001.crh", "rmdir"):
        assert step in seen, step


def test_collect_over_old_outputs_may_die_before_each_change(place: Path, template: Survey, crh: Crh) -> None:
    """Of an earlier failure there is a cut volt.dat and an error.dat: both are kept, whenever the client died."""
    old = {"mod/volt.dat": b"60\n1 2 3\n", "exe/error.dat": b"it went wrong"}
    for path in template.paths:
        for name, content in old.items():
            (template.root / path / name).write_bytes(content)
    crh("submit", "--engine", "local", "--wait", cwd=template.root)
    wait_for_quiet(template.root)
    plan = plan_for(place, template, "client", COLLECT, RUN, SUBMIT, COLLECT)
    points = assert_each_is_mended(place, template, plan, once=True, replaces=True)
    assert "replaced/000001/mod" in events_of(points)
    for point in points:
        for number, path in enumerate(template.paths):
            assert not Path(plan.base, str(point.number), path, "exe/error.dat").exists()
            for name, content in old.items():
                kept = Path(plan.base, str(point.number)).glob(f".crh-batch/*/replaced/{number:06d}/{name}*")
                assert content in [file.read_bytes() for file in kept], (point, name)


def test_pilot_may_die_before_each_change(place: Path, template: Survey) -> None:
    survey = examine([], str(template.root), most_threads=1)
    made = make_batch(str(template.root), survey.planned, load_profile(str(template.root)), lambda batch: None)
    assert made.batch is not None
    plan = plan_for(place, template, "pilot", ("--cores", "1"), RUN, SUBMIT)
    points = assert_each_is_mended(place, template, plan, once=False)
    seen = events_of(points)
    for step in ("sessions/", "claim.001", "start of", ".pack", "000001.done"):
        assert step in seen, step
