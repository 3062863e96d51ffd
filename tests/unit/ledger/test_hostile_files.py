"""Where a file of the ledger should be lies something else: a pipe, a directory, a device, a link, many zeros.

Nothing waits for a pipe, nothing is read without end, and each gets an error (or an answer) that names it.
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from crh_batch.engines import history_file
from crh_batch.engines.living import remember_missing
from crh_batch.errors import BatchNotFound, LedgerError, PackDamaged, ProfileError
from crh_batch.ledger.batch import Batch
from crh_batch.ledger.collect import _provenance_batch, collect_batch
from crh_batch.ledger.custody import Custody
from crh_batch.ledger.identity import this_process
from crh_batch.ledger.inputs import changed_inputs
from crh_batch.ledger.names import StateName, states
from crh_batch.ledger.pack import Record, open_record
from crh_batch.ledger.registration import read_registration, register, remove_registration
from crh_batch.ledger.session import holder_of, read_events, read_header
from crh_batch.ledger.submissions import read_submissions
from crh_batch.ledger.trust import check_batch
from crh_batch.profile_files import load_profile
from crh_batch.report import as_json
from crh_batch.report.states import status_of
from crh_batch.report.usage import finished_since, read_usage
from unit.wrong_things import KINDS, Make, endless, huge, link_to_itself

from .making import begin, claim, make_batch

# A pipe that is opened for reading waits for a writer, so a reader that opens it hangs, and this test with it.
pytestmark = pytest.mark.timeout(60)


kinds = pytest.mark.parametrize("make", KINDS, ids=lambda make: make.__name__)


def put(path: str, make: Make) -> None:
    if os.path.lexists(path):
        os.unlink(path)
    make(Path(path))


@pytest.fixture
def batch(tmp_path: Path) -> Batch:
    (tmp_path / "td0").mkdir()
    made = make_batch(tmp_path, 3)
    claim(made, begin(made), 1)
    return made


@kinds
def test_registration_when_something_else_lies_there_then_it_says_so_and_is_left(tmp_path: Path, make: Make) -> None:
    (tmp_path / "td0").mkdir()
    put(f"{tmp_path}/td0.crh", make)
    found = read_registration(str(tmp_path / "td0"))
    assert found is not None
    assert found.flaw.startswith("the .crh ")
    assert not remove_registration(found)
    assert os.path.lexists(tmp_path / "td0.crh")


def test_registration_when_it_leads_to_anothers_file_then_that_is_not_read(tmp_path: Path) -> None:
    (tmp_path / "td0").mkdir()
    (tmp_path / "td0.crh").symlink_to("/etc/passwd")
    found = read_registration(str(tmp_path / "td0"))
    assert found is not None and "not a plain file" in found.flaw and b"root" not in found.text


@kinds
def test_settings_when_something_else_lies_there_then_it_is_named(batch: Batch, make: Make) -> None:
    put(batch.paths.settings, make)
    with pytest.raises(LedgerError) as caught:
        check_batch(batch.paths)
        Batch(batch.paths.directory)
    assert batch.paths.settings in caught.value.message or batch.paths.directory in caught.value.message


@kinds
def test_items_when_something_else_lies_there_then_they_are_named(batch: Batch, make: Make) -> None:
    put(batch.paths.items, make)
    with pytest.raises(LedgerError, match=r"items\.jsonl"):
        _ = Batch(batch.paths.directory).items


def test_batch_when_it_has_no_settings_or_items_then_that_is_said(batch: Batch) -> None:
    os.unlink(batch.paths.items)
    with pytest.raises(LedgerError, match=r"items\.jsonl: can't be read: No such file"):
        _ = Batch(batch.paths.directory).items
    os.unlink(batch.paths.settings)
    with pytest.raises(BatchNotFound):
        Batch(batch.paths.directory)


@kinds
def test_session_when_something_else_lies_there_then_it_tells_nothing_and_the_others_are_read(
    batch: Batch, make: Make
) -> None:
    other = begin(batch, "slurm-78_1-r0")
    claim(batch, other, 2)
    (token,) = {holder_of(batch.paths.name(1, "claim.001"))}
    assert token is not None
    put(batch.paths.session(token), make)
    assert read_header(batch.paths, token) is None
    assert list(read_events(batch.paths, token)) == []
    assert dict(states(batch.paths, [1], batch.settings))[1].name is StateName.RUNNING, "names alone decide"
    status = status_of(batch, lambda item_id, state: True)
    assert len(as_json.status_json(status, with_tomodirs=True)["tomodirs"]) == 3
    assert [one.header.token for one in read_usage(batch, lambda header: None)] == [other.token]
    assert finished_since(batch, 0.0) == {}


@kinds
def test_submissions_when_something_else_lies_there_then_nothing_is_taken_for_never_asked(
    batch: Batch, make: Make
) -> None:
    put(batch.paths.submissions, make)
    with pytest.raises(LedgerError, match=r"submissions\.jsonl: can't be read"):
        read_submissions(batch.paths)


@kinds
def test_liveness_when_something_else_lies_there_then_nothing_is_known(batch: Batch, make: Make) -> None:
    put(batch.paths.liveness, make)
    assert remember_missing(batch, ["abc"], note=False) == frozenset()


@pytest.mark.parametrize("began", [-1e9, 1e18])
def test_liveness_when_a_time_can_not_be_then_nobody_is_forgotten_by_it(batch: Batch, began: float) -> None:
    boot = begin(batch).header.who.boot_id
    Path(batch.paths.liveness).write_text(f'{{"boot_id": "{boot}", "first_missing": {{"abc": {began}}}}}')
    assert remember_missing(batch, ["abc"], now=5.0, note=False) == frozenset()


@kinds
def test_name_when_something_else_lies_there_then_it_is_nobodys_and_its_result_is_missed(
    batch: Batch, make: Make
) -> None:
    place = batch.paths.name(2, "done")
    put(place, make)
    if make is endless:
        # Names are links, and nobody's session is called so.
        assert holder_of(place) == ""
        return
    if make is link_to_itself:
        assert holder_of(place) == os.path.basename(place)[:-4]
        return
    if make is huge:
        assert holder_of(place) is not None
        return
    assert holder_of(place) == ""
    assert dict(states(batch.paths, [2], batch.settings))[2].name is StateName.DONE, "names alone decide"
    with Custody(batch.paths, batch.settings.links) as custody:
        report = collect_batch(batch, custody)
    ((path, error),) = report.refused
    assert path == "td2" and "no record of the result" in error.message


@kinds
def test_pack_when_something_else_lies_there_then_it_is_named(batch: Batch, make: Make) -> None:
    place = batch.paths.pack("s")
    put(place, make)
    with pytest.raises(PackDamaged) as caught, open_record(place, Record("s", 0, 10, "ab" * 32)):
        pass
    assert place in caught.value.message


@kinds
def test_inputs_when_something_else_lies_there_then_they_count_as_changed(tmp_path: Path, make: Make) -> None:
    put(f"{tmp_path}/a", make)
    if make is huge:
        os.truncate(tmp_path / "a", 1 << 20)
    (changed,) = changed_inputs(str(tmp_path), [["a", 5, 6, "00"]])
    assert changed.startswith("a")


@kinds
def test_provenance_when_something_else_lies_there_then_nothing_is_known(tmp_path: Path, make: Make) -> None:
    (tmp_path / "exe").mkdir()
    put(f"{tmp_path}/exe/crh.json", make)
    assert _provenance_batch(str(tmp_path)) == ""


@kinds
def test_profile_when_something_else_lies_there_then_it_is_named(tmp_path: Path, make: Make) -> None:
    put(f"{tmp_path}/crh-batch.toml", make)
    with pytest.raises(ProfileError, match=r"crh-batch\.toml"):
        load_profile(str(tmp_path))


@kinds
def test_history_when_something_else_lies_there_then_it_tells_nothing(make: Make) -> None:
    history_file.history_path().parent.mkdir(parents=True)
    put(str(history_file.history_path()), make)
    assert history_file.read_history().runs == 0


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a file to somebody else")
@pytest.mark.parametrize("mode", [0o644, 0o600])
def test_registration_when_it_is_of_another_user_and_batch_then_it_stands_and_says_whose_it_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, mode: int
) -> None:
    theirs = make_batch(tmp_path / "theirs", 1)
    mine = make_batch(tmp_path / "mine", 1)
    (tmp_path / "td0").mkdir()
    who = this_process()
    assert register(str(tmp_path / "td0"), theirs.paths, 0, who, "inv") is None
    os.chown(tmp_path / "td0.crh", 40001, -1)
    (tmp_path / "td0.crh").chmod(mode)
    tmp_path.chmod(0o755)
    monkeypatch.chdir(tmp_path)
    os.seteuid(40002)
    try:
        found = read_registration("td0")
    finally:
        os.seteuid(0)
    assert found is not None
    if mode == 0o600:
        assert found.flaw == "the .crh of user 40001 can't be read: Permission denied"
    else:
        assert (found.batch_id, found.registrant, found.flaw) == (theirs.batch_id, who, "")
    assert register(str(tmp_path / "td0"), mine.paths, 0, who, "inv") is not None, "whoever comes second doesn't get it"
