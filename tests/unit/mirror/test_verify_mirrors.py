"""Promise: verify calls nothing odd that is normal for a batch that runs elsewhere, and mends from no old picture."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

import crh_batch.verify.compare
from crh_batch.engines.take_over import TakeOver
from crh_batch.errors import CrhBatchError, MirrorDiffers
from crh_batch.hosts.this_machine import ThisMachine
from crh_batch.ledger import arbiter
from crh_batch.ledger.arbiter import arbitrate
from crh_batch.ledger.collect import collect_batch
from crh_batch.ledger.custody import custody_of
from crh_batch.ledger.identity import this_process
from crh_batch.ledger.names import StateName, states
from crh_batch.ledger.registration import read_registration, register
from crh_batch.ledger.session import Session
from crh_batch.mirror.arbiter import find_arbiter
from crh_batch.mirror.refresh import refresh
from crh_batch.verify.compare import Compared, compare_batch, compare_twice
from crh_batch.verify.finding import Finding, Kind
from crh_batch.verify.mend import mend_batch
from unit.ledger.making import INVERSION, begin, claim, dead_process, finish, write_files
from unit.mirror.staged import Staged, names_of

Make = Callable[..., Staged]
RESULT = {"inv/rho.mag": b"1" * 100}


@pytest.fixture(autouse=True)
def arbitrated(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Names are decided about as the command line has it, on a filesystem that no other machine writes to."""
    monkeypatch.setattr(crh_batch.verify.compare, "_PAUSE_S", 0.01)
    monkeypatch.setattr(crh_batch.verify.compare, "is_of_this_machine", lambda place: True)
    before = arbiter._find
    arbitrate(find_arbiter)
    yield
    arbitrate(before)


@pytest.fixture
def survey(stage_batch: Make) -> Make:
    """Make a batch with stages as submit leaves it: tomodirs with their inputs and .crh files, a pilot to be sent."""

    def make(count: int, **more: object) -> Staged:
        staged = stage_batch(count, **more)
        paths = staged.batch.paths
        program = {"path": "/sw/CRTomo", "sha256": "2", "source": "far1:/sw/CRTomo"}
        settings = Path(paths.settings)
        said = json.loads(settings.read_text())
        settings.write_text(json.dumps({**said, "programs": {"CRMod": program, "CRTomo": program}}))
        Path(paths.pilot).write_bytes(b"pilot")
        for item in staged.batch.items:
            tomodir = staged.batch.tomodir(item)
            write_files(Path(tomodir), dict.fromkeys(INVERSION["inputs"], b"x"))
            assert register(tomodir, paths, item.item_id, this_process(), "inv") is None
        return staged

    return make


def look(staged: Staged, *, deep: bool = False) -> Compared:
    directory, root = staged.batch.paths.directory, staged.batch.paths.root
    return compare_twice(lambda: compare_batch(directory, root, ThisMachine(), deep=deep), directory)


def odd(staged: Staged, *, deep: bool = False) -> dict[Kind, str]:
    return {one.kind: one.place for one in look(staged, deep=deep).findings}


def fix(staged: Staged) -> tuple[list[Finding], list[CrhBatchError]]:
    trouble: list[CrhBatchError] = []
    paths = staged.batch.paths
    done, _ = mend_batch(paths.directory, paths.root, ThisMachine(), None, on_trouble=trouble.append)
    return done, trouble


def state_of(staged: Staged, number: int) -> StateName:
    return dict(states(staged.batch.paths, [number], staged.batch.settings))[number].name


def crash(staged: Staged, number: int) -> Session:
    """A pilot there that claimed a tomodir and died."""
    pilot = begin(staged.there[0], who=dead_process())
    claim(staged.there[0], pilot, number)
    return pilot


# ------------------------------------------------------------------ what is normal


def registered(staged: Staged) -> None:
    """Nothing was sent yet."""
    for stage in staged.stages:
        os.unlink(stage.arrived)
        shutil.rmtree(stage.top)


