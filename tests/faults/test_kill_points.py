"""Promise: a client or pilot may die before any of its changes to files; ordinary commands finish everything.

Each change is tried, not some; points.py says what counts as one. Where hundreds are, programs are stand-ins and pilots
are forks; the last test is with the real CRMod and the frozen pilot.
"""

from __future__ import annotations

import errno
import os
import shutil
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from conftest import tree_sums
from crh_batch.engines.new_batch import make_batch
from crh_batch.ledger import durable
from crh_batch.plan.dependencies import link
from crh_batch.plan.survey import examine
from crh_batch.profile_files import load_profile
from faults.fakes import BROKEN, make_fake_survey, spec_of, write_fakes
from faults.killing import Command, Plan, Point, go_through, prepare
from faults.surveys import Survey, make_survey, problems_of, survey_of, wait_for_empty, wait_for_quiet

RUN = ("run", "-j2")
WAIT = ("submit", "--engine", "local", "--wait", "--collect")
SUBMIT = ("submit", "--engine", "local", "-j1")
ARRAY = ("submit", "--engine", "array")
COLLECT = ("collect",)
FINISH = ("submit", "--engine", "local", "--wait")
GO_ON = ((RUN,), (WAIT,))
# On a cluster: what was not sent is sent, what was sent runs, and is collected.
GO_ON_ARRAY = ((ARRAY, ("@jobs",), COLLECT), (("@jobs",), ARRAY, ("@jobs",), ARRAY, COLLECT))


@dataclass(frozen=True)
class Bench:
    """Where kill points are tried: a place for copies, and the survey that they are copies of."""

    place: Path
    fakes: Path
    survey: Survey

    def plan(self, killed: Command, ways: Sequence[Sequence[Command]], links: str = "symlink") -> Plan:
        """Return a plan with its copies in ``points``."""
        return Plan(str(self.survey.root), str(self.place / "points"), killed, ways, links=links)


