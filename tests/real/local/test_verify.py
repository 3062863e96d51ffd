"""Promise: verify says what is odd and nothing else, and --fix mends what it says it mends, once.

Each oddity is planted in a batch that the real commands and the real CRMod made.
"""

from __future__ import annotations

import dataclasses
import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import pytest

import crh_batch.verify.in_work
from conftest import tree_sums
from crh_batch.demo import write_small_models
from crh_batch.engines.history_file import history_path, remember
from crh_batch.engines.new_batch import make_batch
from crh_batch.ledger.custody import custody_of
from crh_batch.ledger.identity import this_process
from crh_batch.ledger.session import Session
from crh_batch.plan.survey import examine
from crh_batch.profile_files import load_profile
from real.local.verifying import Hurt, Verify, by_command
from unit.ledger.making import ELSEWHERE, begin


@pytest.fixture(scope="module")
def surveys(tmp_path_factory: pytest.TempPathFactory, programs: Path) -> dict[str, Path]:
    """The same four models in three phases: registered, done, collected."""
    base = tmp_path_factory.mktemp("verify")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CONFIG_HOME", str(base / "config"))
        patch.setenv("XDG_STATE_HOME", str(base / "state"))
        patch.setenv("PATH", f"{programs}:{os.environ['PATH']}")
        (base / "config" / "crh-batch").mkdir(parents=True)
        (base / "config" / "crh-batch" / "profile.toml").write_text('scheduler = "local"\n')
        ready = base / "ready"
        write_small_models(ready, 4, data=60, electrodes=16)
        done = base / "done"
        shutil.copytree(ready, done)
        survey = examine([], str(ready), most_threads=1)
        assert make_batch(str(ready), survey.planned, load_profile(str(ready)), lambda batch: None).batch is not None
        submit = (sys.executable, "-m", "crh_batch", "submit", "--engine", "local", "-j1", "--wait")
        subprocess.run(submit, cwd=done, capture_output=True, check=True)
        collected = base / "collected"
        shutil.copytree(done, collected, symlinks=True)
        assert by_command("collect", place=collected) == 0
    return {"ready": ready, "done": done, "collected": collected}


@pytest.fixture
def hurt(surveys: dict[str, Path], tmp_path: Path) -> Callable[[str], Hurt]:
    """Copy a survey to be hurt."""

    def copy(phase: str) -> Hurt:
        shutil.copytree(surveys[phase], tmp_path / "survey", symlinks=True)
        return Hurt(tmp_path / "survey")

    return copy


# ------------------------------------------------------------------ nothing odd


@pytest.mark.parametrize("phase", ["ready", "done", "collected"])
@pytest.mark.parametrize("deep", [False, True])
def test_verify_when_all_is_well_then_nothing_is_odd(
    hurt: Callable[[str], Hurt], verify: Verify, phase: str, deep: bool
) -> None:
    said = verify(hurt(phase), *(["--deep"] if deep else []))
    assert (said.code, said.odd) == (0, {}), said.words()


def test_verify_when_it_only_looks_then_it_writes_nothing(hurt: Callable[[str], Hurt], verify: Verify) -> None:
    survey = hurt("done")
    for number in range(3):
        survey.crh(number).unlink()
    (survey.directory / "liveness.json").write_text("no JSON")
    (survey.directory / "packs").rename(survey.directory / "packs.away")

    def all_of_it() -> object:
        entries = sorted(survey.root.rglob("*"))
        return tree_sums(survey.root), [(entry, entry.lstat().st_mtime_ns, entry.lstat().st_ino) for entry in entries]

    before = all_of_it()
    assert verify(survey, "--deep").code == 1
    assert all_of_it() == before


def test_verify_when_many_are_alike_then_they_are_one_line(
    hurt: Callable[[str], Hurt], verify: Verify, capfd: pytest.CaptureFixture[str]
) -> None:
    survey = hurt("done")
    for number in range(4):
        survey.crh(number).unlink()
    assert by_command("verify", place=survey.root) == 1
    said = capfd.readouterr().out
    assert f"{survey.paths[0]} and 3 more: its .crh file is gone" in said
    assert "--fix mends it" in said and "mends 1 of 1 kind" in said


# ------------------------------------------------------------------ each oddity


