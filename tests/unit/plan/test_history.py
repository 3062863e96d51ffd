"""What past runs teach: the same sizes take the same, similar ones what the formula was off by."""

from __future__ import annotations

import random
from dataclasses import replace

import pytest

from crh_batch.plan.history import FORMULA, SAME, SIMILAR, History, Run, estimated, run_of
from crh_batch.plan.order import item_of, plan_tomodir
from crh_batch.tomodir.stage import Description, Size, StageName, StageNeed

SIZE = Size(nodes=1000, parameters=900, electrodes=20, bandwidth=30, data=100)


def need(size: Size = SIZE, dims: str = "2.5D") -> StageNeed:
    return StageNeed(StageName.INVERSION, dims, 9, ("exe/crtomo.cfg",), size=size)


def run(wall_s: float, size: Size = SIZE, *, peak: int = 0, dims: str = "2.5D") -> Run:
    return Run("inversion", dims, 9, 3, size, wall_s, peak)


def test_estimate_when_nothing_is_known_then_the_formula_and_a_wide_range() -> None:
    found = History().estimate(need(), 3)
    assert (found.seconds, found.tier, found.is_measured) == (run(1.0).formula_s, FORMULA, False)
    assert (found.low, found.high) == pytest.approx((found.seconds / 5, found.seconds * 5))


def test_estimate_when_the_same_sizes_were_run_then_their_median() -> None:
    found = History([run(10.0), run(11.0), run(50.0)]).estimate(need(), 3)
    assert (found.seconds, found.tier) == (11.0, SAME)
    other_width = History([run(10.0)]).estimate(need(), 1)
    assert other_width.tier == SIMILAR


def test_estimate_when_similar_ones_were_run_then_the_formula_times_what_it_was_off_by() -> None:
    runs = [run(3 * run(1.0, replace(SIZE, data=data)).formula_s, replace(SIZE, data=data)) for data in range(90, 99)]
    found = History(runs).estimate(need(), 3)
    assert found.tier == SIMILAR
    assert found.seconds == pytest.approx(3 * run(1.0).formula_s)
    assert History(runs).estimate(need(dims="2D"), 3).tier == FORMULA, "others say nothing about it"


def test_estimate_when_the_formula_errs_with_the_size_then_the_nearest_count() -> None:
    small = [replace(SIZE, data=10 + number) for number in range(10)]
    large = [replace(SIZE, data=10_000 + number) for number in range(10)]
    history = History(
        [run(run(1.0, size).formula_s * 0.5, size) for size in small]
        + [run(run(1.0, size).formula_s * 4.0, size) for size in large]
    )
    assert history.estimate(need(replace(SIZE, data=30)), 3).seconds == pytest.approx(
        0.5 * run(1.0, replace(SIZE, data=30)).formula_s
    )
    assert history.estimate(need(replace(SIZE, data=12_000)), 3).seconds == pytest.approx(
        4.0 * run(1.0, replace(SIZE, data=12_000)).formula_s
    )


def test_range_when_enough_was_predicted_then_eight_of_ten_lie_in_it() -> None:
    chance = random.Random(1)

    def taken() -> list[float]:
        return [10.0 * chance.lognormvariate(0.0, 0.3) for _ in range(300)]

    found = History([run(seconds) for seconds in taken()]).estimate(need(), 3)
    assert found.is_measured
    inside = sum(found.low <= seconds <= found.high for seconds in taken())
    assert 0.7 <= inside / 300 <= 0.9


def test_accuracy_when_played_through_then_each_run_is_predicted_from_those_before_it() -> None:
    assert History([run(10.0)]).accuracy() is None, "the first one was predicted by the formula alone"
    found = History([run(10.0), run(20.0), run(15.0)]).accuracy()
    assert found is not None
    assert (found.runs, found.worst) == (2, 2.0)
    assert found.median == pytest.approx(1.5)


def test_memory_when_past_runs_took_less_then_the_formula_and_when_more_then_more() -> None:
    formula = run(1.0).formula_bytes
    assert History([run(1.0, peak=formula // 2)]).memory_bytes(need(), 3) == formula
    assert History([run(1.0, peak=0)]).memory_bytes(need(), 3) == formula
    assert History([run(1.0, peak=2 * formula)]).memory_bytes(need(), 3) == pytest.approx(2 * formula)


def test_estimated_when_planned_then_stages_add_up_and_memory_never_falls() -> None:
    size = replace(SIZE, data=5000)
    description = Description("td", (need(), need(size)), "2.5D", 9, "", SIZE)
    planned = plan_tomodir("td", description, 3)
    assert planned.threads == 3
    (one,) = estimated([planned], History([run(10.0), run(100.0, size)]))
    assert one.estimate_s == 110.0
    assert one.low_s < 110.0 < one.high_s
    assert one.memory_bytes == planned.memory_bytes
    assert item_of(0, one).high_s == 0.0, "a rule of thumb is no reason to claim less"
    (sure,) = estimated([planned], History([run(10.0), run(100.0, size)] * 20))
    assert item_of(0, sure).high_s == sure.high_s > 0


def test_run_of_when_the_stage_says_no_sizes_then_nothing() -> None:
    stage = dict(item_of(0, plan_tomodir("td", Description("td", (need(),), "2.5D", 9, "", SIZE), 3)).stages[0])
    assert run_of(stage, 3, 5.0, 7) == run(5.0, peak=7)
    for broken in ({**stage, "size": {"colour": 1}}, {**stage, "size": None}, {"stage": "inversion"}, {}):
        assert run_of(broken, 3, 5.0, 7) is None
    assert run_of(stage, 3, 0.0, 7) is None
