"""Who may have a tomodir that has a .crh file."""

from __future__ import annotations

import dataclasses
import errno
import hashlib
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from crh_batch.engines.take_over import TakeOver
from crh_batch.ledger import durable
from crh_batch.ledger.batch import Batch, counts, new_batch
from crh_batch.ledger.custody import Custody, custody_of
from crh_batch.ledger.identity import Who, this_process
from crh_batch.ledger.items import write_items
from crh_batch.ledger.names import states
from crh_batch.ledger.paths import BatchPaths
from crh_batch.ledger.registration import Registration, read_registration, register
from crh_batch.ledger.session import Session
from crh_batch.ledger.settings import Settings, write_settings
from unit.ledger.making import (
    ELSEWHERE,
    begin,
    claim,
    dead_process,
    failing,
    finish,
    make_batch,
    make_names,
    write_files,
)

INPUT = b"10 2 7\n"


class Bench:
    """Tomodirs td0, td1, ... of one batch."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.batch = make_batch(root, 3)
        for number in range(3):
            write_files(root / f"td{number}", {"grid/elem.dat": INPUT})
            assert register(str(self.tomodir(number)), self.batch.paths, number, this_process(), "inv") is None

    def tomodir(self, number: int = 0) -> Path:
        return self.root / f"td{number}"

    def inputs(self, number: int = 0) -> list[list[Any]]:
        status = (self.tomodir(number) / "grid/elem.dat").stat()
        return [["grid/elem.dat", len(INPUT), status.st_mtime_ns, hashlib.sha256(INPUT).hexdigest()]]

    def fail(self, kind: str = "input", number: int = 0) -> None:
        session = begin(self.batch)
        claim(self.batch, session, number)
        session.append("fail", id=number, attempt=1, failure=kind, error="elem.dat: wrong", inputs=self.inputs(number))
        session.win(number, f"fail.001.{kind}", "symlink")

    def change(self, number: int = 0) -> None:
        (self.tomodir(number) / "grid/elem.dat").write_bytes(b"mended\n")

    def registration(self, number: int = 0) -> Registration:
        found = read_registration(str(self.tomodir(number)))
        assert found is not None
        return found

    def try_to_free(self, number: int = 0, *, force: bool = False) -> str | None:
        take_over = TakeOver(force=force)
        try:
            return take_over.try_to_free(str(self.tomodir(number)), self.registration(number))
        finally:
            take_over.close()

    def state(self, number: int = 0) -> str:
        ((_, state),) = states(self.batch.paths, [number], self.batch.settings)
        return state.name.value

    def is_registered(self, number: int = 0) -> bool:
        return os.path.lexists(f"{self.tomodir(number)}.crh")


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path)


@pytest.mark.parametrize(
    "names",
    [
        [],
        ["0.claim.001"],
        ["0.held.001"],
        ["0.claim.001", "0.fail.001.crash"],
        ["0.fail.001.input", "0.retry.001"],
    ],
)
@pytest.mark.parametrize("force", [False, True])
def test_free_when_the_batch_goes_on_with_it_then_it_is_left_to_its_batch(
    bench: Bench, names: list[str], force: bool
) -> None:
    make_names(bench.batch, *names)
    assert bench.try_to_free(force=force) == ""
    assert bench.is_registered()


@pytest.mark.parametrize("force", [False, True])
def test_free_when_it_is_done_then_it_is_left_to_be_collected(bench: Bench, force: bool) -> None:
    finish(bench.batch, 0, {"mod/volt.dat": b"1\n"}, inputs=bench.inputs())
    assert bench.try_to_free(force=force) == ""
    assert (bench.state(), bench.is_registered()) == ("done", True)


def _damage(pack: Path) -> None:
    content = pack.read_bytes()
    pack.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))


@pytest.mark.parametrize("hurt", [Path.unlink, _damage])
def test_free_when_it_is_done_and_its_result_is_gone_or_damaged_then_it_takes_force(
    bench: Bench, hurt: Callable[[Path], None]
) -> None:
    session = finish(bench.batch, 0, {"mod/volt.dat": b"1\n"}, inputs=bench.inputs())
    hurt(Path(bench.batch.paths.pack(session.token)))
    assert bench.try_to_free() == ""
    assert bench.try_to_free(force=True) is None
    assert (bench.state(), bench.is_registered()) == ("moved", False)


def test_free_when_it_is_done_and_its_session_is_gone_then_it_takes_force(bench: Bench) -> None:
    make_names(bench.batch, "0.done")
    assert bench.try_to_free() == ""
    assert bench.try_to_free(force=True) is None
    assert bench.state() == "moved"


def test_free_when_it_has_moved_and_the_client_died_before_the_end_then_it_is_freed(bench: Bench) -> None:
    make_names(bench.batch, "0.fail.001.input", "0.moved")
    assert bench.try_to_free() is None
    assert not bench.is_registered()


def test_free_when_it_was_collected_and_the_client_died_before_the_end_then_it_is_freed(bench: Bench) -> None:
    make_names(bench.batch, "0.done", "0.collected")
    assert bench.try_to_free() is None
    assert not bench.is_registered()


def test_free_when_it_failed_and_its_input_is_the_same_then_it_says_why_and_what_to_do(bench: Bench) -> None:
    bench.fail()
    answer = bench.try_to_free()
    assert answer is not None
    assert bench.batch.batch_id in answer and "(input): elem.dat: wrong" in answer and "crh-batch retry" in answer
    assert bench.is_registered()


def test_free_when_it_failed_and_its_input_has_changed_then_it_is_freed(bench: Bench) -> None:
    bench.fail()
    bench.change()
    assert bench.try_to_free() is None
    assert not bench.is_registered()
    assert bench.state() == "moved", "its old batch has no part in it any more"


def test_free_when_the_client_dies_before_the_crh_goes_then_its_batch_knows_already(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The other way round, two batches would run it."""
    bench.fail()
    bench.change()
    seen: list[str] = []

    def unlink(path: str) -> None:
        seen.append(bench.state())
        os.unlink(path)

    monkeypatch.setattr(durable.calls, "unlink", unlink)
    assert bench.try_to_free() is None
    assert seen == ["moved"]


