"""A node that is wrong for a moment about what another one made or removed, as seen on GlusterFS."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from crh_batch.ledger import registration
from crh_batch.ledger.registration import read_registration
from crh_batch.ledger.submissions import read_submissions, record_intent
from unit.ledger.making import make_batch


def test_registration_when_another_node_has_just_removed_it_then_there_is_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "td.crh").write_text("{}")

    def stale(path: str) -> object:
        os.unlink(path)
        raise OSError(errno.ESTALE, os.strerror(errno.ESTALE), path)

    monkeypatch.setattr(registration, "open_regular", stale)
    assert read_registration(str(tmp_path / "td")) is None


@pytest.mark.parametrize("times", [1, 2])
def test_registration_when_the_node_has_a_stale_handle_of_one_that_is_there_then_it_is_not_taken_for_gone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, times: int
) -> None:
    (tmp_path / "td.crh").write_text("{}")
    left = [OSError(errno.ESTALE, os.strerror(errno.ESTALE), "td.crh")] * times

    def stale(path: str) -> object:
        if left:
            raise left.pop()
        return open(path, "rb")

    monkeypatch.setattr(registration, "open_regular", stale)
    found = read_registration(str(tmp_path / "td"))
    assert found is not None
    assert ("can't be read" in found.flaw) is (times == 2)


def test_submissions_when_the_node_takes_the_journal_for_missing_then_a_torn_line_swallows_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    paths = make_batch(tmp_path, 1).paths
    first = record_intent(paths, "slurm", threads=1, pilots=1)
    with open(paths.submissions, "ab") as stream:
        stream.write(b'{"event": "int')
    monkeypatch.setattr(os.path, "exists", lambda path: False)
    second = record_intent(paths, "slurm", threads=1, pilots=1)
    assert [one.token for one in read_submissions(paths)] == [first.token, second.token]
