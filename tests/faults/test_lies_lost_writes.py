"""Promise: what a machine took with it that was not written, or a copy left out, is told, and nothing false is used.

A batch of two is finished and not collected. Then files of it are cut or gone, as after a crash of a server that had
said "written" (assumption A2 doesn't hold), or in a copy that broke off. `collect` puts in place only what is right and
says what isn't; `submit --force` runs the rest again.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path

import pytest

from conftest import Crh, tree_sums
from crh_batch.engines import living
from crh_batch.errors import CrhBatchError
from crh_batch.ledger.batch import Batch
from crh_batch.ledger.session import Session, read_events, read_header
from crh_batch.ledger.submissions import read_submissions, record_intent
from faults.fakes import make_fake_survey, spec_of, write_fakes
from faults.killing import Plan, prepare
from faults.surveys import Survey, batches_in, problems_of
from unit.ledger.making import make_batch

FINISH = ("submit", "--engine", "local", "--wait")
AGAIN = ("submit", "--force", "--engine", "local", "--wait", "--collect")


@pytest.fixture
def finished(place: Path, monkeypatch: pytest.MonkeyPatch) -> Survey:
    """Two small models that were run and not collected."""
    fakes = write_fakes(place / "fakes")
    monkeypatch.setenv("CRH_BATCH_FAKES", str(fakes))
    survey = make_fake_survey(place / "template", fakes, [spec_of(1), spec_of(2)])
    prepare(Plan(str(survey.root), str(place / "points"), FINISH, ()), FINISH)
    return survey


def _one(directory: Path, pattern: str) -> Path:
    (found,) = directory.glob(pattern)
    return found


def _session(batch: Path) -> Path:
    """Return the session of the pilot that finished both."""
    return batch / "sessions" / os.path.basename(os.readlink(batch / "names/000/000001.done"))


def _cut(path: Path, size: int) -> None:
    os.truncate(path, size if size >= 0 else path.stat().st_size + size)


def _zero(path: Path, size: int) -> None:
    _cut(path, -size)
    with open(path, "ab") as stream:
        stream.write(b"\0" * size)


def _lose_event(batch: Path) -> None:
    lines = _session(batch).read_bytes().splitlines(keepends=True)
    last = max(number for number, line in enumerate(lines) if b'"done"' in line)
    _session(batch).write_bytes(b"".join(lines[:last]))


def _dereference(batch: Path) -> None:
    for name in (batch / "names").rglob("*"):
        if name.is_symlink():
            content = name.resolve().read_bytes()
            name.unlink()
            name.write_bytes(content)


def _remove(paths: Iterable[Path]) -> None:
    for path in paths:
        path.unlink()


def _open_to_all(batch: Path) -> None:
    for path in [batch, *batch.rglob("*")]:
        if not path.is_symlink():
            path.chmod(0o777)


# What is lost, and how many results are still right.
LOSSES: dict[str, tuple[Callable[[Path], object], int]] = {
    "pack is shorter": (lambda batch: _cut(_one(batch, "packs/*"), -7), 1),
    "pack has zeros at its end": (lambda batch: _zero(_one(batch, "packs/*"), 7), 1),
    "pack is empty": (lambda batch: _cut(_one(batch, "packs/*"), 0), 0),
    "pack is gone": (lambda batch: _one(batch, "packs/*").unlink(), 0),
    "packs are gone": (lambda batch: shutil.rmtree(batch / "packs"), 0),
    "event is not there": (_lose_event, 1),
    "session has its first line alone": (
        lambda batch: _session(batch).write_bytes(_session(batch).read_bytes().split(b"\n")[0] + b"\n"),
        0,
    ),
    "session is empty": (lambda batch: _cut(_session(batch), 0), 0),
    "session is gone": (lambda batch: _session(batch).unlink(), 0),
}


@pytest.mark.parametrize("loss", LOSSES)
def test_lost_result_is_told_and_run_again(finished: Survey, crh: Crh, loss: str) -> None:
    lose, right = LOSSES[loss]
    (batch,) = batches_in(finished.root)
    lose(batch)
    told = crh("collect", cwd=finished.root, code=None)
    assert told.returncode in (1, 3)
    assert "Traceback" not in told.stderr
    assert str(batch.name) in told.stderr
    in_place = [path for path in finished.paths if (finished.root / path / "mod/volt.dat").exists()]
    assert len(in_place) == right, told.stderr

    done = crh(*AGAIN, cwd=finished.root, code=None)
    assert done.returncode == 0, done.stderr
    assert_right(finished, all_of_them=True)


COPIES: dict[str, Callable[[Path], object]] = {
    "no sessions": lambda batch: shutil.rmtree(batch / "sessions"),
    "no names": lambda batch: shutil.rmtree(batch / "names"),
    "half the names": lambda batch: _remove(sorted((batch / "names/000").iterdir())[1::2]),
    "names without their targets": lambda batch: _remove((batch / "sessions").iterdir()),
    "names turned into files": _dereference,
    "no batch.json": lambda batch: (batch / "batch.json").unlink(),
    "batch.json cut": lambda batch: _cut(batch / "batch.json", 100),
    "items.jsonl cut in a line": lambda batch: _cut(batch / "items.jsonl", -40),
    "items.jsonl cut between lines": lambda batch: (batch / "items.jsonl").write_bytes(
        (batch / "items.jsonl").read_bytes().splitlines(keepends=True)[0]
    ),
    "no items.jsonl": lambda batch: (batch / "items.jsonl").unlink(),
    "no programs": lambda batch: shutil.rmtree(batch / "bin"),
    "no pilot": lambda batch: (batch / "pilot.pyz").unlink(),
    "modes lost": _open_to_all,
    "no submissions": lambda batch: (batch / "submissions.jsonl").unlink(),
}


@pytest.mark.parametrize("copy", COPIES)
def test_half_a_copy_is_told_and_nothing_false_is_collected(place: Path, finished: Survey, crh: Crh, copy: str) -> None:
    survey = finished.copy(place / "copy")
    batch = _one(survey.root, ".crh-batch/*")
    COPIES[copy](batch)
    for command in (("status",), ("collect",), ("verify",), ("status",)):
        told = crh(*command, cwd=survey.root, code=None)
        assert told.returncode in (0, 1, 2, 3), told.stderr
        assert "Traceback" not in told.stderr, told.stderr
    assert_right(survey)


def assert_right(survey: Survey, *, all_of_them: bool = False) -> None:
    """Check that inputs are as they were, and that there is no other result than the right one."""
    for path in survey.paths:
        now = tree_sums(survey.root / path)
        assert survey.inputs[path].items() <= now.items()
        assert now.get("mod/volt.dat", survey.results[path]) == survey.results[path]
        assert "mod/volt.dat" in now or not all_of_them, path


@pytest.mark.parametrize("words", [("cp", "-r"), ("cp", "-a"), ("tar",)], ids=" ".join)
def test_whole_copy_is_as_good_as_the_first(place: Path, finished: Survey, crh: Crh, words: tuple[str, ...]) -> None:
    copy = place / "copy"
    if words == ("tar",):
        copy.mkdir()
        packed = subprocess.run(["tar", "-C", finished.root, "-c", "."], capture_output=True, check=True).stdout
        subprocess.run(["tar", "-C", copy, "-x"], input=packed, check=True)
    else:
        subprocess.run([*words, finished.root, copy], check=True)
    survey = replace(finished, root=copy, times=finished.times if words == ("cp", "-a") else {})
    done = crh("collect", cwd=copy, code=None)
    assert done.returncode == 0, done.stderr
    assert not problems_of(survey, once=True)


# ------------------------------------------------------------------ torn last lines, at each byte


def test_session_torn_at_each_byte_is_read_up_to_there(tmp_path: Path) -> None:
    batch = make_batch(tmp_path, 1)
    session = Session.begin(batch.paths, "pilot")
    for number in range(3):
        session.append("claim", id=number, attempt=1)
    session.close()
    path = Path(batch.paths.session(session.token))
    whole = path.read_bytes()
    for size in range(len(whole)):
        path.write_bytes(whole[:size])
        lines = whole[:size].count(b"\n")
        assert (read_header(batch.paths, session.token) is not None) == (lines > 0)
        ids = [event["id"] for event in read_events(batch.paths, session.token)]
        complete = whole[:size].split(b"\n")[1:-1]
        assert ids == [json.loads(line)["id"] for line in complete]


def test_submissions_torn_at_each_byte_lose_that_line_alone(tmp_path: Path) -> None:
    batch = make_batch(tmp_path, 1)
    first = record_intent(batch.paths, "slurm", 1, 1)
    before = Path(batch.paths.submissions).stat().st_size
    record_intent(batch.paths, "slurm", 2, 1)
    path = Path(batch.paths.submissions)
    whole = path.read_bytes()
    for size in range(len(whole) + 1):
        path.write_bytes(whole[:size])
        torn = [one.token for one in read_submissions(batch.paths)]
        third = record_intent(batch.paths, "slurm", 3, 1)
        now = [one.token for one in read_submissions(batch.paths)]
        assert now == [*torn, third.token], "the next life's line stands for itself"
        assert (first.token in now) == (size >= before - 1)


def test_liveness_torn_at_each_byte_costs_a_minute_and_nothing_else(tmp_path: Path) -> None:
    batch = make_batch(tmp_path, 1)
    living.remember_missing(batch, ["token"], now=1000.0)
    path = Path(batch.paths.liveness)
    whole = path.read_bytes()
    for size in range(len(whole)):
        path.write_bytes(whole[:size])
        assert not living.remember_missing(batch, ["token"], now=2000.0), "nothing is forgotten at once"
    path.write_bytes(whole)
    assert living.remember_missing(batch, ["token"], now=2000.0) == {"token"}


def test_items_cut_at_each_byte_are_refused(tmp_path: Path) -> None:
    batch = make_batch(tmp_path, 3)
    path = Path(batch.paths.directory, "items.jsonl")
    whole = path.read_bytes()
    for size in range(len(whole)):
        path.write_bytes(whole[:size])
        try:
            ids = list(Batch(batch.paths.directory).items.ids)
            items = [Batch(batch.paths.directory).items[item_id] for item_id in ids]
        except CrhBatchError:
            continue
        assert [item.path for item in items] == [f"td{number}" for number in range(len(items))]
        assert whole[:size].count(b"\n") == len(items) or size == len(whole) - 1, size