@pytest.fixture
def fakes(place: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The stand-ins for the programs."""
    directory = write_fakes(place / "fakes")
    monkeypatch.setenv("CRH_BATCH_FAKES", str(directory))
    return directory


@pytest.fixture
def bench(place: Path, fakes: Path) -> Bench:
    """Two small models."""
    return Bench(place, fakes, make_fake_survey(place / "template", fakes, [spec_of(1), spec_of(2)]))


@pytest.fixture
def on_cluster(place: Path, fakes: Path) -> Bench:
    """Two small models, and a scheduler."""
    survey = make_fake_survey(place / "template", fakes, [spec_of(1), spec_of(2)], scheduler="slurm")
    return Bench(place, fakes, survey)


@pytest.fixture
def chain(place: Path, fakes: Path) -> Bench:
    """A modelling and an inversion, and one that begins with its result."""
    specs = [spec_of(1, inversion=True), spec_of(2, inversion=True, prior="../../time0/inv/rho02.modl")]
    return Bench(place, fakes, make_fake_survey(place / "template", fakes, specs, names=["time0", "time1"]))


def assert_each_is_mended(
    bench: Bench,
    plan: Plan,
    steps: Sequence[str],
    *,
    at_least: int,
    once: bool = False,
    replaces: bool = False,
) -> list[Point]:
    """Go through all points, look at every survey afterwards, and at whether certain changes were among the points."""
    points = _go_through(bench, plan, once=once, replaces=replaces)
    print(f"{len(points)} points of {' '.join(plan.killed)}")
    seen = "\n".join(point.event for point in points)
    # Threads of a pilot come to their changes in another order in each life, so one may fall between two points.
    for again in range(3):
        if all(step in seen for step in steps):
            break
        more = _go_through(bench, replace(plan, base=f"{plan.base}-{again}"), once=once, replaces=replaces)
        seen += "\n".join(point.event for point in more)
    assert [step for step in steps if step not in seen] == []
    assert len(points) >= at_least, len(points)
    return points


def _go_through(bench: Bench, plan: Plan, *, once: bool, replaces: bool) -> list[Point]:
    Path(plan.base).mkdir()
    points = go_through(plan)
    wait_for_quiet(Path(plan.base))
    problems = []
    for point in points:
        found = problems_of(
            replace(bench.survey, root=Path(plan.base, str(point.number))), once=once, replaces=replaces
        )
        found += [f"looked finished too early: {path}" for path in point.early]
        if point.exit_code:
            found.append(f"exit code {point.exit_code}: {point.said}")
        problems += [f"killed before {point.number}, {point.event}; then {point.way}: {what}" for what in found]
    assert not problems, "\n".join(problems)
    wait_for_empty(bench.place / "scratch")
    return points


# ------------------------------------------------------------------ registration and submission


def test_submit(bench: Bench) -> None:
    steps = [
        "pilot.pyz",
        "batch.json",
        "custody.001",
        "td01.crh",
        "items.jsonl",
        "submissions.jsonl",
        "custody.001.end",
    ]
    assert_each_is_mended(bench, bench.plan(SUBMIT, GO_ON), steps, at_least=70, once=True)


def test_submit_to_a_scheduler(on_cluster: Bench) -> None:
    steps = ["td01.crh", "items.jsonl", "submissions.jsonl", "/jobs/", "logs/", "custody.001.end"]
    assert_each_is_mended(on_cluster, on_cluster.plan(ARRAY, GO_ON_ARRAY), steps, at_least=70, once=True)


def test_taking_over_what_a_dead_client_left_half_made(bench: Bench) -> None:
    plan = bench.plan(SUBMIT, GO_ON)
    prepare(plan, ("@dies", "items.jsonl", *SUBMIT))
    steps = ["custody.002", "items.jsonl", "os.remove line1/td00.crh"]
    assert_each_is_mended(bench, plan, steps, at_least=80, once=True)


def test_submitting_a_mended_input(bench: Bench) -> None:
    """Both failed of their input; one is mended and moves to a new batch, the other one is taken up by retry."""
    plan = bench.plan(
        SUBMIT, ((SUBMIT, RUN, ("retry", "--failed", "line1/td01"), RUN), (RUN, ("retry", "line1/td01"), WAIT))
    )
    prepare_failed(bench, plan)
    path = bench.survey.root / bench.survey.paths[0] / "exe/crmod.cfg"
    path.write_bytes(path.read_bytes() + b"\n")
    now = survey_of(
        bench.survey.root, bench.survey.paths[:1], bench.survey.root, {bench.survey.paths[0]: "exe/crmod.cfg"}
    )
    inputs, times = {**bench.survey.inputs, **now.inputs}, {**bench.survey.times, **now.times}
    mended = replace(bench, survey=replace(bench.survey, inputs=inputs, times=times))
    assert_each_is_mended(mended, plan, ["000000.moved", "td00.crh", "items.jsonl"], at_least=70)


# ------------------------------------------------------------------ pilots


def test_pilot(bench: Bench) -> None:
    plan = bench.plan(("@pilot", "--cores", "1"), GO_ON)
    register(bench.survey.root)
    steps = ["sessions/", "claim.001", ".pack", "fsync .crh-batch", ".done"]
    assert_each_is_mended(bench, plan, steps, at_least=20)


def test_pilot_without_symbolic_links(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    plan = bench.plan(("@pilot", "--cores", "1"), GO_ON, links="file")
    monkeypatch.setattr(durable.calls, "symlink", _no_symlink)
    register(bench.survey.root)
    steps = ["open .crh-batch", "second half of write", "claim.001", ".done"]
    assert_each_is_mended(bench, plan, steps, at_least=30)


def test_pilot_of_a_job(on_cluster: Bench) -> None:
    """The scheduler says that its job is over; the next client makes its claims ready again."""
    plan = on_cluster.plan(("@job",), ((("@over",), ARRAY, ("@jobs",), COLLECT),))
    prepare(plan, ARRAY)
    # Both are committed together, in either order, so that a point falls before the one or the other.
    assert_each_is_mended(on_cluster, plan, ["submission.", "claim.001", ".done"], at_least=20)


def test_pilot_of_a_job_that_was_started_again(on_cluster: Bench) -> None:
    """Its former life died with a claim open; this one dies as well, anywhere."""
    again = (("@requeued",), ("@over",), ARRAY, ("@jobs",), COLLECT)
    plan = on_cluster.plan(("@requeued",), (again, again[1:]))
    prepare(plan, ARRAY, ("@dies", "000000.done", "@job"))
    assert_each_is_mended(on_cluster, plan, ["claim.002", "fail.001.lost", ".done"], at_least=20)


def test_pilot_that_passes_a_result_on(chain: Bench) -> None:
    plan = chain.plan(("@pilot", "--cores", "1"), GO_ON)
    register(chain.survey.root)
    assert_each_is_mended(chain, plan, ["000000.done", "000001.claim.001", "000001.done"], at_least=20)


# ------------------------------------------------------------------ lost claims, and steering


def test_recovering_lost_claims(on_cluster: Bench) -> None:
    plan = on_cluster.plan(ARRAY, GO_ON_ARRAY)
    prepare(plan, ARRAY, ("@dies", "000000.done", "@job"), ("@over",))
    steps = ["fail.001.lost", "custody.002", "submissions.jsonl", "custody.002.end"]
    assert_each_is_mended(on_cluster, plan, steps, at_least=25)


def test_retry(bench: Bench) -> None:
    plan = bench.plan(("retry", "--failed", "--engine", "local"), ((("retry",), RUN), (("retry", "--failed"), WAIT)))
    prepare_failed(bench, plan)
    steps = ["retry.001", "steered.001", "submissions.jsonl"]
    assert_each_is_mended(bench, plan, steps, at_least=20)


@pytest.mark.parametrize("which", [(), ("line1/td00",)], ids=["whole", "part"])
def test_hold(bench: Bench, which: Command) -> None:
    plan = bench.plan(("hold", *which), ((("release",), RUN), (("hold",), ("release",), WAIT)))
    register(bench.survey.root)
    steps = ["000000.held.001" if which else "names/held.001", "steered.001"]
    assert_each_is_mended(bench, plan, steps, at_least=5, once=True)


@pytest.mark.parametrize("which", [(), ("line1/td00",)], ids=["whole", "part"])
def test_release(bench: Bench, which: Command) -> None:
    plan = bench.plan(("release", *which), ((("release",), RUN), (("release",), WAIT)))
    register(bench.survey.root)
    prepare(plan, ("hold",))
    steps = ["000001.held.001", "names/release.001"] if which else ["names/release.001", "steered.002"]
    assert_each_is_mended(bench, plan, steps, at_least=5, once=True)


def test_cancel(bench: Bench) -> None:
    """What was given up is taken up again, in its batch or in a new one."""
    plan = bench.plan(("cancel",), ((("retry",), RUN), (("cancel",), RUN)))
    register(bench.survey.root)
    steps = ["000001.claim.001", "fail.001.cancelled", "os.remove line1/td01.crh"]
    assert_each_is_mended(bench, plan, steps, at_least=15)


# ------------------------------------------------------------------ collect


@pytest.mark.parametrize("ways", [((COLLECT,),), GO_ON], ids=["then collect", "then run or submit"])
def test_collect(bench: Bench, ways: Sequence[Sequence[Command]]) -> None:
    plan = bench.plan(COLLECT, ways)
    prepare(plan, FINISH)
    steps = ["td00/mod/volt.dat", "td01/exe/crh.json", "collected", "td01.crh", "rmdir"]
    assert_each_is_mended(bench, plan, steps, at_least=50, once=True)


def test_collect_without_symbolic_links(bench: Bench) -> None:
    plan = bench.plan(COLLECT, ((COLLECT,), *GO_ON), links="file")
    prepare(plan, FINISH)
    steps = ["open .crh-batch", "second half of write", "000001.collected", "custody.002.end"]
    assert_each_is_mended(bench, plan, steps, at_least=60, once=True)


def test_collect_of_results_that_others_took(chain: Bench) -> None:
    plan = chain.plan(COLLECT, ((COLLECT,), *GO_ON))
    prepare(plan, FINISH)
    steps = ["time0/inv/inv.ctr", "time1/inv/inv.ctr", "time1.crh"]
    assert_each_is_mended(chain, plan, steps, at_least=60, once=True)


def test_collect_over_old_outputs(bench: Bench) -> None:
    """Of an earlier failure there is a cut volt.dat and an error.dat: both are kept, whenever the client died."""
    old = {"mod/volt.dat": b"60\n1 2 3\n", "exe/error.dat": b"it went wrong"}
    for path in bench.survey.paths:
        for name, content in old.items():
            (bench.survey.root / path / name).write_bytes(content)
    plan = bench.plan(COLLECT, ((RUN,), (WAIT,), (COLLECT,)))
    prepare(plan, FINISH)
    points = assert_each_is_mended(bench, plan, ["replaced/000001/mod"], at_least=70, once=True, replaces=True)
    for point in points:
        for number, path in enumerate(bench.survey.paths):
            assert not Path(plan.base, str(point.number), path, "exe/error.dat").exists()
            for name, content in old.items():
                kept = Path(plan.base, str(point.number)).glob(f".crh-batch/*/replaced/{number:06d}/{name}*")
                assert content in [file.read_bytes() for file in kept], (point, name)


# ------------------------------------------------------------------ verify --fix and prune

FIX = ("verify", "--fix")


@pytest.mark.parametrize("links", ["symlink", "file"])
def test_mending_a_batch(bench: Bench, links: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A pilot died with a result and no name for it; a registration is gone, a cache and a directory are damaged."""
    plan = bench.plan(FIX, ((FIX, RUN), (FIX, WAIT)), links=links)
    if links == "file":
        monkeypatch.setattr(durable.calls, "symlink", _no_symlink)
    register(bench.survey.root)
    prepare(plan, ("@dies", "000000.done", "@pilot", "--cores", "1"))
    (batch,) = bench.survey.root.glob(".crh-batch/*/")
    (batch / "liveness.json").write_text("{")
    (batch / "jobs").rmdir()
    (batch / "registering/000000.abc").touch()
    (bench.survey.root / f"{bench.survey.paths[1]}.crh").unlink()
    steps = ["names/000/000000.done", "td01.crh", "remove .crh-batch", "mkdir .crh-batch", "custody.002.end"]
    if links == "file":
        # Every third, for the steps are the same; what differs are the names, and these are tried with other commands.
        plan, steps = replace(plan, step=3), []
    assert_each_is_mended(bench, plan, steps, at_least=10)


def test_mending_what_a_dead_client_left_half_made(bench: Bench) -> None:
    plan = bench.plan(FIX, ((FIX, RUN), (RUN,)))
    prepare(plan, ("@dies", "items.jsonl", *SUBMIT))
    steps = ["custody.002", "items.jsonl", "os.remove line1/td00.crh"]
    assert_each_is_mended(bench, plan, steps, at_least=12, once=True)


def test_mending_when_the_batch_was_deleted(bench: Bench) -> None:
    """The .crh files are renamed, none is lost; whenever that was stopped, the tomodirs can be submitted afterwards."""
    plan = bench.plan(FIX, ((FIX, RUN), (FIX, FIX, WAIT)))
    register(bench.survey.root)
    (batch,) = bench.survey.root.glob(".crh-batch/*/")
    shutil.rmtree(batch)
    points = assert_each_is_mended(bench, plan, ["os.rename line1/td00.crh"], at_least=3, once=True)
    for point in points:
        for path in bench.survey.paths:
            assert Path(plan.base, str(point.number), f"{path}.crh.aside").exists(), point


def test_prune(bench: Bench) -> None:
    """Whenever it died, the batch is whole or counts no more; the next one removes it, and nothing else."""
    prune = ("prune", "--yes")
    plan = bench.plan(prune, ((prune,), (prune, FIX)))
    prepare(plan, FINISH, COLLECT)
    Path(plan.base).mkdir()
    points = go_through(plan)
    for point in points:
        root = Path(plan.base, str(point.number))
        assert point.exit_code == 0, point
        assert list((root / ".crh-batch").iterdir()) == [], point
        for path in bench.survey.paths:
            now = tree_sums(root / path)
            assert now["mod/volt.dat"] == bench.survey.results[path], point
            assert {name: now.get(name) for name in bench.survey.inputs[path]} == bench.survey.inputs[path], point
    seen = "\n".join(point.event for point in points)
    print(f"{len(points)} points of prune --yes")
    for step in ("custody.003", "os.rename .crh-batch", "items.jsonl", "os.rmdir"):
        assert step in seen, step


# ------------------------------------------------------------------ the real thing


@pytest.mark.parametrize("killed", [SUBMIT, COLLECT], ids=["submit", "collect"])
def test_real_program_and_frozen_pilot(place: Path, programs: Path, killed: Command) -> None:
    """Every fifth point, for each costs a second."""
    bench = Bench(place, place, make_survey(place / "template", 2, programs))
    plan = replace(bench.plan(killed, GO_ON), frozen=True, step=5)
    if killed is COLLECT:
        prepare(plan, FINISH)
    assert_each_is_mended(bench, plan, [], at_least=10, once=True)


def _no_symlink(target: str, path: str) -> None:
    raise PermissionError(errno.EPERM, os.strerror(errno.EPERM), path)


def register(root: Path) -> None:
    """Make a batch of a survey without starting a pilot."""
    survey = examine([], str(root), most_threads=1)
    link(survey, 1)
    made = make_batch(str(root), survey.planned, load_profile(str(root)), lambda batch: None)
    assert made.batch is not None


def prepare_failed(bench: Bench, plan: Plan) -> None:
    """Let all tomodirs of the template fail of their input."""
    (bench.fakes / BROKEN).touch()
    prepare(plan, FINISH)
    (bench.fakes / BROKEN).unlink()
