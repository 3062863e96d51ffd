"""What a record of a pack may hold: plain files at plain relative paths, and no more than a result can have.

Everything else is refused before anything is written.

tarfile understands much that no pilot writes (sparse files, chains of long names, headers that give other sizes), and
some of it takes all memory or all time. So each header is looked at when it is met, before its content is read.
"""

from __future__ import annotations

import os
import posixpath
import tarfile
from typing import IO, Any, Callable, Literal, NoReturn, cast

# A 10-iteration inversion writes some 50 files; a modelling with sensitivities one for each measurement, and a
# resolution matrix of 20,000 cells has 10 GB.
MAX_MEMBERS = 100_000
MAX_BYTES = 256 << 30
# Results are numbers in text and shrink to a quarter or a half. As fast as pilots pack, not even zeros shrink to less
# than 1:229 (measured); a bomb that is meant to fill a disk comes to 1:1029, and gzip can't do better.
MAX_RATIO = 300
RATIO_FROM_BYTES = 1 << 30
# An extended header of a pilot's holds a path, a size and a time, and says it if the path is not UTF-8.
_MAX_HEADER_BYTES = 16 << 10
_HEADER_KEYS = frozenset({"path", "size", "mtime", "hdrcharset"})
# PATH_MAX less some room for the tomodir's own path; NAME_MAX.
_MAX_NAME_BYTES, _MAX_PART_BYTES = 4000, 255
_LAST_TIME = 1 << 40

# tarfile lets these through for numbers and texts of headers that are none.
_BY_HEADERS = (ValueError, LookupError, ArithmeticError, RecursionError)

Refuse = Callable[[str], NoReturn]


def open_tar(stream: Any, mode: Literal["r:", "r|"], refuse: Refuse) -> tarfile.TarFile:
    """Open a tar; a header of anything but a plain file is refused when it is met.

    Args:
        refuse: raises the error that names the record.
    """

    class PlainHeader(tarfile.TarInfo):
        """A header of a plain file, or the one extended header that may stand before it."""

        is_after_extended = False

        @classmethod
        def frombuf(cls, buf: bytes | bytearray, encoding: str, errors: str) -> PlainHeader:
            try:
                header = super().frombuf(buf, encoding, errors)
            except (tarfile.EOFHeaderError, tarfile.EmptyHeaderError):  # type: ignore[attr-defined]
                raise
            except tarfile.HeaderError as error:
                # tarfile takes it for the end, and the members that follow would be missing.
                refuse(f"a header is damaged ({error})")
            is_extended = header.type == tarfile.XHDTYPE
            if not is_extended and header.type not in (tarfile.REGTYPE, tarfile.AREGTYPE):
                refuse(f"member {header.name[:80]!r} is not a plain file")
            # A chain of extended headers would be followed by recursion, and each is read as a whole.
            if header.size < 0 or (is_extended and (header.size > _MAX_HEADER_BYTES or cls.is_after_extended)):
                refuse(f"the header of member {header.name[:80]!r} is none that a pilot writes")
            cls.is_after_extended = is_extended
            return header

    try:
        return tarfile.open(fileobj=cast("IO[bytes]", stream), mode=mode, tarinfo=PlainHeader)
    except _BY_HEADERS as error:
        refuse(f"a header is damaged ({type(error).__name__})")


def check_members(archive: tarfile.TarFile, packed_bytes: int, refuse: Refuse) -> None:
    """Refuse a record with any member that isn't a plain file at a plain relative path, or with too much in it.

    Args:
        packed_bytes: how long the record is.
        refuse: raises the error that names the record.
    """
    size = 0
    seen: set[str] = set()
    try:
        for count, member in enumerate(archive, start=1):
            size += member.size
            _check_member(member, refuse)
            if member.name in seen:
                refuse(f"member {member.name!r} occurs twice")
            if count > MAX_MEMBERS or size > MAX_BYTES:
                refuse(f"it holds more than any result can (more than {count - 1} files or {MAX_BYTES} bytes)")
            if size > max(RATIO_FROM_BYTES, MAX_RATIO * packed_bytes):
                refuse(f"its {packed_bytes} bytes say that they hold {size}, which no result does")
            seen.add(member.name)
    except _BY_HEADERS as error:
        refuse(f"a header is damaged ({type(error).__name__})")


def _check_member(member: tarfile.TarInfo, refuse: Refuse) -> None:
    name = member.name
    if not member.isreg() or member.issparse() or not _HEADER_KEYS.issuperset(member.pax_headers):
        refuse(f"member {name[:80]!r} is not a plain file")
    leads_out = posixpath.isabs(name) or name.split("/")[0] in (".", "..") or "\0" in name
    if leads_out or posixpath.normpath(name) != name:
        refuse(f"member {name[:80]!r} does not lie inside the tomodir")
    coded = os.fsencode(name)
    if len(coded) > _MAX_NAME_BYTES or max(map(len, coded.split(b"/"))) > _MAX_PART_BYTES:
        refuse(f"the name of member {name[:80]!r} is longer than any file's")
    if member.size < 0 or not member.pax_headers.get("size", "0").isdigit():
        refuse(f"member {name!r} has a size that is none")
    if not 0 <= member.mtime <= _LAST_TIME:
        refuse(f"member {name!r} has a time that is none")
