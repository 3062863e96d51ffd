"""The order of a batch: widest first, longest first, and the same each time."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from crh_batch.ledger.items import Item
from crh_batch.ledger.settings import ItemClass
from crh_batch.plan.order import Planned, SourcedInput, classes_of, in_order, item_of, plan_tomodir
from crh_batch.plan.walltime import estimate_s
from crh_batch.tomodir.stage import Description, Size, StageName, StageNeed

SIZE = Size(nodes=1000, parameters=900, electrodes=20, bandwidth=30, data=100)
SIZES = {"nodes": 1000, "parameters": 900, "electrodes": 20, "bandwidth": 30, "data": 100}
MODEL = StageNeed(
    StageName.MODELLING,
    "2.5D",
    9,
    ("exe/crmod.cfg", "grid/elem.dat"),
    make_dirs=("exe", "mod"),
    result="mod/volt.dat",
    size=SIZE,
)
INVERT = StageNeed(
    StageName.INVERSION, "2.5D", 6, ("exe/crtomo.cfg",), make_dirs=("exe", "inv"), inv_dirs=("inv",), size=SIZE
)


def described(*stages: StageNeed) -> Description:
    return Description("td", stages, "2.5D", 9, "why", SIZE)


def planned(path: str, threads: int, seconds: float) -> Planned:
    return Planned(path, described(MODEL), threads, threads, seconds, 1)


def test_in_order_when_sorted_then_widest_then_longest_then_by_path() -> None:
    some = [
        planned("b", 1, 5.0),
        planned("a", 1, 5.0),
        planned("long", 1, 50.0),
        planned("wide", 5, 1.0),
        planned("wide and long", 5, 2.0),
        planned("middle", 3, 1000.0),
    ]
    expected = ["wide and long", "wide", "middle", "long", "a", "b"]
    assert [one.path for one in in_order(some)] == expected
    assert [one.path for one in in_order(reversed(some))] == expected


def test_classes_of_when_ordered_then_ranges_of_equal_width() -> None:
    ordered = [planned(str(number), threads, 1.0) for number, threads in enumerate([9, 9, 5, 1, 1, 1])]
    assert classes_of(ordered) == (ItemClass(9, 0, 2), ItemClass(5, 2, 3), ItemClass(1, 3, 6))
    assert classes_of([]) == ()


def test_plan_tomodir_when_it_has_two_stages_then_threads_of_the_wider_time_of_both_memory_of_the_larger() -> None:
    one = plan_tomodir("td", described(MODEL, INVERT), 64)
    assert (one.threads, one.omp_threads) == (9, 9)
    # 4 MB + 16 (1000 * 20 * 10 + 9 * 31 * 1000), and for the inversion 16 (90 000 + 1000 * 20 * 7 + 9 * 31 * 1000).
    assert one.memory_bytes == max((4 << 20) + 16 * 479_000, (4 << 20) + 16 * 509_000)
    each = [plan_tomodir("td", described(stage), 64) for stage in (MODEL, INVERT)]
    assert one.estimate_s > max(single.estimate_s for single in each)


def test_plan_tomodir_when_few_cores_are_at_hand_then_it_takes_no_more() -> None:
    assert plan_tomodir("td", described(MODEL), 4).threads == 3
    eight = plan_tomodir("td", described(MODEL), 8)
    assert (eight.threads, eight.omp_threads) == (5, 6)


def test_item_of_when_planned_then_the_pilot_finds_all_that_it_needs() -> None:
    one = Planned("line1/td07", described(MODEL, INVERT), 5, 6, 12.5, 1000)
    item = item_of(17, one)
    assert (item.item_id, item.path, item.threads, item.omp_threads) == (17, "line1/td07", 5, 6)
    assert (item.estimate_s, item.memory_bytes) == (12.5, 1000)
    assert list(item.stages) == [
        {
            "stage": "modelling",
            "program": "CRMod",
            "judge": "crmod",
            "directory": "exe",
            "dims": "2.5D",
            "wavenumbers": 9,
            "inputs": ["exe/crmod.cfg", "grid/elem.dat"],
            "make_dirs": ["exe", "mod"],
            "result": "mod/volt.dat",
            "inv_dirs": [],
            "size": SIZES,
        },
        {
            "stage": "inversion",
            "program": "CRTomo",
            "judge": "crtomo",
            "directory": "exe",
            "dims": "2.5D",
            "wavenumbers": 6,
            "inputs": ["exe/crtomo.cfg"],
            "make_dirs": ["exe", "inv"],
            "result": None,
            "inv_dirs": ["inv"],
            "size": SIZES,
        },
    ]
    assert Item.from_line(json.dumps(json.loads(item.to_line())).encode()) == item


def test_estimate_when_there_is_more_to_do_then_it_is_longer() -> None:
    """A guess that puts the longest first; only the order of its answers is promised."""
    base = estimate_s(SIZE, 9, 3, inversion=True)
    assert estimate_s(SIZE, 9, 3, inversion=False) < base
    assert estimate_s(SIZE, 30, 3, inversion=True) > base
    assert estimate_s(SIZE, 9, 9, inversion=True) < base
    assert estimate_s(Size(**{**vars(SIZE), "nodes": 2000}), 9, 3, inversion=True) > base
    assert estimate_s(Size(**{**vars(SIZE), "data": 200}), 9, 3, inversion=True) > base


def test_estimate_when_a_thread_saves_no_round_then_it_saves_no_time() -> None:
    assert estimate_s(SIZE, 9, 3, inversion=True) == estimate_s(SIZE, 9, 4, inversion=True)


@pytest.mark.parametrize("threads", [0, 1])
def test_estimate_when_threads_are_not_known_then_one(threads: int) -> None:
    assert estimate_s(SIZE, 9, threads, inversion=False) == estimate_s(SIZE, 9, 1, inversion=False)


def test_in_order_when_reversed_then_shortest_and_last_path_first_inside_width_and_priority() -> None:
    some = [
        planned("a", 1, 5.0),
        planned("b", 1, 5.0),
        planned("long", 1, 50.0),
        planned("wide", 5, 1.0),
        replace(planned("urgent", 1, 9.0), priority=1),
    ]
    assert [one.path for one in in_order(some, reverse=True)] == ["wide", "urgent", "b", "a", "long"]


def test_in_order_when_reversed_then_still_nobody_comes_before_one_that_it_waits_for() -> None:
    source = planned("source", 1, 50.0)
    taker = replace(planned("taker", 1, 1.0), sources=(SourcedInput("../source/inv/rho.mag", "source", "inv/rho.mag"),))
    assert [one.path for one in in_order([taker, source], reverse=True)] == ["source", "taker"]
