"""Packs: what goes in comes out, and nothing that was damaged or leads astray comes out at all."""

from __future__ import annotations

import errno
import gzip
import hashlib
import io
import os
import tarfile
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from crh_batch.errors import PackDamaged
from crh_batch.ledger import members, pack
from crh_batch.ledger.pack import PackedFile, PackWriter, Record, open_record, verify

BreakCall = Callable[[str, Callable[..., object]], None]
FILES = {"inv/inv.ctr": b"***finished***\n", "exe/crh.json": b"{}\n", "mod/volt.dat": bytes(range(256)) * 40}


@pytest.fixture(params=["small", "large"])
def size(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Both ways: a record made and read in memory, and one by way of files."""
    if request.param == "large":
        monkeypatch.setattr(pack, "IN_MEMORY_BYTES", 10)
    return str(request.param)


@pytest.fixture
def writer(tmp_path: Path) -> PackWriter:
    return PackWriter(str(tmp_path / "s.pack"), "s")


def append(writer: PackWriter, tmp_path: Path, files: dict[str, bytes]) -> Record:
    return writer.append([PackedFile(name, content=content) for name, content in files.items()], str(tmp_path))


def read(path: Path, record: Record) -> dict[str, bytes]:
    found = {}
    with open_record(str(path), record) as archive:
        for member in archive:
            stream = archive.extractfile(member)
            assert stream is not None
            found[member.name] = stream.read()
    return found


def hand_made(path: Path, members: list[tarfile.TarInfo], content: bytes = b"evil") -> Record:
    """A record whose sum is right, with members that no pilot writes."""
    buffer = io.BytesIO()
    with gzip.GzipFile(fileobj=buffer, mode="wb") as packed, tarfile.open(fileobj=packed, mode="w") as archive:
        for member in members:
            if member.isreg():
                member.size = len(content)
                archive.addfile(member, io.BytesIO(content))
            else:
                archive.addfile(member)
    data = buffer.getvalue()
    path.write_bytes(data)
    return Record("s", 0, len(data), hashlib.sha256(data).hexdigest())


def member(name: str, kind: bytes = tarfile.REGTYPE, target: str = "") -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type = kind
    info.linkname = target
    return info


def test_append_when_files_are_packed_then_they_come_out_the_same(
    tmp_path: Path, writer: PackWriter, size: str
) -> None:
    record = append(writer, tmp_path, FILES)
    assert read(tmp_path / "s.pack", record) == FILES


def test_append_when_several_results_are_packed_then_each_has_its_own_place(
    tmp_path: Path, writer: PackWriter, size: str
) -> None:
    first = append(writer, tmp_path, {"a": b"first"})
    second = append(writer, tmp_path, {"a": b"second", "b": b""})
    third = append(writer, tmp_path, {"c": b"third"})
    assert first.offset == 0
    assert second.offset == first.length
    assert third.offset == first.length + second.length
    assert (tmp_path / "s.pack").stat().st_size == first.length + second.length + third.length
    assert read(tmp_path / "s.pack", second) == {"a": b"second", "b": b""}
    assert read(tmp_path / "s.pack", first) == {"a": b"first"}
    assert read(tmp_path / "s.pack", third) == {"c": b"third"}


def test_append_when_files_lie_on_disk_then_content_and_time_are_kept(
    tmp_path: Path, writer: PackWriter, size: str
) -> None:
    source = tmp_path / "rho01.mag"
    source.write_bytes(b"1.0 2.0\n" * 100)
    os.utime(source, (1_700_000_000, 1_700_000_000))
    record = writer.append([PackedFile("inv/rho01.mag", str(source))], str(tmp_path))
    with open_record(str(tmp_path / "s.pack"), record) as archive:
        (found,) = list(archive)
        assert (found.name, found.size, found.mtime, found.mode) == ("inv/rho01.mag", 800, 1_700_000_000, 0o644)


def test_append_when_a_large_record_is_made_then_its_temporary_file_is_gone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pack, "IN_MEMORY_BYTES", 10)
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    writer = PackWriter(str(tmp_path / "s.pack"), "s")
    record = writer.append([PackedFile("a", content=os.urandom(1000))], str(scratch))
    assert record.length > 1000
    assert os.listdir(scratch) == []


@pytest.mark.parametrize("name", ["inv/rho\u00e4.mag", "inv/a\nb", "inv/" + "x" * 200, os.fsdecode(b"inv/\xff\xfe")])
def test_append_when_a_name_is_odd_then_it_comes_out_the_same(tmp_path: Path, writer: PackWriter, name: str) -> None:
    assert read(tmp_path / "s.pack", append(writer, tmp_path, {name: b"1"})) == {name: b"1"}


def test_append_when_the_same_results_are_packed_then_the_same_bytes(tmp_path: Path) -> None:
    one = append(PackWriter(str(tmp_path / "1"), "1"), tmp_path, FILES)
    other = append(PackWriter(str(tmp_path / "2"), "2"), tmp_path, FILES)
    assert one.sha256 == other.sha256
    assert (tmp_path / "1").read_bytes() == (tmp_path / "2").read_bytes()


def test_append_when_write_takes_less_than_it_is_given_then_the_record_is_whole(
    tmp_path: Path, writer: PackWriter, break_call: BreakCall, size: str
) -> None:
    break_call("write", lambda descriptor, data: os.write(descriptor, data[:7]))
    assert read(tmp_path / "s.pack", append(writer, tmp_path, FILES)) == FILES


def test_append_when_the_disk_is_full_then_the_pack_is_cut_back_and_goes_on_later(
    tmp_path: Path, writer: PackWriter, break_call: BreakCall, size: str
) -> None:
    first = append(writer, tmp_path, {"a": b"first"})
    room = [20]

    def write(descriptor: int, data: memoryview) -> int:
        if not room[0]:
            raise OSError(errno.ENOSPC, "No space left on device")
        written = os.write(descriptor, data[: room[0]])
        room[0] -= written
        return written

    break_call("write", write)
    with pytest.raises(OSError, match="No space left"):
        append(writer, tmp_path, FILES)
    assert (tmp_path / "s.pack").stat().st_size == first.length
    break_call("write", os.write)
    third = append(writer, tmp_path, {"c": b"third"})
    assert third.offset == first.length
    assert read(tmp_path / "s.pack", first) == {"a": b"first"}
    assert read(tmp_path / "s.pack", third) == {"c": b"third"}


def test_append_when_cutting_back_fails_too_then_the_next_record_still_has_its_right_place(
    tmp_path: Path, writer: PackWriter, break_call: BreakCall, monkeypatch: pytest.MonkeyPatch
) -> None:
    def write(descriptor: int, data: memoryview) -> int:
        os.write(descriptor, data[:5])
        raise OSError(errno.EIO, "Input/output error")

    def ftruncate(descriptor: int, length: int) -> None:
        raise OSError(errno.EIO, "Input/output error")

    break_call("write", write)
    with monkeypatch.context() as patch:
        patch.setattr("crh_batch.ledger.pack.os.ftruncate", ftruncate)
        with pytest.raises(OSError):
            append(writer, tmp_path, FILES)
    break_call("write", os.write)
    record = append(writer, tmp_path, {"c": b"third"})
    assert record.offset == 5
    assert read(tmp_path / "s.pack", record) == {"c": b"third"}


def test_append_when_several_threads_do_then_all_records_are_whole(tmp_path: Path, writer: PackWriter) -> None:
    records: dict[int, Record] = {}

    def work(number: int) -> None:
        records[number] = append(writer, tmp_path, {"a": str(number).encode() * 1000})

    threads = [threading.Thread(target=work, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for number, record in records.items():
        assert read(tmp_path / "s.pack", record) == {"a": str(number).encode() * 1000}


def test_sync_when_records_were_appended_then_file_and_directory_are_durable_once(
    tmp_path: Path, writer: PackWriter, break_call: BreakCall
) -> None:
    synced: list[str] = []
    break_call("fsync", lambda descriptor: synced.append(os.readlink(f"/proc/self/fd/{descriptor}")))
    writer.sync()
    assert synced == [], "there is no file yet"
    append(writer, tmp_path, FILES)
    writer.sync()
    writer.sync()
    assert synced == [str(tmp_path / "s.pack"), str(tmp_path), str(tmp_path / "s.pack")]


@pytest.mark.parametrize("position", [0, 11, -1])
def test_open_record_when_a_byte_is_damaged_then_it_is_refused_with_its_place(
    tmp_path: Path, writer: PackWriter, size: str, position: int
) -> None:
    first = append(writer, tmp_path, {"a": b"first"})
    second = append(writer, tmp_path, FILES)
    data = bytearray((tmp_path / "s.pack").read_bytes())
    data[first.length + position if position >= 0 else len(data) - 1] ^= 1
    (tmp_path / "s.pack").write_bytes(data)
    with pytest.raises(PackDamaged, match="sha256 differs") as caught, open_record(str(tmp_path / "s.pack"), second):
        pytest.fail("nothing may be read from it")
    assert caught.value.offset == first.length
    assert caught.value.path == str(tmp_path / "s.pack")
    assert str(first.length) in caught.value.message
    assert read(tmp_path / "s.pack", first) == {"a": b"first"}, "the others are whole"


@pytest.mark.parametrize("missing", [1, 30])
def test_open_record_when_the_pack_is_cut_then_it_says_by_how_much(
    tmp_path: Path, writer: PackWriter, size: str, missing: int
) -> None:
    record = append(writer, tmp_path, FILES)
    os.truncate(tmp_path / "s.pack", record.length - missing)
    with (
        pytest.raises(PackDamaged, match=f"ends {missing} bytes early"),
        open_record(str(tmp_path / "s.pack"), record),
    ):
        pytest.fail("nothing may be read from it")


def test_open_record_when_the_pack_is_missing_then_it_says_so(tmp_path: Path, size: str) -> None:
    record = Record("s", 0, 100, "0" * 64)
    with pytest.raises(PackDamaged, match="is missing"), open_record(str(tmp_path / "s.pack"), record):
        pytest.fail("nothing may be read from it")
    with pytest.raises(PackDamaged, match="is missing"):
        verify(str(tmp_path / "s.pack"), record)


def test_open_record_when_the_pack_is_a_directory_then_it_is_refused(tmp_path: Path, size: str) -> None:
    (tmp_path / "s.pack").mkdir()
    with pytest.raises(PackDamaged), open_record(str(tmp_path / "s.pack"), Record("s", 0, 100, "0" * 64)):
        pytest.fail("nothing may be read from it")


@pytest.mark.parametrize("data", [b"", b"not gzip at all", gzip.compress(b"not a tar file" * 100, mtime=0)[:-20]])
def test_open_record_when_the_bytes_are_no_tar_but_the_sum_is_right_then_it_is_refused(
    tmp_path: Path, size: str, data: bytes
) -> None:
    (tmp_path / "s.pack").write_bytes(data)
    record = Record("s", 0, len(data), hashlib.sha256(data).hexdigest())
    with pytest.raises(PackDamaged), open_record(str(tmp_path / "s.pack"), record):
        pytest.fail("nothing may be read from it")


@pytest.mark.parametrize(
    "name",
    ["/etc/passwd", "../td10/inv/inv.ctr", "inv/../../td10/rho", "..", ".", "", "./inv/a", "inv//a", "inv/.", "inv/"],
)
def test_open_record_when_a_name_leads_out_of_the_tomodir_then_nothing_is_read(
    tmp_path: Path, size: str, name: str
) -> None:
    record = hand_made(tmp_path / "s.pack", [member("inv/good"), member(name)])
    with pytest.raises(PackDamaged, match="does not lie inside"), open_record(str(tmp_path / "s.pack"), record):
        pytest.fail("all members are looked at before any is read")


@pytest.mark.parametrize(
    "odd",
    [
        member("inv", tarfile.DIRTYPE),
        member("inv/link", tarfile.SYMTYPE, "/etc/passwd"),
        member("inv/link", tarfile.SYMTYPE, "inv.ctr"),
        member("inv/link", tarfile.LNKTYPE, "good"),
        member("inv/device", tarfile.CHRTYPE),
        member("inv/device", tarfile.BLKTYPE),
        member("inv/pipe", tarfile.FIFOTYPE),
    ],
    ids=["directory", "symlink out", "symlink", "hard link", "character device", "block device", "pipe"],
)
def test_open_record_when_a_member_is_no_plain_file_then_nothing_is_read(
    tmp_path: Path, size: str, odd: tarfile.TarInfo
) -> None:
    record = hand_made(tmp_path / "s.pack", [member("good"), odd])
    with pytest.raises(PackDamaged, match="not a plain file"), open_record(str(tmp_path / "s.pack"), record):
        pytest.fail("all members are looked at before any is read")


def test_open_record_when_a_member_comes_twice_then_nothing_is_read(tmp_path: Path, size: str) -> None:
    record = hand_made(tmp_path / "s.pack", [member("inv/a"), member("inv/b"), member("inv/a")])
    with pytest.raises(PackDamaged, match="occurs twice"), open_record(str(tmp_path / "s.pack"), record):
        pytest.fail("all members are looked at before any is read")


def test_open_record_when_it_holds_more_than_any_result_can_then_nothing_is_read(
    tmp_path: Path, size: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    record = hand_made(tmp_path / "s.pack", [member("a"), member("b"), member("c")])
    monkeypatch.setattr(members, "MAX_MEMBERS", 2)
    with pytest.raises(PackDamaged, match="more than any result"), open_record(str(tmp_path / "s.pack"), record):
        pytest.fail("all members are looked at before any is read")
    monkeypatch.setattr(members, "MAX_MEMBERS", 3)
    monkeypatch.setattr(members, "MAX_BYTES", 11)
    with pytest.raises(PackDamaged, match="more than any result"), open_record(str(tmp_path / "s.pack"), record):
        pytest.fail("all members are looked at before any is read")
    monkeypatch.setattr(members, "MAX_BYTES", 12)
    assert read(tmp_path / "s.pack", record) == {"a": b"evil", "b": b"evil", "c": b"evil"}


def test_open_record_when_a_small_record_unpacks_to_much_then_memory_is_spared(
    tmp_path: Path, writer: PackWriter, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A few bytes of gzip may hold very many zeros; they are read in pieces then."""
    record = append(writer, tmp_path, {"a": b"\0" * 100_000})
    monkeypatch.setattr(pack, "IN_MEMORY_BYTES", 5000)
    assert record.length < 5000
    assert read(tmp_path / "s.pack", record) == {"a": b"\0" * 100_000}


@pytest.mark.parametrize(
    "data",
    [
        {},
        {"offset": "0", "length": 1, "sha256": "a"},
        {"offset": 0, "length": None, "sha256": "a"},
        {"offset": 0, "length": 1, "sha256": 5},
        {"offset": -1, "length": 1, "sha256": "a"},
        {"offset": 0, "length": -1, "sha256": "a"},
    ],
)
def test_record_when_its_plain_form_is_damaged_then_value_error(data: dict[str, object]) -> None:
    with pytest.raises(ValueError, match="not a pack record"):
        Record.from_json("s", data)


def test_record_when_written_and_read_then_the_same() -> None:
    record = Record("s", 5, 17, "ab")
    assert record.to_json() == {"offset": 5, "length": 17, "sha256": "ab"}
    assert Record.from_json("s", {"offset": 5, "length": 17, "sha256": "ab"}) == record
