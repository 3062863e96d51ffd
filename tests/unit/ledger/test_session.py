"""Sessions: who somebody is, and what became of what they did, one line each."""

from __future__ import annotations

import errno
import json
import os
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from crh_batch.errors import LedgerError, NewerSchema
from crh_batch.ledger.batch import Batch
from crh_batch.ledger.session import Job, Session, holder_of, list_sessions, read_events, read_header
from unit.ledger.making import failing, make_batch

BreakCall = Callable[[str, Callable[..., object]], None]


@pytest.fixture
def batch(tmp_path: Path) -> Batch:
    return make_batch(tmp_path, 2)


def session_file(batch: Batch, session: Session) -> Path:
    return Path(batch.paths.session(session.token))


def test_begin_when_done_then_the_first_line_says_who_it_is(batch: Batch) -> None:
    job = Job("slurm", "4711", "3", 1)
    session = Session.begin(batch.paths, "pilot", label="slurm-4711_3-r1", job=job, submission="abcdefghij", cores=4)
    text = session_file(batch, session).read_text()
    assert text.endswith("\n") and text.count("\n") == 1
    line = json.loads(text)
    assert line["schema"] == 1
    assert line["kind"] == "pilot"
    assert line["who"]["pid"] == os.getpid()
    assert line["job"] == {"scheduler": "slurm", "job_id": "4711", "task": "3", "restart": 1}
    assert line["submission"] == "abcdefghij"
    assert line["cores"] == 4
    assert session.token.startswith("slurm-4711_3-r1-")
    assert line["session"] == session.token


def test_begin_when_done_then_file_and_directory_are_durable_before_any_name(
    batch: Batch, break_call: BreakCall
) -> None:
    synced: list[str] = []

    def fsync(descriptor: int) -> None:
        synced.append(os.readlink(f"/proc/self/fd/{descriptor}"))
        os.fsync(descriptor)

    def symlink(target: str, path: str) -> None:
        synced.append("the name")
        os.symlink(target, path)

    break_call("fsync", fsync)
    break_call("symlink", symlink)
    session = Session.begin(batch.paths, "pilot")
    session.win(0, "claim.001", "symlink")
    assert synced == [batch.paths.session(session.token), batch.paths.sessions, "the name"]


def test_begin_when_called_twice_then_two_sessions(batch: Batch) -> None:
    one, other = Session.begin(batch.paths, "client"), Session.begin(batch.paths, "client")
    assert one.token != other.token
    assert list_sessions(batch.paths) == sorted([one.token, other.token])


def test_begin_when_the_batch_is_a_copy_of_one_elsewhere_then_clients_alone(batch: Batch) -> None:
    """A pilot here would claim what pilots there claim, and nobody would know."""
    os.mkdir(batch.paths.stages)
    with pytest.raises(LedgerError, match="is the copy of a batch that runs on a cluster"):
        Session.begin(batch.paths, "pilot")
    assert list_sessions(batch.paths) == []
    Session.begin(batch.paths, "client").close()


def test_read_header_when_a_session_was_begun_then_it_is_its_header(batch: Batch) -> None:
    session = Session.begin(batch.paths, "pilot", job=Job("slurm", "1", "", 0), submission="s", cores=2)
    assert read_header(batch.paths, session.token) == session.header


def test_read_events_when_some_were_appended_then_they_come_in_order(batch: Batch) -> None:
    session = Session.begin(batch.paths, "pilot")
    session.append("claim", id=0, attempt=1)
    session.append("done", id=0, error="two\nlines")
    events = list(read_events(batch.paths, session.token))
    assert [(event["event"], event["id"]) for event in events] == [("claim", 0), ("done", 0)]
    assert events[1]["error"] == "two\nlines"
    assert all(isinstance(event["time"], float) for event in events)


def test_read_events_when_the_last_line_is_torn_then_the_others_are_read(batch: Batch) -> None:
    session = Session.begin(batch.paths, "pilot")
    session.append("claim", id=0)
    session.append("done", id=0)
    path = session_file(batch, session)
    path.write_bytes(path.read_bytes()[:-1])
    assert [event["event"] for event in read_events(batch.paths, session.token)] == ["claim"]


@pytest.mark.parametrize(
    "garbage",
    [b"\n", b"garbage\n", b"[1, 2]\n", b'"done"\n', b'{"id": 1}\n', b'{"event": 7}\n', b"\x00\xff\xfe\n", b"{\n"],
)
def test_read_events_when_a_line_is_no_event_then_it_is_passed_over(batch: Batch, garbage: bytes) -> None:
    session = Session.begin(batch.paths, "pilot")
    session.append("claim", id=0)
    with session_file(batch, session).open("ab") as stream:
        stream.write(garbage)
    session.append("done", id=0)
    assert [event["event"] for event in read_events(batch.paths, session.token)] == ["claim", "done"]


def test_read_events_when_the_session_is_missing_then_none(batch: Batch) -> None:
    assert list(read_events(batch.paths, "nobody")) == []
    assert read_header(batch.paths, "nobody") is None


