"""Packs: a session's results, one gzipped tar after another in one file.

One file for thousands of results spares the filesystem's inodes. A record is known by offset, length and sha256, which
the session's control file holds; nothing is extracted before the sum has been checked, and no member may lead out of
the tomodir.
"""

from __future__ import annotations

import contextlib
import gzip
import hashlib
import io
import os
import tarfile
import threading
import zlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, BinaryIO, NoReturn

from crh_batch.errors import PackDamaged
from crh_batch.ledger import durable
from crh_batch.ledger.members import Refuse, check_members, open_tar
from crh_batch.ledger.reading import open_regular, text, whole_number
from crh_batch.ledger.sharing import share
from crh_batch.tomodir.files import explain

_CHUNK = 1 << 20
# Records up to this size are made in memory, larger ones in a file: a pilot stays below 40 MB.
IN_MEMORY_BYTES = 4 << 20
# Level 1: results are numbers in text; higher levels cost three times the time for a tenth of the size (measured).
_LEVEL = 1


@dataclass(frozen=True)
class Record:
    """Where a result lies: ``length`` bytes at ``offset`` of the pack of session ``token``."""

    token: str
    offset: int
    length: int
    sha256: str

    def to_json(self) -> dict[str, Any]:
        """Return the plain form that session events hold."""
        return {"offset": self.offset, "length": self.length, "sha256": self.sha256}

    @classmethod
    def from_json(cls, token: str, data: Mapping[str, Any]) -> Record:
        """Read the plain form.

        Raises:
            ValueError: it isn't one.
        """
        try:
            offset, length = whole_number(data.get("offset")), whole_number(data.get("length"))
            return cls(token, offset, length, text(data.get("sha256")))
        except ValueError as error:
            raise ValueError(f"not a pack record: {error}") from error


@dataclass(frozen=True)
class PackedFile:
    """A file to be packed: its name in the tomodir, and its path or its content."""

    name: str
    path: str = ""
    content: bytes = b""


class PackWriter:
    """Appends records to a session's pack; safe to use from several threads.

    Only its session writes to a pack, so a failed write is taken back by cutting the file to its old length.
    """

    def __init__(self, path: str, token: str) -> None:
        self._path = path
        self._token = token
        self._lock = threading.Lock()
        self._descriptor = -1
        self._end = 0
        self._is_new = True

    def append(self, files: Iterable[PackedFile], scratch: str) -> Record:
        """Pack files and append them; return where they lie. Not durable before ``sync``.

        Args:
            scratch: a directory for the temporary file of large records.
        """
        listed = list(files)
        total = sum(len(item.content) or os.path.getsize(item.path or os.devnull) for item in listed)
        if total <= IN_MEMORY_BYTES:
            buffer = io.BytesIO()
            _write_tar(listed, buffer)
            return self._append_stream(buffer)
        path = os.path.join(scratch, f"record-{durable.random_word()}.tar.gz")
        with open(path, "w+b") as stream:
            os.unlink(path)
            _write_tar(listed, stream)
            return self._append_stream(stream)

    def _append_stream(self, stream: BinaryIO) -> Record:
        stream.seek(0)
        digest = hashlib.sha256()
        with self._lock:
            if self._descriptor < 0:
                self._descriptor = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o644)
                share(self._descriptor, os.path.dirname(self._path))
                self._end = os.fstat(self._descriptor).st_size
            offset = self._end
            try:
                for chunk in iter(lambda: stream.read(_CHUNK), b""):
                    digest.update(chunk)
                    durable.write_all(self._descriptor, chunk)
                    self._end += len(chunk)
            except BaseException:
                with contextlib.suppress(OSError):
                    os.ftruncate(self._descriptor, offset)
                self._end = os.fstat(self._descriptor).st_size
                raise
            return Record(self._token, offset, self._end - offset, digest.hexdigest())

    def sync(self) -> None:
        """Make all records so far durable, the pack's own name too."""
        if self._descriptor < 0:
            return
        durable.sync(self._descriptor)
        if self._is_new:
            durable.sync_directory(os.path.dirname(self._path))
            self._is_new = False

    def close(self) -> None:
        """Close the file."""
        with self._lock:
            if self._descriptor >= 0:
                os.close(self._descriptor)
                self._descriptor = -1