class Oddity(NamedTuple):
    """A way to hurt a batch.

    Args:
        phase: of the survey.
        plant: what is done to it.
        kind: what verify calls it.
        mends: whether --fix mends it.
        code: verify's exit code.
    """

    phase: str
    plant: Callable[[Hurt], object]
    kind: str
    mends: bool = False
    code: int = 1
    deep: bool = False


def _dead_claim(survey: Hurt) -> None:
    session = Session.begin(survey.batch.paths, "pilot")
    session.append("claim", id=0, attempt=1)
    assert session.win(0, "claim.001", "symlink")
    session.close()
    survey.kill_pilots_of_record()


def _dead_custody(survey: Hurt) -> None:
    session = Session.begin(survey.batch.paths, "client")
    numbers = len(list((survey.directory / "names").glob("custody.???")))
    assert session.win_for_batch(f"custody.{numbers + 1:03d}", "symlink")
    session.close()
    survey.kill_pilots_of_record()


def _nameless_result(survey: Hurt) -> None:
    survey.kill_pilots_of_record()
    survey.name(0, "done").unlink()


def _append(path: Path, text: str) -> None:
    with path.open("a") as stream:
        stream.write(text)


def _flip(path: Path, place: int) -> None:
    content = bytearray(path.read_bytes())
    content[place] ^= 1
    path.write_bytes(content)


def _other_batch(survey: Hurt) -> None:
    """Let another batch of the same survey have the first tomodir."""
    other = survey.directory.with_name("20990101-000000-zzzz")
    shutil.copytree(survey.directory, other, symlinks=True)
    said = json.loads(survey.crh(0).read_text())
    batch_dir = os.path.join(os.path.dirname(said["batch_dir"]), other.name)
    survey.crh(0).write_text(json.dumps({**said, "batch": other.name, "batch_dir": batch_dir}))


def _half_name(survey: Hurt, mark: str) -> None:
    survey.kill_pilots_of_record()
    name = survey.name(0, mark)
    name.unlink(missing_ok=True)
    name.write_text("")


def _half_made_batch(survey: Hurt) -> None:
    """A client has died when it had registered one tomodir."""
    half = survey.directory.with_name("20990101-000000-zzzz")
    shutil.copytree(survey.directory, half, symlinks=True)
    (half / "items.jsonl").unlink()
    hurt = Hurt(survey.root)
    hurt.directory = half
    for end in (half / "names").glob("*.end"):
        end.unlink()
    hurt.kill_pilots_of_record()
    said = json.loads(survey.crh(0).read_text())
    batch_dir = os.path.join(os.path.dirname(said["batch_dir"]), half.name)
    more = survey.root / "new"
    shutil.copytree(survey.tomodir(0), more / "td")
    batch_dir = os.path.relpath(half, more)
    (more / "td.crh").write_text(json.dumps({**said, "batch": half.name, "batch_dir": batch_dir, "id": 0}))


def _renamed(survey: Hurt) -> None:
    for place in (survey.tomodir(0), survey.crh(0)):
        place.rename(place.with_name(place.name.replace("td", "renamed")))


def _copied(survey: Hurt) -> None:
    shutil.copytree(survey.tomodir(0), survey.root / "copy")
    said = json.loads(survey.crh(0).read_text())
    batch_dir = os.path.relpath(survey.directory, survey.root)
    (survey.root / "copy.crh").write_text(json.dumps({**said, "batch_dir": batch_dir}))


def _moved_away(survey: Hurt) -> None:
    place = survey.root / "elsewhere" / ".crh-batch"
    place.mkdir(parents=True)
    survey.directory.rename(place / survey.directory.name)


def _open_intent(survey: Hurt) -> None:
    line = {"time": 1.0, "event": "intent", "token": "abcdefghij", "engine": "local", "threads": 0, "pilots": 1}
    _append(survey.directory / "submissions.jsonl", json.dumps(line) + "\n")


def _remove_source(survey: Hurt) -> None:
    """The program is gone from the batch, and another version was installed meanwhile."""
    (name, entry) = next(iter(survey.batch.settings.programs.items()))
    survey.change_settings(programs={name: {**entry, "source": "/bin/true"}})
    (survey.directory / "bin" / entry["file"]).unlink()


def _gone_pack(survey: Hurt) -> None:
    survey.pack_of(0).rename(survey.root / "away")


def _drop_done(survey: Hurt) -> None:
    """Take the event of the first tomodir out of its session."""
    survey.change_lines(
        survey.session_of(0), lambda line: None if line.get("event") == "done" and line["id"] == 0 else line
    )