def test_free_when_it_failed_and_an_input_is_gone_then_it_is_freed_and_described_anew(bench: Bench) -> None:
    bench.fail()
    (bench.tomodir() / "grid/elem.dat").unlink()
    assert bench.try_to_free() is None


def test_free_when_it_failed_and_it_is_forced_then_it_is_freed(bench: Bench) -> None:
    bench.fail()
    assert bench.try_to_free(force=True) is None
    assert not bench.is_registered()


def test_free_when_it_was_cancelled_then_it_is_freed(bench: Bench) -> None:
    """A cancelled attempt says nothing of inputs, so nothing speaks against running it again."""
    client = Session.begin(bench.batch.paths, "client")
    client.append("fail", id=0, attempt=1, failure="cancelled", error="cancelled", stages=[])
    client.win(0, "claim.001", "symlink")
    client.win(0, "fail.001.cancelled", "symlink")
    assert bench.try_to_free() is None


@pytest.mark.parametrize(
    ("force", "changed", "freed"), [(True, True, True), (True, False, False), (False, True, False)]
)
def test_free_when_it_is_done_then_only_by_force_and_only_if_its_input_has_changed(
    bench: Bench, force: bool, changed: bool, freed: bool
) -> None:
    finish(bench.batch, 0, {"exe/crh.json": b"{}"}, inputs=bench.inputs())
    if changed:
        bench.change()
    assert bench.try_to_free(force=force) == (None if freed else "")
    assert bench.is_registered() is not freed


def _empty(path: Path) -> None:
    path.write_bytes(b"")


def _foreign(path: Path) -> None:
    path.write_text('{"sim_type": "inv", "sim_id": 17}')


def _directory(path: Path) -> None:
    path.unlink()
    path.mkdir()


@pytest.mark.parametrize("spoil", [_empty, _foreign])
def test_free_when_the_crh_is_no_registration_then_only_by_force(bench: Bench, spoil: Any) -> None:
    spoil(Path(f"{bench.tomodir()}.crh"))
    answer = bench.try_to_free()
    assert answer is not None and "--force" in answer
    assert bench.is_registered()
    assert bench.try_to_free(force=True) is None
    assert not bench.is_registered()


