from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from crh_batch.errors import NotTrusted
from crh_batch.ledger import sharing, trust
from crh_batch.ledger.batch import Batch, find_batches
from crh_batch.ledger.session import Session
from crh_batch.ledger.trust import check_batch, is_trusted
from unit.ledger.making import begin, claim, finish, make_batch

ANNA, BEN, GROUP, OTHER_GROUP = 40001, 40002, 40100, 40101
needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="gives files to other users")


@pytest.fixture(autouse=True)
def _nobody_is_trusted(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(trust, "_ask", lambda root: ())
    yield


@pytest.fixture
def batch(tmp_path: Path) -> Batch:
    """A batch that its user lets others read."""
    made = make_batch(tmp_path, 2)
    Path(made.paths.pilot).write_bytes(b"a pilot")
    (Path(made.paths.programs) / "CRMod-1").write_bytes(b"a program")
    (Path(made.paths.jobs) / "token.sh").write_bytes(b"a script")
    os.chmod(made.paths.directory, 0o755)
    return made


@pytest.fixture
def shared(tmp_path: Path) -> Batch:
    """A batch that is shared with GROUP."""
    return shared_batch(tmp_path)


def shared_batch(root: Path) -> Batch:
    """Make a batch that is shared with GROUP."""
    return make_batch(root, 1, share_gid=GROUP)


def refusal(batch: Batch) -> str:
    """Return why a batch is refused."""
    with pytest.raises(NotTrusted) as caught:
        Session.begin(batch.paths, "client")
    return str(caught.value)


WHAT = ("batch.json", "items.jsonl", "pilot.pyz", "bin", "bin/CRMod-1", "jobs", "jobs/token.sh", "names", "packs", "")


def test_begin_when_the_batch_is_readable_by_all_then_it_is_taken(batch: Batch) -> None:
    Session.begin(batch.paths, "client").close()


@pytest.mark.parametrize("what", WHAT)
@pytest.mark.parametrize(("mode", "who"), [(0o002, "everybody may"), (0o020, "the group")])
def test_begin_when_others_may_write_to_it_then_it_is_refused_and_named(
    batch: Batch, what: str, mode: int, who: str
) -> None:
    path = Path(batch.paths.directory, what)
    path.chmod(path.stat().st_mode | mode)
    said = refusal(batch)
    assert str(path) in said and who in said and "chmod -R" in said
    assert not os.listdir(batch.paths.sessions)


@pytest.mark.parametrize("what", ["bin/CRMod-1", "names"])
def test_begin_when_the_directory_is_private_then_modes_inside_do_not_matter(batch: Batch, what: str) -> None:
    Path(batch.paths.directory, what).chmod(0o777)
    os.chmod(batch.paths.directory, 0o700)
    Session.begin(batch.paths, "client").close()


@needs_root
@pytest.mark.parametrize("what", [one for one in WHAT if one])
def test_begin_when_something_in_it_is_another_users_then_it_is_refused_even_if_private(
    batch: Batch, what: str
) -> None:
    os.chmod(batch.paths.directory, 0o700)
    os.chown(Path(batch.paths.directory, what), ANNA, -1)
    assert f"{what}: belongs to user {ANNA}" in refusal(batch)


@needs_root
def test_begin_when_the_batch_is_another_users_then_it_is_refused_with_how_to_share(batch: Batch) -> None:
    os.chown(batch.paths.directory, ANNA, GROUP)
    said = refusal(batch)
    assert f"belongs to user {ANNA}" in said and "share_group" in said


@needs_root
def test_begin_when_the_batch_is_another_users_and_says_that_it_is_shared_then_that_counts_for_nothing(
    shared: Batch,
) -> None:
    os.chown(shared.paths.directory, ANNA, GROUP)
    assert "belongs to" in refusal(shared)


@needs_root
def test_begin_when_this_user_trusts_the_group_then_a_colleagues_batch_is_taken(
    shared: Batch, monkeypatch: pytest.MonkeyPatch
) -> None:
    os.chown(shared.paths.directory, ANNA, GROUP)
    asked = []

    def ask(root: str) -> tuple[int, ...]:
        asked.append(root)
        return (GROUP,)

    monkeypatch.setattr(trust, "_ask", ask)
    Session.begin(shared.paths, "client").close()
    assert set(asked) == {shared.paths.root}


@needs_root
def test_begin_when_this_user_trusts_another_group_then_a_colleagues_batch_is_refused(
    shared: Batch, monkeypatch: pytest.MonkeyPatch
) -> None:
    os.chown(shared.paths.directory, ANNA, GROUP)
    monkeypatch.setattr(trust, "_ask", lambda root: (OTHER_GROUP,))
    assert "belongs to" in refusal(shared)


@needs_root
def test_begin_when_the_own_batch_is_shared_then_the_groups_files_are_taken_and_no_others(shared: Batch) -> None:
    session = Path(shared.paths.jobs, "colleague.sh")
    session.write_text("a script")
    os.chown(session, BEN, GROUP)
    Session.begin(shared.paths, "client").close()
    os.chown(session, BEN, OTHER_GROUP)
    assert f"belongs to user {BEN}" in refusal(shared)


@needs_root
def test_begin_when_batch_json_could_be_written_by_the_group_then_its_word_on_sharing_does_not_count(
    shared: Batch,
) -> None:
    os.chmod(shared.paths.settings, 0o660)
    assert f"the group {GROUP} may write" in refusal(shared)


def test_begin_when_a_directory_of_the_batch_is_a_link_then_it_is_refused(batch: Batch, tmp_path: Path) -> None:
    os.rename(batch.paths.sessions, tmp_path / "elsewhere")
    os.symlink(tmp_path / "elsewhere", batch.paths.sessions)
    assert "sessions: is no directory" in refusal(batch)


@pytest.mark.parametrize(("mode", "taken"), [(0o777, False), (0o1777, True), (0o775, True)])
def test_begin_when_a_directory_above_is_open_then_it_is_refused_unless_names_in_it_are_safe(
    tmp_path: Path, mode: int, taken: bool
) -> None:
    (tmp_path / "survey").mkdir()
    made = make_batch(tmp_path / "survey", 1)
    (tmp_path / "survey").chmod(mode)
    if taken:
        Session.begin(made.paths, "client").close()
    else:
        assert "survey: everybody may write" in refusal(made)


@needs_root
def test_begin_when_the_server_shows_its_owner_as_nobody_then_a_private_batch_is_taken(
    batch: Batch, monkeypatch: pytest.MonkeyPatch
) -> None:
    os.chmod(batch.paths.directory, 0o700)
    os.chown(batch.paths.directory, ANNA, -1)
    monkeypatch.setattr(trust, "_nobody", lambda: ANNA)
    check_batch(batch.paths)
    os.chmod(batch.paths.directory, 0o777)
    assert not is_trusted(batch.paths.directory)


@needs_root
def test_find_batches_when_a_stranger_left_one_above_then_it_is_not_meant(tmp_path: Path) -> None:
    (tmp_path / "survey").mkdir()
    own, planted = make_batch(tmp_path / "survey", 1), make_batch(tmp_path, 1)
    assert set(find_batches(str(tmp_path / "survey"))) == {own.paths.directory, planted.paths.directory}
    os.chown(planted.paths.directory, ANNA, -1)
    assert find_batches(str(tmp_path / "survey")) == [own.paths.directory]


# ------------------------------------------------------------------ what is made in a shared batch


@pytest.fixture
def umask() -> Iterator[Callable[[int], int]]:
    """Set the umask; it is put back."""
    before = os.umask(0o022)
    os.umask(before)
    yield os.umask
    os.umask(before)


def modes(batch: Batch) -> dict[str, int]:
    """Return the mode of all that isn't a link."""
    top = Path(batch.paths.directory)
    return {
        str(path.relative_to(top)): path.stat().st_mode & 0o7777 for path in top.rglob("*") if not path.is_symlink()
    }


@needs_root
@pytest.mark.parametrize("mask", [0o077, 0o022, 0o000])
@pytest.mark.parametrize("links", ["symlink", "file"])
def test_make_when_shared_then_the_group_may_use_all_of_it_whatever_the_umask(
    tmp_path: Path, umask: Callable[[int], int], mask: int, links: str
) -> None:
    umask(mask)
    batch = shared_batch(tmp_path)
    session = begin(batch)
    assert session.win(0, "claim.001", links)
    finish(batch, 0, {"mod/volt.dat": b"1"}, session=session)
    sharing.make_directories(os.path.join(batch.paths.replaced, "000000", "inv"))
    for path, mode in modes(batch).items():
        wanted = 0o2770 if Path(batch.paths.directory, path).is_dir() else 0o660
        # Whom the batch is shared with is its owner's word alone.
        assert mode & 0o2770 == (0o640 if path == "batch.json" else wanted), f"{path}: {mode:o}"
        assert Path(batch.paths.directory, path).stat().st_gid == GROUP, path
    assert os.stat(batch.paths.directory).st_mode & 0o7777 == 0o2770
    assert os.stat(tmp_path / ".crh-batch").st_mode & 0o7777 == 0o3775


@pytest.mark.parametrize("mask", [0o077, 0o022, 0o002, 0o000])
def test_make_when_not_shared_then_nobody_else_may_write_whatever_the_umask(
    tmp_path: Path, umask: Callable[[int], int], mask: int
) -> None:
    umask(mask)
    batch = make_batch(tmp_path, 1)
    session = begin(batch)
    claim(batch, session, 0)
    finish(batch, 0, {"mod/volt.dat": b"1"}, session=session)
    assert {path: oct(mode) for path, mode in modes(batch).items() if mode & 0o022} == {}
    assert os.stat(batch.paths.directory).st_mode & 0o7777 == 0o700


@needs_root
def test_settings_when_shared_then_they_say_with_whom(shared: Batch) -> None:
    assert json.loads(Path(shared.paths.settings).read_bytes())["share_gid"] == GROUP == shared.settings.share_gid


def test_settings_when_not_shared_then_nothing_is_said(batch: Batch) -> None:
    assert "share_gid" not in json.loads(Path(batch.paths.settings).read_bytes())