def _spoil_record(survey: Hurt) -> None:
    survey.change_lines(
        survey.session_of(0), lambda line: {key: value for key, value in line.items() if key != "record"}
    )


def _leave_registration(survey: Hurt) -> None:
    said = {"schema": 1, "batch": survey.batch.batch_id, "id": 0, "registrant": {}}
    batch_dir = os.path.relpath(survey.directory, survey.crh(0).parent)
    survey.crh(0).write_text(json.dumps({**said, "batch_dir": batch_dir}))


def _wrong_number(survey: Hurt) -> None:
    survey.crh(0).write_text(json.dumps({**json.loads(survey.crh(0).read_text()), "id": 1}))


def _pipe_of_provenance(survey: Hurt) -> None:
    path = survey.tomodir(0) / "exe/crh.json"
    path.unlink()
    os.mkfifo(path)


def _temporary_in(inside: str) -> Callable[[Hurt], object]:
    return lambda survey: (survey.directory / inside).write_text("")


def _program(survey: Hurt) -> Path:
    return next(path for path in (survey.directory / "bin").iterdir() if path.name.startswith("CRMod-"))


ODDITIES = {
    "settings": Oddity("done", lambda s: (s.directory / "batch.json").write_text("{"), "settings-unreadable"),
    "newer settings": Oddity("done", lambda s: s.change_settings(schema=99), "settings-unreadable"),
    "items": Oddity("done", lambda s: _append(s.directory / "items.jsonl", "{torn"), "items-unreadable"),
    "items line": Oddity("done", lambda s: _append(s.directory / "items.jsonl", '{"id":9,x}\n'), "items-unreadable"),
    "class": Oddity("ready", lambda s: s.change_settings(classes=[[1, 0, 3]]), "item-without-class"),
    "after": Oddity("ready", lambda s: s.change_settings(after={"1": [0]}), "source-unknown"),
    "no program in settings": Oddity("ready", lambda s: s.change_settings(programs={}), "program-unknown"),
    "program gone": Oddity("ready", lambda s: _program(s).unlink(), "program-missing", True),
    "program and its source gone": Oddity("ready", _remove_source, "program-missing"),
    "program damaged": Oddity("ready", lambda s: _append(_program(s), "x"), "program-damaged", True),
    "pilot gone": Oddity("ready", lambda s: (s.directory / "pilot.pyz").unlink(), "pilot-missing", True),
    "pilot damaged": Oddity("ready", lambda s: _append(s.directory / "pilot.pyz", "x"), "pilot-damaged", True),
    "no shard": Oddity("ready", lambda s: shutil.rmtree(s.directory / "names/000"), "directory-missing", True),
    "no jobs": Oddity("ready", lambda s: (s.directory / "jobs").rmdir(), "directory-missing", True),
    "others may write": Oddity("ready", lambda s: s.directory.chmod(0o777), "not-trusted"),
    "part": Oddity("ready", _temporary_in(".liveness.json.abc.part"), "temporary-file", True),
    "part of items": Oddity("ready", _temporary_in("items.jsonl.part.abc"), "temporary-file", True),
    "registering": Oddity("ready", _temporary_in("registering/000001.abc"), "temporary-file", True),
    "probe": Oddity("ready", _temporary_in("names/.probe-abc.file"), "temporary-file", True),
    "foreign in the batch": Oddity("ready", _temporary_in("notes.txt"), "foreign-file", code=0),
    "foreign in names": Oddity("ready", _temporary_in("names/000/notes.txt"), "foreign-file", code=0),
    "foreign in sessions": Oddity("ready", _temporary_in("sessions/notes.txt"), "foreign-file", code=0),
    "cache": Oddity("ready", _temporary_in("liveness.json"), "cache-unreadable", True),
    "cache is a pipe": Oddity("ready", lambda s: os.mkfifo(s.directory / "liveness.json"), "cache-unreadable", True),
    "half claim": Oddity("ready", lambda s: _half_name(s, "claim.001"), "name-half-made", True),
    "half done": Oddity("done", lambda s: _half_name(s, "done"), "name-half-made", True),
    "name of nobody": Oddity("ready", lambda s: os.symlink("x", s.name(77, "done")), "name-without-item"),
    "gap": Oddity("collected", lambda s: (s.directory / "names/custody.001").unlink(), "names-missing", code=0),
    "session gone": Oddity("done", lambda s: s.session_of(0).unlink(), "session-missing"),
    "session empty": Oddity("done", lambda s: s.session_of(0).write_text(""), "session-without-header"),
    "session of nobody": Oddity("ready", _temporary_in("sessions/pilot-abc.crh"), "session-empty", code=0),
    "no event": Oddity("done", _drop_done, "result-without-event"),
    "record": Oddity("done", _spoil_record, "record-unreadable"),
    "pack gone": Oddity("done", _gone_pack, "pack-missing"),
    "pack short": Oddity("done", lambda s: os.truncate(s.pack_of(0), 100), "pack-short"),
    "pack damaged": Oddity("done", lambda s: _flip(s.pack_of(0), 100), "pack-damaged", deep=True),
    "no done": Oddity("collected", lambda s: s.name(0, "done").unlink(), "collected-without-done", code=0),
    "no name": Oddity("done", _nameless_result, "result-without-name", True),
    "custody": Oddity("done", _dead_custody, "custody-of-the-dead", True),
    "claim": Oddity("ready", _dead_claim, "claim-of-the-dead", True),
    "intent": Oddity("ready", _open_intent, "submission-open", True),
    "tomodir gone": Oddity("ready", lambda s: shutil.rmtree(s.tomodir(0)), "tomodir-gone"),
    "no .crh": Oddity("ready", lambda s: s.crh(0).unlink(), "registration-missing", True),
    "no .crh of a result": Oddity("done", lambda s: s.crh(0).unlink(), "registration-missing", True),
    ".crh left": Oddity("collected", _leave_registration, "registration-left", True),
    ".crh of another": Oddity("ready", _wrong_number, "registration-wrong-number", True),
    ".crh of another batch": Oddity("ready", _other_batch, "registered-elsewhere", True),
    ".crh of another batch, finished": Oddity("done", _other_batch, "registered-elsewhere"),
    ".crh empty": Oddity("ready", lambda s: s.crh(0).write_text(""), "registration-unreadable"),
    "input gone": Oddity("ready", lambda s: (s.tomodir(0) / "grid/elem.dat").unlink(), "input-missing"),
    "input changed": Oddity("done", lambda s: _append(s.tomodir(0) / "exe/crmod.cfg", "\n"), "input-changed"),
    "result gone": Oddity("collected", lambda s: (s.tomodir(0) / "mod/volt.dat").unlink(), "result-gone"),
    "provenance is a pipe": Oddity("collected", _pipe_of_provenance, "result-changed"),
    "provenance gone": Oddity("collected", lambda s: (s.tomodir(0) / "exe/crh.json").unlink(), "result-gone"),
    "result changed": Oddity(
        "collected", lambda s: _flip(s.tomodir(0) / "mod/volt.dat", 9), "result-changed", deep=True
    ),
    "half collected": Oddity(
        "done", lambda s: (s.tomodir(0) / f".crh-{s.batch.batch_id}-abc").mkdir(), "collect-left-over", True
    ),
    "half-made batch": Oddity("ready", _half_made_batch, "batch-half-made", True),
    "prune left": Oddity(
        "collected", lambda s: s.directory.rename(s.directory.with_name(f".pruned-{s.directory.name}")),
        "prune-left-over", True,
    ),
    "batch moved": Oddity("ready", _moved_away, "registration-astray"),
    "batch deleted": Oddity("ready", lambda s: shutil.rmtree(s.directory), "registration-orphaned", True),
    "all batches gone": Oddity("ready", lambda s: shutil.rmtree(s.directory.parent), "registration-orphaned"),
    "tomodir copied": Oddity("ready", _copied, "registration-copied", True),
    "tomodir renamed": Oddity("ready", _renamed, "tomodir-renamed"),
}  # fmt: skip
# What comes with it: the tomodir that was renamed isn't where it was, and the program in bin/ is nobody's.
BESIDE = {"tomodir-renamed": {"tomodir-gone"}, "program-unknown": {"foreign-file"}}