def test_free_when_a_directory_stands_in_place_of_the_crh_then_it_is_left_even_by_force(bench: Bench) -> None:
    _directory(Path(f"{bench.tomodir()}.crh"))
    for force in (False, True):
        answer = bench.try_to_free(force=force)
        assert answer is not None and "td0.crh" in answer
    assert bench.is_registered()


def test_free_when_the_crh_cannot_be_removed_then_it_says_so(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """One directory that may not be written must not end the whole submit."""
    _empty(Path(f"{bench.tomodir()}.crh"))
    monkeypatch.setattr(durable.calls, "unlink", failing(errno.EACCES))
    answer = bench.try_to_free(force=True)
    assert answer is not None and "Permission denied" in answer


def test_free_when_its_batch_is_gone_then_only_by_force(bench: Bench) -> None:
    shutil.rmtree(bench.batch.paths.directory)
    answer = bench.try_to_free()
    assert answer is not None and "is gone" in answer and bench.batch.batch_id in answer
    assert bench.try_to_free(force=True) is None
    assert not bench.is_registered()


def half_made(root: Path, holder: Who | None) -> BatchPaths:
    """A batch whose client is between registering and writing the list of items, or died there."""
    paths = new_batch(str(root), 1)
    write_settings(paths, Settings("symlink", (), {}))
    if holder is not None:
        batch = Batch(paths.directory)
        session = begin(batch, "client", who=holder)
        session.win_for_batch("custody.001", "symlink")
    write_files(root / "half", {"grid/elem.dat": INPUT})
    assert register(str(root / "half"), paths, 0, this_process(), "inv") is None
    return paths


def try_half(root: Path, *, force: bool = False) -> str | None:
    take_over = TakeOver(force=force)
    registration = read_registration(str(root / "half"))
    assert registration is not None
    try:
        return take_over.try_to_free(str(root / "half"), registration)
    finally:
        take_over.close()


def test_free_when_the_batch_is_half_made_and_its_client_is_dead_then_it_is_freed_and_the_batch_closed(
    tmp_path: Path,
) -> None:
    paths = half_made(tmp_path, dead_process())
    assert try_half(tmp_path) is None
    assert not os.path.exists(tmp_path / "half.crh")
    assert not counts(paths.directory)
    assert write_items(paths, []) is False, "a client that was only slow finds out"


@pytest.mark.parametrize("holder", [this_process(), ELSEWHERE], ids=["alive", "unknown"])
def test_free_when_the_batch_is_half_made_and_its_client_may_live_then_it_is_left(tmp_path: Path, holder: Who) -> None:
    paths = half_made(tmp_path, holder)
    answer = try_half(tmp_path)
    assert answer is not None and "not complete yet" in answer and "--force" in answer
    assert os.path.exists(tmp_path / "half.crh")
    assert not os.path.exists(paths.items)
    assert try_half(tmp_path, force=True) is None
    assert not os.path.exists(tmp_path / "half.crh")


def test_free_when_a_half_made_batch_is_finished_meanwhile_then_it_is_left_to_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """RACE: its client was only slow, and wrote the items before this one had custody."""
    paths = half_made(tmp_path, None)
    real = Custody.__enter__

    def enter(custody: Custody) -> Custody:
        Path(paths.items).write_bytes(b'{"id":0,"path":"half"}\n')
        return real(custody)

    monkeypatch.setattr(Custody, "__enter__", enter)
    assert try_half(tmp_path) == ""
    assert os.path.exists(tmp_path / "half.crh")


def test_free_when_a_tomodir_was_copied_with_its_crh_then_it_speaks_of_another_one(bench: Bench) -> None:
    copy = bench.root / "copy"
    shutil.copytree(bench.tomodir(), copy)
    shutil.copy(f"{bench.tomodir()}.crh", f"{copy}.crh")
    registration = read_registration(str(copy))
    assert registration is not None
    for force, freed in ((False, False), (True, True)):
        take_over = TakeOver(force=force)
        answer = take_over.try_to_free(str(copy), registration)
        take_over.close()
        assert (answer is None) is freed
        if not freed:
            assert answer is not None and "copied or renamed" in answer
    assert bench.is_registered(), "that of the original stays"


def test_free_when_the_number_is_not_in_the_batch_then_it_speaks_of_another_one(tmp_path: Path) -> None:
    batch = make_batch(tmp_path, 1)
    write_files(tmp_path / "td9", {"grid/elem.dat": INPUT})
    register(str(tmp_path / "td9"), batch.paths, 9, this_process(), "inv")
    registration = read_registration(str(tmp_path / "td9"))
    assert registration is not None
    take_over = TakeOver(force=False)
    answer = take_over.try_to_free(str(tmp_path / "td9"), registration)
    take_over.close()
    assert answer is not None and "copied or renamed" in answer


def test_free_when_another_client_is_at_work_on_the_batch_then_it_is_left(bench: Bench) -> None:
    bench.fail()
    bench.change()
    with custody_of(bench.batch):
        answer = bench.try_to_free()
    assert answer is not None and "is at work on it" in answer
    assert bench.is_registered()


def test_free_when_several_tomodirs_are_freed_then_custody_is_taken_once_and_given_back(bench: Bench) -> None:
    make_names(bench.batch, "0.collected", "1.collected")
    take_over = TakeOver(force=False)
    for number in (0, 1):
        assert take_over.try_to_free(str(bench.tomodir(number)), bench.registration(number)) is None
    names = {name for name in os.listdir(bench.batch.paths.names) if name.startswith("custody")}
    assert names == {"custody.001"}
    take_over.close()
    with custody_of(bench.batch) as custody:
        assert custody.follows_a_death is False


def test_free_when_batch_json_is_damaged_then_it_says_so(bench: Bench) -> None:
    Path(bench.batch.paths.settings).write_text("garbage")
    answer = bench.try_to_free()
    assert answer is not None and "batch.json" in answer
    assert bench.is_registered()


def test_free_when_one_waits_for_a_result_of_one_that_is_freed_then_it_is_freed_after_it(tmp_path: Path) -> None:
    """td2 waits for td1, and td1 for td0, which failed and was mended."""
    bench = Bench(tmp_path)
    settings = dataclasses.replace(bench.batch.settings, after={1: (0,), 2: (1,)})
    write_settings(bench.batch.paths, settings)
    bench.batch = Batch(bench.batch.paths.directory)
    bench.fail()
    assert [bench.state(number) for number in range(3)] == ["failed", "waiting", "waiting"]
    assert bench.try_to_free(1) == "", "as long as the one that it waits for is not freed"
    bench.change()
    take_over = TakeOver(force=False)
    answers = [take_over.try_to_free(str(bench.tomodir(n)), bench.registration(n)) for n in (2, 1, 0)]
    assert answers == ["", "", None]
    assert take_over.try_to_free(str(bench.tomodir(2)), bench.registration(2)) == ""
    assert take_over.try_to_free(str(bench.tomodir(1)), bench.registration(1)) is None
    assert take_over.try_to_free(str(bench.tomodir(2)), bench.registration(2)) is None
    take_over.close()
    assert [bench.state(number) for number in range(3)] == ["moved"] * 3


def test_free_when_one_waits_for_one_that_was_cancelled_and_is_free_then_it_is_freed(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    write_settings(bench.batch.paths, dataclasses.replace(bench.batch.settings, after={1: (0,)}))
    bench.batch = Batch(bench.batch.paths.directory)
    bench.fail("cancelled")
    assert bench.try_to_free(1) == "", "as long as it may be retried where it is"
    os.unlink(f"{bench.tomodir(0)}.crh")
    assert bench.try_to_free(1) is None
    assert bench.state(1) == "moved"


@pytest.mark.skipif(os.geteuid() != 0, reason="becomes another user")
@pytest.mark.parametrize("force", [False, True])
def test_free_when_the_batch_is_another_users_secret_then_it_is_not_taken_for_gone(bench: Bench, force: bool) -> None:
    """A directory that can't be entered looks as if nothing were in it."""
    for path in (bench.root, *bench.root.parents):
        if not path.stat().st_mode & 0o001:
            path.chmod(path.stat().st_mode | 0o011)
    os.chmod(bench.batch.paths.directory, 0o700)
    os.chmod(bench.root, 0o777)
    os.seteuid(40002)
    try:
        answer = bench.try_to_free(force=force)
    finally:
        os.seteuid(0)
    assert answer and "not yours to read" in answer and "ask root" in answer
    assert (bench.root / "td0.crh").exists()