def broken_off(staged: Staged) -> None:
    registered(staged)
    Path(staged.stages[0].directory, "inputs.tar.gz").write_bytes(b"half of it went")


def sent(staged: Staged) -> None:
    """Nobody has begun anything."""


def running(staged: Staged) -> None:
    pilot = begin(staged.there[0])
    claim(staged.there[0], pilot, 0)
    pilot.append("progress", id=0, iteration=1, rms=7.0)


def done(staged: Staged) -> None:
    for there, number in zip(staged.there, range(2)):
        pilot = begin(there)
        claim(there, pilot, number)
        provenance = {"schema": 1, "batch": there.batch_id, "id": number}
        finish(there, number, {**RESULT, "exe/crh.json": json.dumps(provenance).encode()}, session=pilot)


def failed(staged: Staged) -> None:
    there = staged.there[0]
    pilot = begin(there)
    claim(there, pilot, 0)
    record = {"offset": 0, "length": 50, "sha256": "0" * 64, "files": 1}
    pilot.append("fail", id=0, attempt=1, failure="input", error="Magnitude <= 0", record=record)
    assert pilot.win(0, "fail.001.input", "symlink")


def fetched(staged: Staged) -> None:
    done(staged)
    assert refresh(staged.batch, packs=True) == []


def collected(staged: Staged) -> None:
    fetched(staged)
    with custody_of(staged.batch) as custody:
        report = collect_batch(staged.batch, custody)
    assert (report.collected, report.refused) == (2, [])


@pytest.mark.parametrize("phase", [registered, broken_off, sent, running, done, failed, fetched, collected])
def test_verify_when_all_is_well_then_nothing_is_odd(survey: Make, phase: Callable[[Staged], None]) -> None:
    staged = survey(4, parts=2)
    phase(staged)
    assert odd(staged) == {}


@pytest.mark.parametrize("phase", [registered, done, collected])
def test_verify_when_deep_then_packs_are_fetched_and_nothing_is_odd(
    survey: Make, phase: Callable[[Staged], None]
) -> None:
    staged = survey(4, parts=2)
    phase(staged)
    assert odd(staged, deep=True) == {}
    assert len(os.listdir(staged.batch.paths.packs)) == (0 if phase is registered else 2)


def test_verify_when_a_cluster_is_silent_then_it_says_so_and_nothing_is_odd(survey: Make) -> None:
    staged = survey(4, parts=2)
    done(staged)
    assert odd(staged) == {}
    staged.far[1].close()
    staged.far[1].is_down = True
    found = look(staged, deep=True)
    assert found.findings == []
    assert [one.host for one in found.silent] == ["far2"]


# ------------------------------------------------------------------ what is odd


def test_verify_when_a_stage_is_gone_with_what_was_wanted_of_it_then_it_is_odd(survey: Make) -> None:
    staged = survey(4, parts=2)
    done(staged)
    assert odd(staged) == {}
    shutil.rmtree(staged.stages[1].top)
    assert odd(staged) == {Kind.STAGE_GONE: "stages/2"}
    assert odd(staged, deep=True) == {Kind.STAGE_GONE: "stages/2"}


def test_verify_when_a_stage_is_gone_and_all_is_collected_then_nothing_is_odd(survey: Make) -> None:
    staged = survey(2, parts=2)
    collected(staged)
    for stage in staged.stages:
        shutil.rmtree(stage.top)
    assert odd(staged, deep=True) == {}


def test_verify_when_old_files_of_a_stage_were_removed_then_it_is_odd_while_something_is_to_run(survey: Make) -> None:
    staged = survey(2, parts=2)
    sent(staged)
    os.unlink(staged.stages[1].there.items)
    assert odd(staged) == {Kind.STAGE_CLEANED: "stages/2"}
    done(staged)
    assert odd(staged, deep=True) == {}, "what is finished can be fetched"