@pytest.mark.parametrize("name", ODDITIES)
def test_verify_when_something_is_odd_then_it_says_that_and_mends_what_it_says(
    hurt: Callable[[str], Hurt], verify: Verify, name: str
) -> None:
    oddity = ODDITIES[name]
    survey = hurt(oddity.phase)
    oddity.plant(survey)
    options = ["--deep"] if oddity.deep else []
    after_planting = {path: tree_sums(survey.root / path) for path in survey.paths}
    if oddity.deep:
        assert verify(survey).odd == {}

    said = verify(survey, *options)
    assert set(said.odd) == {oddity.kind} | BESIDE.get(oddity.kind, set()), said.words()
    assert said.code == oddity.code
    assert (oddity.kind in said.fixable) == oddity.mends, said.words()

    fixed = verify(survey, "--fix", *options)
    assert fixed.mended == ({oddity.kind} if oddity.mends else set()), fixed.parts
    assert set(fixed.odd) == (set() if oddity.mends else set(said.odd)), fixed.words()
    again = verify(survey, "--fix", *options)
    assert (again.mended, again.odd) == (set(), fixed.odd), again.parts
    for path in survey.paths:
        assert {**tree_sums(survey.root / path)} == after_planting[path], f"{path}: changed by --fix"


def test_every_kind_of_oddity_is_planted() -> None:
    from crh_batch.report.oddities import WORDS
    from crh_batch.verify.finding import Kind

    assert set(WORDS) == set(Kind)
    elsewhere = {"log-gone", "event-without-item", "history-damaged"}
    # tests/unit/mirror/test_verify_mirrors.py
    elsewhere |= {"stage-unreadable", "stage-gone", "stage-cleaned", "name-differs"}
    assert {one.kind for one in ODDITIES.values()} | elsewhere == {kind.value for kind in Kind}
    for kind in Kind:
        assert (kind.value in {one.kind for one in ODDITIES.values() if one.mends}) <= bool(WORDS[kind].mended)


