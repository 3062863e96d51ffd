"""Making a batch: of tomodirs that take results of others, and beside other clients."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import pytest

from crh_batch.demo import TomodirSpec, write_tomodir
from crh_batch.engines.new_batch import Made, make_batch
from crh_batch.errors import Busy
from crh_batch.ledger.batch import Batch
from crh_batch.ledger.custody import custody_of
from crh_batch.ledger.identity import Verdict, this_process
from crh_batch.ledger.items import write_items
from crh_batch.ledger.registration import register
from crh_batch.plan.dependencies import link
from crh_batch.plan.survey import Survey, examine
from crh_batch.profile import Profile
from unit.ledger import making

SPEC = TomodirSpec(dims="2D", electrodes=8, cells_per_spacing=1, layers=3, padding_cells=2, separations=2)


@pytest.fixture
def survey(tmp_path: Path, programs: Path) -> Survey:
    """time0 to time3, each taking the result of the one before, and one that is alone."""
    for number in range(4):
        prior = f"../../time{number - 1}/inv/rho02.modl" if number else ""
        write_tomodir(tmp_path / f"time{number}", replace(SPEC, prior_model=prior))
    write_tomodir(tmp_path / "alone", SPEC)
    found = examine([], str(tmp_path), most_threads=1)
    link(found, 1)
    return found


def make(survey: Survey) -> Made:
    return make_batch(survey.root, survey.planned, Profile(idle_minutes=3), lambda batch: None)


def test_make_batch_when_they_take_results_then_items_and_settings_say_so(survey: Survey) -> None:
    batch = make(survey).batch
    assert batch is not None
    after = {item.path: item.after for item in batch.items}
    ids = {item.path: item.item_id for item in batch.items}
    assert after == {"alone": (), "time0": (), **{f"time{n}": (ids[f"time{n - 1}"],) for n in (1, 2, 3)}}
    assert dict(batch.settings.after) == {ids[path]: sources for path, sources in after.items() if sources}
    assert batch.settings.idle_s == 180


def test_make_batch_when_somebody_else_got_the_source_then_what_takes_its_result_is_not_registered(
    survey: Survey, tmp_path: Path
) -> None:
    other = making.make_batch(tmp_path, [making.make_item(0, "time1")])
    assert register(str(tmp_path / "time1"), other.paths, 0, this_process(), "inv") is None
    made = make(survey)
    assert made.batch is not None
    assert sorted(item.path for item in made.batch.items) == ["alone", "time0"]
    assert [path for path, _ in made.taken] == ["time1"]
    assert sorted(path for path, _ in made.waiting) == ["time2", "time3"]
    assert "takes a result of time1" in dict(made.waiting)["time2"]
    registered = sorted(name for name in os.listdir(tmp_path) if name.endswith(".crh"))
    assert registered == ["alone.crh", "time0.crh", "time1.crh"]


def directory_of(survey: Survey) -> str:
    """The one batch that is being made."""
    state = os.path.join(survey.root, ".crh-batch")
    (name,) = os.listdir(state)
    return os.path.join(state, name)


def test_make_batch_when_it_registers_then_it_has_custody_until_all_is_there(survey: Survey) -> None:
    """Whoever meets one of its .crh files can find out whether it lives."""
    seen: list[Verdict | None] = []

    def look(done: int, total: int) -> None:
        seen.append(custody_of(Batch(directory_of(survey))).verdict())

    made = make_batch(survey.root, survey.planned, Profile(), lambda batch: look(0, 0), look)
    assert seen == [Verdict.ALIVE] * (len(survey.planned) + 1)
    assert made.batch is not None
    assert custody_of(made.batch).verdict() is None


def test_make_batch_when_another_client_took_it_over_meanwhile_then_it_stops_and_starts_nothing(survey: Survey) -> None:
    started: list[Batch] = []

    def close_it(done: int, total: int) -> None:
        if done == 1:
            assert write_items(Batch(directory_of(survey)).paths, [])

    with pytest.raises(Busy, match="another client took it over"):
        make_batch(survey.root, survey.planned, Profile(), started.append, close_it)
    assert started == []
    assert os.path.getsize(os.path.join(directory_of(survey), "items.jsonl")) == 0
