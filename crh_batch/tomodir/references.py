"""Paths that a .cfg names: where they lead, and whether that is the same place on a compute node.

The programs run in exe/ of a private copy of the tomodir. A path written ``../../time0/inv/rho05.mag`` is put at the
same relative place beside the copy, which is right only if ``..`` means the same for the kernel, which goes through
symbolic links, as it does in the text.
"""

from __future__ import annotations

import os
import posixpath
import stat
from typing import NamedTuple

from crh_batch.errors import ConfigError, DataError, OutsideReference, TomodirError


def normalised(reference: str) -> str:
    """Return a path that is relative to exe/ as one relative to the tomodir, or absolute if it was."""
    return posixpath.normpath(posixpath.join("exe", reference))


def is_outside(relative: str) -> bool:
    """Whether a normalised path leads out of the tomodir."""
    return relative.startswith(("/", "../")) or relative == ".."


class Found(NamedTuple):
    """An input: its normalised path, and for one outside that is not there, what is wrong and what to do."""

    name: str
    absent: str = ""


def input_file(tomodir: str, reference: str, named_by: str, missing: type[TomodirError] = DataError) -> str:
    """Return the normalised path of a file that a program will read.

    Args:
        reference: as it stands in the .cfg.
        named_by: the .cfg, relative to the tomodir, for the message.
        missing: the error to raise if a file inside the tomodir can't be read.

    Raises:
        OutsideReference: it is outside and missing, or symbolic links lead elsewhere than the text says.
        TomodirError: of the class ``missing``: inside, but missing or not a regular file.
    """
    relative, error = _look_at(tomodir, reference, named_by, missing)
    if error is not None:
        raise error
    return relative


def result_file(tomodir: str, reference: str, named_by: str, missing: type[TomodirError] = DataError) -> Found:
    """Return a file that a program will read and that another tomodir's run may be about to make.

    As ``input_file``, but a file outside need not be there: who makes it, only a survey of all tomodirs can tell.
    """
    relative, error = _look_at(tomodir, reference, named_by, missing)
    return Found(relative, "" if error is None else str(error))


def _look_at(
    tomodir: str, reference: str, named_by: str, missing: type[TomodirError]
) -> tuple[str, OutsideReference | None]:
    """Return the normalised path, and the error for one that is outside and missing; raise all others."""
    cfg = os.path.join(tomodir, named_by)
    relative = normalised(reference)
    _check_links(tomodir, reference, relative, cfg)
    place = os.path.join(tomodir, relative)
    try:
        mode = os.stat(place).st_mode
    except (OSError, ValueError) as cause:
        why = (cause.strerror if isinstance(cause, OSError) else None) or str(cause)
        message = f"{cfg} names {reference}, which can't be read: {why}"
        if is_outside(relative):
            return relative, OutsideReference(message, f"Make {place} first, or correct the path.", place)
        raise missing(message, f"Put {relative} into the tomodir, or correct the path.", place) from cause
    if not stat.S_ISREG(mode):
        kind = "a directory" if stat.S_ISDIR(mode) else "not a regular file"
        raise missing(f"{cfg} names {reference}, which is {kind}", "Name a file.", place)
    return relative, None


def output_path(tomodir: str, reference: str, named_by: str) -> str:
    """Return the normalised path of a file or directory that a program will write.

    Raises:
        OutsideReference: it is outside the tomodir, or a symbolic link leads it there: nothing is ever collected
            through a link.
        ConfigError: it is the tomodir itself.
    """
    cfg = os.path.join(tomodir, named_by)
    relative = normalised(reference)
    if is_outside(relative):
        raise OutsideReference(
            f"{cfg} lets the program write to {reference}, which is outside the tomodir",
            "Name a place inside the tomodir.",
            os.path.join(tomodir, relative),
        )
    if relative == ".":
        raise ConfigError(
            f"{cfg} lets the program write to {reference}, which is the tomodir itself",
            "Name a directory inside the tomodir.",
            cfg,
        )
    _check_links(tomodir, reference, relative, cfg)
    place = tomodir
    for part in relative.split("/"):
        place = os.path.join(place, part)
        if os.path.islink(place) and not _is_below(place, tomodir):
            raise OutsideReference(
                f"{cfg} lets the program write to {reference}, but {place} is a symbolic link out of the tomodir",
                "Put a directory in its place; results are never written through links.",
                place,
            )
    return relative


def _check_links(tomodir: str, reference: str, relative: str, cfg: str) -> None:
    """Refuse a path where the kernel and the text disagree about ``..``."""
    if not (is_outside(relative) or _goes_back(reference) or os.path.islink(os.path.join(tomodir, "exe"))):
        return  # ../grid/elem.dat from a real exe/: they can't disagree, and most paths are such
    if posixpath.isabs(reference):
        return
    seen_by_program = os.path.join(tomodir, "exe", reference)
    as_written = os.path.abspath(os.path.join(tomodir, relative))  # the text alone: no link is looked at
    try:
        agree = os.path.samefile(seen_by_program, as_written)
    except (OSError, ValueError):
        agree = not _exists(seen_by_program) and not _exists(as_written) and _lead_alike(seen_by_program, as_written)
    if not agree:
        raise OutsideReference(
            f"{cfg} names {reference}, which leads through a symbolic link to another place than it says",
            "Write the path without going through the link, or put a directory in the link's place.",
            as_written,
        )


def _goes_back(reference: str) -> bool:
    """Whether a path has ``..`` after a name."""
    parts = [part for part in reference.split("/") if part not in ("", ".")]
    leading = next((number for number, part in enumerate(parts) if part != ".."), len(parts))
    return ".." in parts[leading:]


def _exists(path: str) -> bool:
    try:
        return os.path.exists(path)
    except ValueError:
        return False


def _lead_alike(one: str, other: str) -> bool:
    """Whether two paths to nothing would lead to the same place once something is there."""
    try:
        return os.path.realpath(one) == os.path.realpath(other)
    except (OSError, ValueError):
        return True


def _is_below(path: str, directory: str) -> bool:
    real = os.path.realpath(directory)
    return os.path.commonpath([os.path.realpath(path), real]) == real