# ------------------------------------------------------------------ what comes of a mend


def test_fix_when_a_pilot_died_before_its_name_then_the_result_counts_and_is_collected(
    hurt: Callable[[str], Hurt], verify: Verify
) -> None:
    survey = hurt("done")
    _nameless_result(survey)
    assert survey.states() == ["running", "done", "done", "done"]
    verify(survey, "--fix")
    assert survey.states() == ["done"] * 4
    assert by_command("collect", place=survey.root) == 0
    assert survey.states() == ["collected"] * 4
    assert verify(survey, "--deep").odd == {}


def test_fix_when_that_result_is_damaged_then_its_claim_is_lost(hurt: Callable[[str], Hurt], verify: Verify) -> None:
    survey = hurt("done")
    pack = survey.pack_of(0)
    _nameless_result(survey)
    _flip(pack, 100)
    said = verify(survey, "--fix")
    assert said.mended == {"claim-of-the-dead"}
    assert survey.states()[0] == "ready"


def test_fix_when_its_input_changed_meanwhile_then_the_claim_is_lost(
    hurt: Callable[[str], Hurt], verify: Verify
) -> None:
    survey = hurt("done")
    _nameless_result(survey)
    _append(survey.tomodir(0) / "exe/crmod.cfg", "\n")
    assert verify(survey, "--fix").mended == {"claim-of-the-dead"}
    assert survey.states()[0] == "ready"


@pytest.mark.parametrize("plant", [_dead_claim, lambda survey: _half_name(survey, "claim.001")])
def test_fix_when_a_claim_is_of_the_dead_then_it_is_ready_again(
    hurt: Callable[[str], Hurt], verify: Verify, plant: Callable[[Hurt], None]
) -> None:
    survey = hurt("ready")
    plant(survey)
    assert survey.states()[0] == "running"
    verify(survey, "--fix")
    assert survey.states() == ["ready"] * 4
    assert survey.name(0, "fail.001.lost").is_symlink()


def test_verify_when_the_pilot_lives_then_its_claim_is_left(hurt: Callable[[str], Hurt], verify: Verify) -> None:
    survey = hurt("ready")
    session = Session.begin(survey.batch.paths, "pilot")
    assert session.win(0, "claim.001", "symlink")
    session.close()
    assert "claim-of-the-dead" not in verify(survey, "--fix").mended
    assert survey.states()[0] == "running"


def test_verify_when_whoever_began_a_name_may_live_then_it_is_left(hurt: Callable[[str], Hurt], verify: Verify) -> None:
    survey = hurt("ready")
    _half_name(survey, "claim.001")
    begin(survey.batch, who=ELSEWHERE).close()
    said = verify(survey, "--fix")
    assert "name-half-made" in said.odd
    assert "name-half-made" not in said.mended
    assert survey.name(0, "claim.001").read_bytes() == b""