def _write_tar(files: Iterable[PackedFile], stream: BinaryIO) -> None:
    # mtime=0 in the gzip header: the same results give the same bytes.
    with (
        gzip.GzipFile(fileobj=stream, mode="wb", compresslevel=_LEVEL, mtime=0) as packed,
        tarfile.open(fileobj=packed, mode="w", format=tarfile.PAX_FORMAT) as archive,
    ):
        for item in files:
            info = tarfile.TarInfo(item.name)
            info.mode = 0o644
            if not item.path:
                info.size = len(item.content)
                archive.addfile(info, io.BytesIO(item.content))
                continue
            with open(item.path, "rb") as source:
                status = os.fstat(source.fileno())
                info.size = status.st_size
                info.mtime = int(status.st_mtime)
                archive.addfile(info, source)


class _Window(io.RawIOBase):
    """A part of a file as a file of its own."""

    def __init__(self, stream: BinaryIO, offset: int, length: int) -> None:
        super().__init__()
        self._stream = stream
        self._left = length
        stream.seek(offset)

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        data = self._stream.read(min(len(buffer), self._left))
        self._left -= len(data)
        buffer[: len(data)] = data
        return len(data)


def verify(path: str, record: Record) -> None:
    """Check a record's length and sum.

    Raises:
        PackDamaged: the pack is missing, too short, or its bytes are others than those written.
    """
    digest = hashlib.sha256()
    length = 0
    for chunk in _chunks(path, record):
        digest.update(chunk)
        length += len(chunk)
    _check_sum(path, record, length, digest.hexdigest())


def _verified_bytes(path: str, record: Record) -> bytes:
    content = b"".join(_chunks(path, record))
    _check_sum(path, record, len(content), hashlib.sha256(content).hexdigest())
    return content


def _chunks(path: str, record: Record) -> Iterator[bytes]:
    """Yield a record's bytes, as many of them as there are."""
    left = record.length
    try:
        with open_regular(path) as stream:
            stream.seek(record.offset)
            while left and (chunk := stream.read(min(_CHUNK, left))):
                left -= len(chunk)
                yield chunk
    except FileNotFoundError:
        raise _damaged(path, record, "the pack is missing") from None
    except (OSError, ValueError) as error:
        raise _damaged(path, record, explain(error)) from error


def _check_sum(path: str, record: Record, length: int, sha256: str) -> None:
    if length != record.length:
        raise _damaged(path, record, f"it ends {record.length - length} bytes early")
    if sha256 != record.sha256:
        raise _damaged(path, record, "its bytes are not those that were written (sha256 differs)")


def _damaged(path: str, record: Record, what: str) -> PackDamaged:
    return PackDamaged(
        f"{path}: the record at byte {record.offset} can't be used: {what}",
        "If the file may only be late on this machine, try again in a minute; else run the tomodir again: "
        "crh-batch submit --force.",
        path,
        record.offset,
    )


@contextlib.contextmanager
def open_record(path: str, record: Record) -> Iterator[tarfile.TarFile]:
    """Open a record for reading, after its sum and all its members have been checked.

    Raises:
        PackDamaged: the sum is wrong, or a member is not a plain file inside the tomodir.
    """

    def refuse(what: str) -> NoReturn:
        raise _damaged(path, record, what)

    content = _small_content(path, record)
    if content is not None:
        with _reading(path, record), open_tar(io.BytesIO(content), "r:", refuse) as archive:
            check_members(archive, record.length, refuse)
            yield archive
        return
    verify(path, record)
    with _streaming(path, record, refuse) as archive:
        check_members(archive, record.length, refuse)
    with _streaming(path, record, refuse) as archive:
        yield archive


def _small_content(path: str, record: Record) -> bytes | None:
    """Return the unpacked bytes of a record that is small, also when unpacked; None for larger ones."""
    if record.length > IN_MEMORY_BYTES:
        return None
    content = _verified_bytes(path, record)
    with _reading(path, record):
        unpacking = zlib.decompressobj(wbits=31)
        plain = unpacking.decompress(content, 16 * IN_MEMORY_BYTES)
        return plain if unpacking.eof else None


@contextlib.contextmanager
def _reading(path: str, record: Record) -> Iterator[None]:
    try:
        yield
    except (tarfile.TarError, EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise _damaged(path, record, str(error)) from error


@contextlib.contextmanager
def _streaming(path: str, record: Record, refuse: Refuse) -> Iterator[tarfile.TarFile]:
    with _reading(path, record), open_regular(path) as stream:
        window = io.BufferedReader(_Window(stream, record.offset, record.length), _CHUNK)
        with gzip.GzipFile(fileobj=window, mode="rb") as plain, open_tar(plain, "r|", refuse) as archive:
            yield archive
