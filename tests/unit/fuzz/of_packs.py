"""Records of packs, and how they are read."""

from __future__ import annotations

import gzip
import hashlib
import io
import shutil
import tarfile
from collections.abc import Callable
from pathlib import Path

from crh_batch.ledger.pack import PackedFile, PackWriter, Record, open_record
from crh_batch.ledger.placing import extract_members


def packs(scratch: Path) -> list[bytes]:
    """Records as pilots write them, and the tars in them: ``unpacking`` packs what is not packed yet."""
    files = {"inv/inv.ctr": b"***finished***\n", "exe/crh.json": b"{}\n", "mod/v\u00e4.dat": bytes(range(256)) * 9}
    files[f"inv/{'x' * 150}"] = b""
    path = str(scratch / "example.pack")
    record = PackWriter(path, "s").append(
        [PackedFile(name, content=data) for name, data in files.items()], str(scratch)
    )
    packed = Path(path).read_bytes()[: record.length]
    plain = [gzip.decompress(packed)]
    for form in (tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT):
        buffer = io.BytesIO()
        with tarfile.open(fileobj=buffer, mode="w", format=form) as archive:
            for kind, name in ((tarfile.REGTYPE, "a"), (tarfile.SYMTYPE, "b"), (tarfile.REGTYPE, f"{'c/' * 80}d")):
                info = tarfile.TarInfo(name)
                info.type, info.linkname = kind, "a" if kind == tarfile.SYMTYPE else ""
                info.pax_headers = {"GNU.sparse.map": "0,5", "mtime": "1.5"} if form == tarfile.PAX_FORMAT else {}
                archive.addfile(info)
        plain.append(buffer.getvalue()[:8192])
    return [packed, *plain]


def unpacking(scratch: Path) -> Callable[[bytes], object]:
    path = scratch / "s.pack"
    target = scratch / "unpacked"

    def read(data: bytes) -> object:
        if data[:2] != b"\x1f\x8b":
            # With its sums right where they can be: else damage to a header is found by its sum alone.
            data = gzip.compress(_resummed(data), 1)
        path.write_bytes(data)
        record = Record("s", 0, len(data), hashlib.sha256(data).hexdigest())
        target.mkdir()
        try:
            with open_record(str(path), record) as archive:
                return extract_members(archive, str(target), "inv/inv.ctr")
        finally:
            shutil.rmtree(target)

    return read


def _resummed(data: bytes) -> bytes:
    """Return a tar in which each block that may be a header has the sum of its bytes."""
    blocks = bytearray(data)
    for start in range(0, len(blocks) - 511, 512):
        block = blocks[start : start + 512]
        if block[257:262] == b"ustar":
            block[148:156] = b" " * 8
            blocks[start + 148 : start + 156] = b"%06o\0 " % sum(block)
    return bytes(blocks)