def test_fix_when_a_batch_is_deleted_then_submit_takes_its_tomodirs(
    hurt: Callable[[str], Hurt], verify: Verify
) -> None:
    survey = hurt("ready")
    said = survey.crh(0).read_text()
    shutil.rmtree(survey.directory)
    verify(survey.root, "--fix")
    aside = survey.crh(0).with_name(survey.crh(0).name + ".aside")
    assert aside.read_text() == said, "kept as it was"
    found = examine([], str(survey.root), most_threads=1)
    assert (len(found.planned), found.registered) == (4, [])


def test_fix_when_a_half_made_batch_is_left_then_its_tomodir_is_free_and_the_other_batch_is_not(
    hurt: Callable[[str], Hurt], verify: Verify
) -> None:
    survey = hurt("ready")
    _half_made_batch(survey)
    verify(survey, "--fix")
    found = examine([], str(survey.root), most_threads=1)
    assert [one.path for one in found.planned] == ["new/td"]
    assert len(found.registered) == 4


def test_fix_when_another_client_is_at_work_then_it_waits_for_nobody_and_changes_nothing(
    hurt: Callable[[str], Hurt], verify: Verify, capfd: pytest.CaptureFixture[str]
) -> None:
    survey = hurt("ready")
    survey.crh(0).unlink()
    with custody_of(survey.batch):
        assert by_command("verify", "--fix", place=survey.root) == 3
    assert not survey.crh(0).exists()
    assert "is at work on it" in capfd.readouterr().err
    assert verify(survey, "--fix").mended == {"registration-missing"}


def test_verify_when_somebody_lives_who_may_be_writing_then_a_temporary_file_is_left_until_it_is_old(
    hurt: Callable[[str], Hurt], verify: Verify, monkeypatch: pytest.MonkeyPatch
) -> None:
    survey = hurt("ready")
    _temporary_in("names/.probe-abc.file")(survey)
    Session.begin(survey.batch.paths, "pilot").close()
    me = this_process()
    monkeypatch.setattr(crh_batch.verify.in_work, "this_process", lambda: dataclasses.replace(me, pid=1))
    assert verify(survey, "--fix").odd == {}
    two_days_ago = time.time() - 2 * 86400
    os.utime(survey.directory / "names/.probe-abc.file", (two_days_ago, two_days_ago))
    assert verify(survey, "--fix").mended == {"temporary-file"}


def test_verify_when_a_part_is_meant_then_the_rest_is_left_out(hurt: Callable[[str], Hurt], verify: Verify) -> None:
    survey = hurt("ready")
    for number in (0, 1):
        survey.crh(number).unlink()
    said = verify(survey, survey.paths[1])
    assert said.odd == {"registration-missing": [survey.paths[1]]}


def test_verify_when_all_batches_are_meant_then_those_below_are_looked_at(
    hurt: Callable[[str], Hurt], verify: Verify
) -> None:
    survey = hurt("ready")
    survey.crh(0).unlink()
    assert verify(survey.root.parent, "--all").odd == {"registration-missing": [survey.paths[0]]}


def test_verify_when_the_history_has_damaged_lines_then_they_are_taken_out(
    hurt: Callable[[str], Hurt], verify: Verify
) -> None:
    survey = hurt("collected")
    remember(survey.batch)
    whole = history_path().read_text()
    _append(history_path(), "{torn\n")
    assert set(verify(survey).odd) == {"history-damaged"}
    assert verify(survey, "--fix").mended == {"history-damaged"}
    assert history_path().read_text().split() == whole.split()
    assert verify(survey).code == 0


def test_verify_when_a_failed_attempt_lost_its_log_then_it_is_a_remark(
    hurt: Callable[[str], Hurt], verify: Verify
) -> None:
    survey = hurt("ready")
    session = Session.begin(survey.batch.paths, "pilot")
    assert session.win(0, "claim.001", "symlink")
    record = {"offset": 0, "length": 10, "sha256": "0" * 64}
    session.append("fail", id=0, attempt=1, failure="input", error="x", stages=[], record=record)
    session.append("fail", id=99, attempt=1, failure="input", error="x", stages=[])
    assert session.win(0, "fail.001.input", "symlink")
    session.close()
    said = verify(survey)
    assert set(said.odd) == {"log-gone", "event-without-item"}