@pytest.mark.parametrize("content", ["", "{", "[]", '{"schema": 1}', None])
def test_verify_when_stage_json_is_damaged_then_that_is_odd(survey: Make, content: str | None) -> None:
    staged = survey(2)
    path = Path(staged.stages[0].directory, "stage.json")
    path.unlink() if content is None else path.write_text(content)
    assert odd(staged) == {Kind.STAGE_UNREADABLE: "stages/1/stage.json"}


@pytest.mark.parametrize("name", ["batch.json", "items.jsonl"])
def test_verify_when_a_list_of_a_stage_is_damaged_then_that_is_odd(survey: Make, name: str) -> None:
    staged = survey(2)
    Path(staged.stages[0].directory, name).write_text("{")
    assert odd(staged) == {Kind.STAGE_UNREADABLE: "stages/1"}


def test_verify_when_a_stage_has_vanished_here_then_its_tomodirs_are_missed(survey: Make) -> None:
    staged = survey(4, parts=2)
    shutil.rmtree(staged.stages[1].directory)
    (found,) = look(staged).findings
    assert (found.kind, found.place) == (Kind.STAGE_UNREADABLE, "stages")
    assert "2 tomodirs" in found.detail and "td1" in found.detail


@pytest.mark.parametrize("name", ["inputs.tar.gz", "inputs.tar.gz.part", ".stage.json.abc.part"])
def test_verify_when_an_upload_has_left_a_file_then_fix_removes_it(survey: Make, name: str) -> None:
    staged = survey(2)
    left = Path(staged.stages[0].directory, name)
    left.write_bytes(b"x")
    assert odd(staged) == {Kind.TEMPORARY: f"stages/1/{name}"}
    mended, trouble = fix(staged)
    assert ([one.kind for one in mended], trouble) == ([Kind.TEMPORARY], [])
    assert not left.exists()
    assert odd(staged) == {}


def test_verify_when_a_client_is_at_work_then_its_upload_is_left(survey: Make) -> None:
    staged = survey(2)
    os.unlink(staged.stages[0].arrived)
    Path(staged.stages[0].directory, "inputs.tar.gz.part").touch()
    with custody_of(staged.batch):
        assert odd(staged) == {}


def test_verify_when_a_file_in_a_stage_is_the_users_then_it_is_foreign(survey: Make) -> None:
    staged = survey(2)
    Path(staged.stages[0].directory, "notes.txt").touch()
    assert odd(staged) == {Kind.FOREIGN: "stages/1/notes.txt"}


def plant_another_claim(staged: Staged) -> Path:
    """A pilot there has a tomodir, and somebody says here that a client has it."""
    running(staged)
    name = Path(staged.batch.paths.name(0, "claim.001"))
    os.symlink(f"../../sessions/{Session.begin(staged.batch.paths, 'client').token}.crh", name)
    return name


def test_verify_when_a_name_says_another_thing_here_then_that_is_odd_until_it_is_removed(survey: Make) -> None:
    staged = survey(2)
    name = plant_another_claim(staged)
    assert odd(staged, deep=True) == {Kind.NAME_DIFFERS: "names/000/000000.claim.001"}
    # As its next step says; the next command has a connection of its own.
    name.unlink()
    staged.far[0].close()
    assert odd(staged, deep=True) == {}
    assert names_of(staged.batch) == names_of(staged.there[0])


def test_verify_when_a_refresh_comes_upon_such_a_name_then_that_is_odd(survey: Make) -> None:
    staged = survey(2)
    plant_another_claim(staged)
    claim(staged.there[0], begin(staged.there[0], "later"), 1)
    with pytest.raises(MirrorDiffers):
        refresh(staged.batch)
    assert odd(staged)[Kind.NAME_DIFFERS] == "names/000/000000.claim.001"


