"""Putting one result into its tomodir: extract beside, check the places, keep what was there, rename file by file."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import stat
import tarfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from crh_batch.errors import TomodirError
from crh_batch.ledger import durable
from crh_batch.ledger.batch import Batch
from crh_batch.ledger.inputs import sha256_of
from crh_batch.ledger.items import Item
from crh_batch.ledger.paths import PROVENANCE, program_log
from crh_batch.ledger.sharing import make_directories, share_with

TEMPORARY_PREFIX = ".crh-"
_CHUNK = 1 << 20

# What CRTomo writes into its result directory. A file of an earlier run that the new one doesn't write again (rho07.mag
# when it converged at rho04.mag this time) would be taken for a result.
_INVERSION_OUTPUT = re.compile(
    r"(?:rho\d+\..*|volt\d+\..*|(?:inv|run|cjg|eps|fpi|wiggle)\.ctr|coverage\..*|ata.*\.diag|res_m\..*|cov\d.*|.*\.modl?)\Z"
)
_NEVER_RESULTS = frozenset({"exe/crtomo.cfg", "exe/crmod.cfg"})
_STALE_IN_EXE = ("exe/error.dat", "exe/crtomo.pid", "exe/crmod.pid")


@dataclass
class Placing:
    """A result on its way into its tomodir: extracted to ``temporary`` under numbers, in the order of renaming."""

    item: Item
    tomodir: str
    temporary: str
    order: list[str]
    touched: set[str] = field(default_factory=set)

    def extracted(self, name: str) -> str:
        """Return where a file of the result lies until it is renamed."""
        return os.path.join(self.temporary, str(self.order.index(name)))


def remove_old_temporaries(tomodir: str, batch_id: str) -> None:
    """Remove what a collect of this batch left that died; with custody there is no other living one."""
    prefix = f"{TEMPORARY_PREFIX}{batch_id}-"
    for entry in os.scandir(tomodir):
        if entry.name.startswith(prefix) and entry.is_dir(follow_symlinks=False):
            shutil.rmtree(entry.path, ignore_errors=True)


def extract_members(archive: tarfile.TarFile, directory: str, finish: str) -> list[str]:
    """Extract all members under the numbers of their places in the order of renaming; return their names in it.

    The provenance comes last but one, ``finish``, the file that says that all is there, last.
    """
    names: list[str] = []
    for member in archive:
        source = archive.extractfile(member)
        assert source is not None, "open_record passes plain files only"
        path = os.path.join(directory, f"member-{len(names)}")
        with open(path, "xb") as target:
            shutil.copyfileobj(source, target, _CHUNK)
        if member.mtime:
            os.utime(path, (member.mtime, member.mtime))
        names.append(member.name)

    def rank(place: int) -> tuple[int, str]:
        name = names[place]
        return (2 if name == finish else 1 if name == PROVENANCE else 0, name)

    places = sorted(range(len(names)), key=rank)
    for number, place in enumerate(places):
        os.rename(os.path.join(directory, f"member-{place}"), os.path.join(directory, str(number)))
    return [names[place] for place in places]


def check_places(tomodir: str, item: Item, names: Sequence[str]) -> None:
    """Refuse inputs, places that lead out of the tomodir through a symbolic link, and what stands in the way there.

    Raises:
        TomodirError: which place, and why.
    """
    _check_inputs(tomodir, item, names)
    directories = {os.path.dirname(name) for name in names if "/" in name}
    # From these, stale outputs go away even if no new file comes.
    directories.update(directory for stage in item.stages for directory in stage.get("inv_dirs", ()))
    for directory in sorted(directories):
        path = tomodir
        for part in directory.split("/"):
            path = os.path.join(path, part)
            with contextlib.suppress(FileNotFoundError):
                if not stat.S_ISDIR(os.lstat(path).st_mode):
                    raise TomodirError(
                        f"{path}: is a symbolic link or a file; results go into plain directories only",
                        "The result stays in the pack. Make it a directory, then run crh-batch collect again.",
                        tomodir,
                    )
    for name in names:
        path = os.path.join(tomodir, name)
        with contextlib.suppress(FileNotFoundError):
            mode = os.lstat(path).st_mode
            if not stat.S_ISREG(mode) and not stat.S_ISLNK(mode):
                kind = "a directory" if stat.S_ISDIR(mode) else "not a plain file"
                raise TomodirError(
                    f"{path}: is {kind}; a file of the result belongs there",
                    "The result stays in the pack. Move it away, then run crh-batch collect again.",
                    tomodir,
                )


def _check_inputs(tomodir: str, item: Item, names: Sequence[str]) -> None:
    """Refuse a result that would replace an input: pilots never pack one, even if a program wrote to it."""
    inputs = {str(name) for stage in item.stages for name in stage.get("inputs", ())}
    real = os.path.realpath(tomodir)
    # An input that is a link, or lies behind one, is that file, too.
    led_to = {
        os.path.relpath(os.path.realpath(os.path.join(tomodir, name)), real)
        for name in inputs
        if not os.path.isabs(name)
    }
    for name in names:
        if name in inputs or name in led_to or name in _NEVER_RESULTS:
            raise TomodirError(
                f"{tomodir}: its result holds {name}, which is an input and is never replaced",
                "The result stays in the pack, and no pilot has made it so: look at who could write to the batch's "
                "directory.",
                tomodir,
            )


def put_in_place(batch: Batch, one: Placing, names: list[str]) -> None:
    """Rename files into place; what stood there is kept in ``replaced/``, what is there already is left."""
    if names != one.order[-1:] or len(one.order) == 1:
        for name in list(_stale_outputs(one.tomodir, one.item, set(one.order))):
            _keep_old(batch, one.item, one.tomodir, name)
            durable.calls.unlink(os.path.join(one.tomodir, name))
    listed: dict[str, frozenset[str]] = {}
    for name in names:
        source, place = one.extracted(name), os.path.join(one.tomodir, name)
        directory = os.path.dirname(place)
        made_in, made = _make_directories(directory)
        one.touched |= made_in
        if batch.settings.share_gid:
            share_with(batch.settings.share_gid, made)
        if directory not in listed:
            # Not asked for by name: a node may take a file that another has just made for missing.
            listed[directory] = frozenset(os.listdir(directory))
        if os.path.basename(place) in listed[directory]:
            if _same_content(source, place):
                continue
            _keep_old(batch, one.item, one.tomodir, name)
        durable.calls.replace(source, place)
        one.touched.add(directory)


def _same_content(one: str, other: str) -> bool:
    status = os.lstat(other)
    return (
        stat.S_ISREG(status.st_mode) and status.st_size == os.path.getsize(one) and sha256_of(one) == sha256_of(other)
    )


def _stale_outputs(tomodir: str, item: Item, new: set[str]) -> Iterator[str]:
    """Yield outputs of earlier runs that would lie about the new result."""
    for name in _STALE_IN_EXE:
        if name not in new and os.path.lexists(os.path.join(tomodir, name)):
            yield name
    for stage in item.stages:
        for stream in ("out", "err"):
            log = program_log(stage["stage"], stream)
            if log not in new and os.path.lexists(os.path.join(tomodir, log)):
                yield log
        for directory in stage.get("inv_dirs", ()):
            with contextlib.suppress(FileNotFoundError):
                for entry in sorted(os.listdir(os.path.join(tomodir, directory))):
                    name = f"{directory}/{entry}"
                    if _INVERSION_OUTPUT.match(entry) and name not in new and _is_plain(tomodir, name):
                        yield name


def _is_plain(tomodir: str, name: str) -> bool:
    return stat.S_ISREG(os.lstat(os.path.join(tomodir, name)).st_mode)


def _keep_old(batch: Batch, item: Item, tomodir: str, name: str) -> None:
    """Copy a file that is about to go to the batch's ``replaced/``, durably; an earlier copy is not overwritten."""
    place = os.path.join(batch.paths.replaced, f"{item.item_id:06d}", name)
    made_in, _ = _make_directories(os.path.dirname(place))
    number = 1
    target = place
    while os.path.lexists(target):
        number += 1
        target = f"{place}.{number}"
    shutil.copy2(os.path.join(tomodir, name), target, follow_symlinks=False)
    if not os.path.islink(target):
        durable.sync_file(target)
    for directory in {os.path.dirname(target), *made_in}:
        durable.sync_directory(directory)


def _make_directories(directory: str) -> tuple[set[str], list[str]]:
    """Make a directory and those above it that are missing.

    Returns:
        Where new names are, which are not durable yet; and the directories that were made.
    """
    made = []
    missing = directory
    while not os.path.isdir(missing):
        made.append(missing)
        missing = os.path.dirname(missing)
    make_directories(directory)
    return {os.path.dirname(one) for one in made}, made
