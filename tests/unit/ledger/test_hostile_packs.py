"""Records that no pilot writes: nothing of them is put anywhere, and none takes all memory, disk or time."""

from __future__ import annotations

import gzip
import hashlib
import io
import os
import resource
import tarfile
import zlib
from collections.abc import Iterable, Sequence
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from crh_batch.errors import PackDamaged, TomodirError
from crh_batch.ledger import members, pack
from crh_batch.ledger.pack import Record, open_record
from crh_batch.ledger.placing import check_places, extract_members

from .making import INVERSION, make_item


@pytest.fixture(params=["small", "large"])
def size(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Both ways: a record read in memory, and one read as a stream."""
    if request.param == "large":
        monkeypatch.setattr(pack, "IN_MEMORY_BYTES", 10)
    return str(request.param)


def header(name: str, size: int = 0, kind: bytes = tarfile.REGTYPE, **more: object) -> bytes:
    """A header as tarfile writes it, with a size that may lie."""
    info = tarfile.TarInfo(name)
    info.type, info.size = kind, size
    for key, value in more.items():
        setattr(info, key, value)
    return info.tobuf(tarfile.GNU_FORMAT)[-512:]


def extended(records: dict[str, str], size: int | None = None) -> bytes:
    """An extended header; ``size``: what it says of its own length."""
    content = b""
    for key, value in records.items():
        rest = f" {key}={value}\n".encode("utf-8", "surrogateescape")
        length = len(rest) + len(str(len(rest) + 2))
        content += str(length).encode() + rest
    padded = content + bytes(-len(content) % 512)
    return header("x", len(content) if size is None else size, tarfile.XHDTYPE) + padded


def record(path: Path, packed: bytes) -> Record:
    path.write_bytes(packed)
    return Record("s", 0, len(packed), hashlib.sha256(packed).hexdigest())


def of_tar(path: Path, content: bytes) -> Record:
    return record(path, gzip.compress(content, 1))


def names_in(path: Path, one: Record) -> list[str]:
    with open_record(str(path), one) as archive:
        return [member.name for member in archive]


END = bytes(1024)
KINDS = {
    "symlink": tarfile.SYMTYPE, "hard link": tarfile.LNKTYPE, "device": tarfile.CHRTYPE, "disk": tarfile.BLKTYPE,
    "fifo": tarfile.FIFOTYPE, "directory": tarfile.DIRTYPE, "sparse": tarfile.GNUTYPE_SPARSE,
    "contiguous": tarfile.CONTTYPE, "GNU long name": tarfile.GNUTYPE_LONGNAME,
    "GNU long link": tarfile.GNUTYPE_LONGLINK, "global header": tarfile.XGLTYPE, "Solaris": tarfile.SOLARIS_XHDTYPE,
    "of no kind": b"Z",
}  # fmt: skip
CASES = {
    "absolute": header("/etc/passwd"),
    "absolute by its extended header": extended({"path": "/etc/passwd"}) + header("a"),
    "above": header("../a"),
    "above, later": header("a/../../b"),
    "above by its extended header": extended({"path": "../../a"}) + header("a"),
    "here": header("./a"),
    "no name": header(""),
    "a NUL in the name": extended({"path": "a\0b"}) + header("a"),
    "a name of 5000 letters": extended({"path": "a/" * 2500 + "b"}) + header("a"),
    "a part of 300 letters": extended({"path": "inv/" + "b" * 300}) + header("a"),
    "twice": header("a") + header("a"),
    "another size than it has": header("a", 10_000),
    "another size by its extended header": extended({"size": "1000000000"}) + header("a"),
    "a negative size": header("a", -512),
    "a negative size by its extended header": extended({"size": "-1024"}) + header("a"),
    "a size that is no number": extended({"size": "many"}) + header("a"),
    "a sparse map": extended({"GNU.sparse.map": "0,5", "GNU.sparse.size": str(1 << 60)}) + header("a"),
    "sparse 1.0": extended({"GNU.sparse.major": "1", "GNU.sparse.minor": "0"}) + header("a"),
    "a time that is none": extended({"mtime": "nan"}) + header("a"),
    "a time before all": extended({"mtime": "-5"}) + header("a"),
    "a time after all": extended({"mtime": "1e300"}) + header("a"),
    "an owner that is no number": extended({"uid": "root"}) + header("a"),
    "an extended header of a gigabyte": extended({}, 1 << 30) + bytes(1 << 20),
    "a chain of extended headers": extended({"path": "a"}) * 3000 + header("a"),
    "a chain of long names": header("a", 3, tarfile.GNUTYPE_LONGNAME) * 3000,
    "an extended header and nothing after it": extended({"path": "a"}),
    "a header with a wrong sum": b"a" * 512,
    **{f"a {name}": header("a", kind=kind, linkname="b") for name, kind in KINDS.items()},
}  # fmt: skip


@pytest.mark.parametrize("case", CASES)
def test_open_record_when_a_member_is_none_that_pilots_write_then_all_of_it_is_refused(
    tmp_path: Path, size: str, case: str
) -> None:
    path = tmp_path / "s.pack"
    one = of_tar(path, header("inv/good", 0) + CASES[case] + END)
    with pytest.raises(PackDamaged) as caught:
        names_in(path, one)
    assert str(path) in caught.value.message
    assert caught.value.next_step


def test_open_record_when_it_is_no_gzip_or_cut_short_then_it_is_refused(tmp_path: Path, size: str) -> None:
    path = tmp_path / "s.pack"
    whole = gzip.compress(header("a", 600) + b"x" * 600 + bytes(424) + END)
    for packed in (b"", b"garbage", whole[: len(whole) // 2], whole[:-9], b"\x1f\x8b" + bytes(50)):
        with pytest.raises(PackDamaged):
            names_in(path, record(path, packed))


def test_open_record_when_something_follows_the_archives_end_then_it_is_never_looked_at(
    tmp_path: Path, size: str
) -> None:
    path = tmp_path / "s.pack"
    assert names_in(path, of_tar(path, header("a") + END + header("/etc/passwd"))) == ["a"]


def test_open_record_when_it_has_ten_million_members_then_it_is_refused_at_the_limit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert members.MAX_MEMBERS == 100_000
    monkeypatch.setattr(members, "MAX_MEMBERS", 2_000)
    path = tmp_path / "s.pack"
    seen = 0

    def blocks() -> Iterable[bytes]:
        nonlocal seen
        for number in range(4_000):
            seen += 1
            yield header(f"inv/{number}")

    one = of_tar(path, b"".join(blocks()))
    with pytest.raises(PackDamaged, match="more than any result"):
        names_in(path, one)


def zeros(gigabytes: int) -> bytes:
    """A gzip of a tar with one file of so many gigabytes of zeros: one packed stretch of them, over and over."""
    packer = zlib.compressobj(9, zlib.DEFLATED, 31)
    packed = [packer.compress(header("inv/bomb", gigabytes << 30))]
    # After a full flush equal input gives equal output.
    packed.append(packer.flush(zlib.Z_FULL_FLUSH))
    stretch = packer.compress(bytes(1 << 24)) + packer.flush(zlib.Z_FULL_FLUSH)
    return b"".join([*packed, *[stretch] * (gigabytes << 6)])


def test_open_record_when_it_is_a_bomb_then_it_is_refused_before_anything_is_unpacked(tmp_path: Path) -> None:
    path = tmp_path / "s.pack"
    one = record(path, zeros(10))
    assert one.length < 12 << 20
    used = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    # Its header says 10 GB, of which not one is unpacked.
    with pytest.raises(PackDamaged, match="which no result does"):
        names_in(path, one)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - used < 200 << 10


def test_open_record_when_a_result_is_large_and_of_numbers_then_it_is_taken(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(members, "RATIO_FROM_BYTES", 1 << 16)
    content = b"".join(b"%12.4f %12.4f\n" % (number * 0.37, number * 1.7) for number in range(10_000))
    path = tmp_path / "s.pack"
    one = of_tar(path, header("inv/rho01.mag", len(content)) + content + bytes(-len(content) % 512) + END)
    assert names_in(path, one) == ["inv/rho01.mag"]


INPUTS = ["exe/crtomo.cfg", "grid/elem.dat", "exe/crt.noisemod", "../td1/inv/rho02.modl", "link/rho.dat"]


@pytest.mark.parametrize(
    "name", ["grid/elem.dat", "exe/crtomo.cfg", "exe/crmod.cfg", "exe/crt.noisemod", "rho/rho.dat"]
)
def test_check_places_when_a_result_would_replace_an_input_then_it_is_refused(tmp_path: Path, name: str) -> None:
    tomodir = tmp_path / "td0"
    for place in ("exe/crtomo.cfg", "grid/elem.dat", "exe/crt.noisemod", "rho/rho.dat"):
        (tomodir / place).parent.mkdir(parents=True, exist_ok=True)
        (tomodir / place).write_text("mine")
    (tomodir / "link").symlink_to("rho")
    item = make_item(0, "td0", stages=({**INVERSION, "inputs": INPUTS},))
    check_places(str(tomodir), item, ["inv/inv.ctr", "exe/crh.json", "grid/other.dat"])
    with pytest.raises(TomodirError, match="is an input"):
        check_places(str(tomodir), item, ["inv/inv.ctr", name])


@pytest.mark.parametrize("kind", ["directory", "fifo"])
def test_check_places_when_something_else_stands_there_then_it_is_refused(tmp_path: Path, kind: str) -> None:
    place = tmp_path / "td0" / "inv" / "rho01.mag"
    place.parent.mkdir(parents=True)
    if kind == "fifo":
        os.mkfifo(place)
    else:
        place.mkdir()
    with pytest.raises(TomodirError, match=r"rho01\.mag: is (a directory|not a plain file)"):
        check_places(str(tmp_path / "td0"), make_item(0, "td0"), ["inv/rho01.mag"])


PARTS = st.sampled_from(["a", "inv", "..", ".", "", "b c", "\n", "-rf", "\u00e4", "\udcff", "x" * 120, "\0"])
NAMES = st.lists(PARTS, min_size=1, max_size=4).map("/".join)
TYPES = st.sampled_from([tarfile.REGTYPE] * 6 + list(KINDS.values()))
RECORDS = st.dictionaries(
    st.sampled_from(["path", "size", "mtime", "linkpath", "GNU.sparse.size", "hdrcharset", "uid", "comment"]),
    st.sampled_from(["a", "/x", "../y", "5", "-1", "1e9", "nan", "BINARY", "9" * 30, "", "\u00e4"]),
    max_size=2,
)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.tuples(NAMES, TYPES, RECORDS, st.integers(-5, 2000)), min_size=1, max_size=4))
def test_open_record_when_members_are_any_then_plain_files_inside_or_nothing(
    tmp_path: Path, many: Sequence[tuple[str, bytes, dict[str, str], int]]
) -> None:
    content = b""
    for name, kind, records, length in many:
        coded = name.encode("utf-8", "surrogateescape").decode("utf-8", "surrogateescape")
        content += extended(records) if records else b""
        content += header(coded[:90], length, kind) + bytes(max(0, length) + -max(0, length) % 512)
    path = tmp_path / "s.pack"
    one = of_tar(path, content + END)
    target = tmp_path / "target"
    target.mkdir(exist_ok=True)
    for left in target.iterdir():
        left.unlink()
    try:
        with open_record(str(path), one) as archive:
            names = extract_members(archive, str(target), "")
    except PackDamaged:
        assert list(target.iterdir()) == []
        return
    for name in names:
        assert not name.startswith("/") and ".." not in name.split("/") and "\0" not in name
    assert sorted(entry.name for entry in target.iterdir()) == sorted(map(str, range(len(names))))


def test_header_when_it_is_made_here_then_tarfile_reads_it() -> None:
    with tarfile.open(fileobj=io.BytesIO(extended({"path": "inv/a"}) + header("x", 0) + END)) as archive:
        assert archive.getnames() == ["inv/a"]