@pytest.mark.parametrize("first", [b"", b'{"schema": 1', b'{"schema": 1}', b"garbage\n", b"[]\n", b"null\n"])
def test_read_header_when_the_first_line_is_not_whole_then_none(batch: Batch, first: bytes) -> None:
    Path(batch.paths.session("torn")).write_bytes(first)
    assert read_header(batch.paths, "torn") is None


def test_read_header_when_fields_are_missing_then_nothing_is_provable_of_it(batch: Batch) -> None:
    Path(batch.paths.session("bare")).write_bytes(b'{"schema": 1, "who": 5, "job": [], "cores": "many"}\n')
    header = read_header(batch.paths, "bare")
    assert header is not None
    assert (header.who.host, header.who.boot_id, header.job, header.cores) == ("", "", Job(), 0)


def test_read_header_when_the_schema_is_newer_then_both_versions_are_named(batch: Batch) -> None:
    Path(batch.paths.session("newer")).write_bytes(b'{"schema": 2, "kind": "pilot"}\n')
    with pytest.raises(NewerSchema) as caught:
        read_header(batch.paths, "newer")
    assert (caught.value.found, caught.value.known) == (2, 1)
    assert caught.value.path == batch.paths.session("newer")


def test_list_sessions_when_temporary_files_lie_there_then_they_are_not_sessions(batch: Batch) -> None:
    Path(batch.paths.sessions, ".slurm-1-r0-x.crh").touch()
    Path(batch.paths.sessions, "notes.txt").touch()
    Path(batch.paths.sessions, "a-b.crh").touch()
    assert list_sessions(batch.paths) == ["a-b"]


def test_append_when_a_write_was_cut_short_by_an_error_then_the_next_event_is_whole(
    batch: Batch, break_call: BreakCall
) -> None:
    """The disk is full in the middle of a line; somebody makes room, and another slot's result is recorded.

    Were that glued to the torn line, its name would speak of a record that nobody can read.
    """
    session = Session.begin(batch.paths, "pilot")
    session.append("claim", id=0)
    left = [10]

    def write(descriptor: int, data: memoryview) -> int:
        if not left[0]:
            raise OSError(errno.ENOSPC, "No space left on device")
        written = os.write(descriptor, data[: left[0]])
        left[0] -= written
        return written

    break_call("write", write)
    with pytest.raises(OSError):
        session.append("done", id=0)
    break_call("write", os.write)
    session.append("done", id=1)
    events = list(read_events(batch.paths, session.token))
    assert [(event["event"], event["id"]) for event in events] == [("claim", 0), ("done", 1)]


def test_append_when_several_threads_do_then_every_line_is_whole(batch: Batch, break_call: BreakCall) -> None:
    session = Session.begin(batch.paths, "pilot")
    break_call("write", lambda descriptor, data: os.write(descriptor, data[:5]))

    def work(number: int) -> None:
        for _ in range(20):
            session.append("e", id=number)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    ids = [event["id"] for event in read_events(batch.paths, session.token)]
    assert sorted(ids) == [0] * 20 + [1] * 20 + [2] * 20 + [3] * 20


def test_sync_when_fsync_fails_then_it_says_so(batch: Batch, break_call: BreakCall) -> None:
    session = Session.begin(batch.paths, "pilot")
    break_call("fsync", failing(errno.EIO))
    with pytest.raises(OSError):
        session.sync()


def test_win_when_a_tomodir_or_a_batch_is_won_then_the_name_leads_to_the_session(batch: Batch) -> None:
    session = Session.begin(batch.paths, "pilot")
    assert session.win(1, "claim.001", "symlink")
    assert session.win_for_batch("custody.001", "symlink")
    one = os.path.join(batch.paths.shard(0), "000001.claim.001")
    other = os.path.join(batch.paths.names, "custody.001")
    assert os.path.samefile(one, batch.paths.session(session.token))
    assert os.path.samefile(other, batch.paths.session(session.token))
    assert holder_of(one) == session.token
    assert holder_of(other) == session.token
    assert holder_of(os.path.join(batch.paths.shard(0), "000001.done")) is None


def test_close_when_called_twice_then_the_descriptor_is_closed_once(
    batch: Batch, monkeypatch: pytest.MonkeyPatch
) -> None:
    closed: list[int] = []
    session = Session.begin(batch.paths, "client")
    with monkeypatch.context() as patch:
        patch.setattr("crh_batch.ledger.session.os.close", closed.append)
        session.close()
        session.close()
    assert len(closed) == 1
    os.close(closed[0])


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (None, Job()),
        ("slurm", Job()),
        ({}, Job()),
        ({"scheduler": "slurm", "job_id": 5, "task": 0, "restart": "2"}, Job("slurm", "", "", 0)),
        ({"scheduler": "slurm", "job_id": "5", "task": "0", "restart": 2}, Job("slurm", "5", "0", 2)),
    ],
)
def test_job_when_read_from_anything_then_what_can_be_understood(data: object, expected: Job) -> None:
    assert Job.from_json(data) == expected