def test_verify_when_a_pilots_name_is_here_alone_then_deep_says_so(survey: Make) -> None:
    staged = survey(2)
    done(staged)
    assert odd(staged, deep=True) == {}
    os.unlink(staged.there[0].paths.name(0, "done"))
    assert odd(staged, deep=True) == {Kind.NAME_DIFFERS: "names/000/000000.done"}


def test_verify_when_a_pack_there_is_short_then_deep_says_so(survey: Make) -> None:
    staged = survey(2)
    done(staged)
    (pack,) = Path(staged.there[0].paths.packs).iterdir()
    os.truncate(pack, 10)
    assert odd(staged) == {}
    assert odd(staged, deep=True) == {Kind.PACK_SHORT: f"packs/{pack.name}"}


# ------------------------------------------------------------------ mending


def test_fix_when_a_pilot_there_has_died_then_its_claim_is_lost_on_both_sides(survey: Make) -> None:
    staged = survey(2)
    crash(staged, 0)
    assert odd(staged) == {Kind.CLAIM_DEAD: "td0"}
    mended, trouble = fix(staged)
    assert ([one.kind for one in mended], trouble) == ([Kind.CLAIM_DEAD], [])
    assert "000/000000.fail.001.lost" in names_of(staged.there[0])
    assert names_of(staged.there[0]) == names_of(staged.batch)
    assert state_of(staged, 0) is StateName.READY


def test_fix_when_a_cluster_is_silent_then_it_mends_nothing_and_says_so(survey: Make) -> None:
    staged = survey(2)
    crash(staged, 0)
    assert odd(staged) == {Kind.CLAIM_DEAD: "td0"}
    # It ended well meanwhile, and nobody here knows.
    finish(staged.there[0], 0, RESULT)
    staged.far[0].close()
    staged.far[0].is_down = True
    mended, trouble = fix(staged)
    assert (mended, [type(one).__name__ for one in trouble]) == ([], ["HostError"])
    assert "000/000000.fail.001.lost" not in names_of(staged.batch)


def test_fix_when_a_dead_pilot_had_a_result_without_its_name_then_it_is_run_again(survey: Make) -> None:
    """The name can't be made for it here, and a second run harms nothing."""
    staged = survey(2)
    pilot = crash(staged, 0)
    finish(staged.there[0], 0, RESULT, session=pilot)
    os.unlink(staged.there[0].paths.name(0, "done"))
    assert odd(staged, deep=True) == {Kind.CLAIM_DEAD: "td0"}
    fix(staged)
    assert state_of(staged, 0) is StateName.READY


# ------------------------------------------------------------------ submit --force


def free(staged: Staged, number: int) -> str | None:
    tomodir = staged.batch.tomodir(staged.batch.items[number])
    registration = read_registration(tomodir)
    assert registration is not None
    taking = TakeOver(force=True)
    try:
        return taking.try_to_free(tomodir, registration)
    finally:
        taking.close()


def test_force_when_a_result_is_not_fetched_yet_then_it_is_no_lost_one(survey: Make) -> None:
    staged = survey(2)
    done(staged)
    assert refresh(staged.batch) == []
    assert free(staged, 0) == ""
    assert state_of(staged, 0) is StateName.DONE


def test_force_when_the_cluster_is_silent_then_its_results_are_kept(survey: Make) -> None:
    staged = survey(2)
    done(staged)
    assert refresh(staged.batch) == []
    staged.far[0].close()
    staged.far[0].is_down = True
    assert free(staged, 0) == ""
    assert state_of(staged, 0) is StateName.DONE


def test_force_when_the_stage_is_gone_then_what_was_not_fetched_is_free(survey: Make) -> None:
    staged = survey(2)
    done(staged)
    assert refresh(staged.batch) == []
    shutil.rmtree(staged.stages[0].top)
    assert free(staged, 0) is None
    assert state_of(staged, 0) is StateName.MOVED
