"""Committing: bytes, then the record of them, then the name that speaks of the record."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from crh_batch.errors import CrhBatchError, LedgerError
from crh_batch.ledger import durable
from crh_batch.ledger.batch import Batch
from crh_batch.ledger.names import Failure, list_shard
from crh_batch.ledger.pack import PackedFile, PackWriter, Record, open_record
from crh_batch.ledger.session import Session, read_events
from crh_batch.pilot import commit
from crh_batch.pilot.commit import Committer, fail_without_result
from crh_batch.pilot.stages import Result
from unit.ledger.making import begin, failing, make_batch


class Bench:
    """A committer with all that it works on."""

    def __init__(self, batch: Batch) -> None:
        self.batch = batch
        self.session: Session = begin(batch)
        self.pack = PackWriter(batch.paths.pack(self.session.token), self.session.token)
        self.errors: list[CrhBatchError] = []
        self.committer = Committer(batch, self.session, self.pack, batch.paths.directory, self.errors.append)

    def names(self) -> list[str]:
        return sorted(list_shard(self.batch.paths, 0))

    def events(self) -> list[dict[str, Any]]:
        return list(read_events(self.batch.paths, self.session.token))


def result(item_id: int, failure: Failure | None = None, *, content: bytes = b"1\n") -> Result:
    files = [PackedFile("exe/crh.json", content=content)]
    return Result(failure, "", files, {"id": item_id, "attempt": 1, "stages": []})


@pytest.fixture
def bench(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Bench]:
    monkeypatch.setattr(commit, "GROUP_S", 0.0)
    made = Bench(make_batch(tmp_path, 5))
    yield made
    made.committer.close()


@pytest.mark.timeout(30)
def test_commit_when_a_result_comes_then_pack_record_and_name_become_durable_in_this_order(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    steps: list[str] = []
    real_fsync, real_symlink = os.fsync, os.symlink

    def fsync(descriptor: int) -> None:
        steps.append(os.path.basename(os.path.dirname(os.readlink(f"/proc/self/fd/{descriptor}"))))
        real_fsync(descriptor)

    def symlink(target: str, path: str) -> None:
        steps.append(os.path.basename(path))
        real_symlink(target, path)

    monkeypatch.setattr(durable.calls, "fsync", fsync)
    monkeypatch.setattr(durable.calls, "symlink", symlink)
    bench.committer.hand_over(result(3))
    bench.committer.close()
    directory = os.path.basename(bench.batch.paths.directory)
    # The pack, its name in packs/, the session, the name.
    assert steps == ["packs", directory, "sessions", "000003.done"]


@pytest.mark.timeout(30)
def test_commit_when_it_is_done_then_the_event_leads_to_the_result(bench: Bench) -> None:
    bench.committer.hand_over(result(0, content=b"zero"))
    bench.committer.hand_over(result(1, content=b"one"))
    bench.committer.close()
    assert bench.names() == ["000000.done", "000001.done"]
    (first, second) = bench.events()
    assert (first["event"], first["id"], second["id"]) == ("done", 0, 1)
    record = Record.from_json(bench.session.token, second["record"])
    with open_record(bench.batch.paths.pack(bench.session.token), record) as archive:
        (member,) = archive
        stream = archive.extractfile(member)
        assert stream is not None and stream.read() == b"one"


@pytest.mark.timeout(30)
def test_hand_over_when_an_attempt_failed_then_its_name_is_there_when_it_returns(bench: Bench) -> None:
    """Whoever looks next must see that the tomodir is ready again."""
    bench.committer.hand_over(result(2, Failure.CRASH))
    assert bench.names() == ["000002.fail.001.crash"]
    assert bench.events()[0]["event"] == "fail"


@pytest.mark.timeout(30)
def test_commit_when_it_cannot_be_made_durable_then_no_name_is_made_and_it_says_so_once(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(durable.calls, "fsync", failing(errno.EIO))
        bench.committer.hand_over(result(0, Failure.CRASH))
        bench.committer.hand_over(result(1, Failure.CRASH))
    bench.committer.hand_over(result(2))
    bench.committer.close()
    assert bench.names() == []
    (error,) = bench.errors
    assert isinstance(error, LedgerError) and "can't be made durable" in error.message


@pytest.mark.timeout(30)
def test_commit_when_a_name_cannot_be_made_then_it_says_so(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(durable.calls, "symlink", failing(errno.ENOSPC))
    bench.committer.hand_over(result(0, Failure.CRASH))
    (error,) = bench.errors
    assert "No space left" in error.message


@pytest.mark.timeout(30)
def test_hand_over_when_the_pack_cannot_be_written_then_the_attempt_stays_open(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch, pytest.raises(OSError):
        patch.setattr(durable.calls, "write", failing(errno.ENOSPC))
        bench.committer.hand_over(result(0))
    bench.committer.close()
    assert bench.names() == []
    assert bench.events() == []


@pytest.mark.timeout(30)
def test_commit_when_another_attempt_has_finished_before_then_its_name_stays(bench: Bench) -> None:
    other = begin(bench.batch, "slurm-99-r0")
    other.win(0, "done", "symlink")
    bench.committer.hand_over(result(0))
    bench.committer.close()
    assert bench.errors == []
    assert other.token in os.readlink(bench.batch.paths.name(0, "done"))


def test_fail_without_result_when_called_then_event_and_name_are_there_at_once(bench: Bench) -> None:
    fail_without_result(bench.session, 4, 2, Failure.PROGRAM, "symlink")
    assert bench.names() == ["000004.fail.002.program"]
    (event,) = bench.events()
    assert (event["event"], event["id"], event["attempt"], event["failure"]) == ("fail", 4, 2, "program")


@pytest.mark.timeout(30)
def test_commit_when_others_wait_for_a_result_then_it_is_told_once_the_name_is_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(commit, "GROUP_S", 0.0)
    batch = make_batch(tmp_path, 3, after={2: (1,)})
    session = begin(batch)
    pack = PackWriter(batch.paths.pack(session.token), session.token)
    told: list[list[str]] = []
    errors: list[CrhBatchError] = []
    committer = Committer(
        batch, session, pack, str(tmp_path), errors.append, lambda: told.append(sorted(list_shard(batch.paths, 0)))
    )
    committer.hand_over(result(0))
    committer.hand_over(result(2, Failure.CRASH))
    assert told == [], "nobody waits for these"
    committer.hand_over(result(1))
    committer.close()
    assert [("000001.done" in names) for names in told] == [True]
    assert errors == []
