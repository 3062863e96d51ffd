"""Registrations: ``<tomodir>.crh``, the file that says that a tomodir is being processed, by whom and where.

It is created exclusively and holds one complete line from its first moment (by link(2); where that is missing, an empty
one is half made), so two clients can't both get a tomodir. The keys
of cr_hydra's .crh files are kept, so whoever reads those can read these.
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
import stat
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

from crh_batch.errors import TomodirError
from crh_batch.ledger import durable
from crh_batch.ledger.identity import Who
from crh_batch.ledger.paths import BatchPaths, registration_path
from crh_batch.ledger.reading import open_regular, parse_json, text, whole_number
from crh_batch.ledger.trust import user_name

SCHEMA = 1
# What follows the name of a .crh file that was set aside.
ASIDE = ".aside"
_SIM_TYPES = {"modelling": "mod", "inversion": "inv"}
# A registration is a few hundred bytes; whatever is larger is something else.
_MAX_BYTES = 1 << 16


@dataclass(frozen=True)
class Registration:
    """What a .crh file says.

    Args:
        path: the .crh file.
        batch_id: the batch that the tomodir belongs to; empty if the file doesn't say.
        batch_directory: where that batch lies, seen from here.
        item_id: the tomodir's number in it.
        registrant: the process that registered it.
        since: when, for reading.
        flaw: why the file is no registration, empty if it is one.
        text: the file's content, to find out whether it is still the same.
    """

    path: str
    batch_id: str = ""
    batch_directory: str = ""
    item_id: int = -1
    registrant: Who = Who("", "", 0, 0, "")
    since: str = ""
    flaw: str = ""
    text: bytes = b""

    @property
    def half_made(self) -> bool:
        """Whether its writer died before the content was there."""
        return not self.text

    def describe(self) -> str:
        """Return who and since when, for a user."""
        if self.flaw:
            return self.flaw
        return f"registered by {self.registrant} at {self.since} for batch {self.batch_id}"


def sim_type_of(stages: Iterable[str]) -> str:
    """Return CRHydra's word for what a tomodir's stages do: ``mod``, ``inv`` or ``mod+inv``."""
    return "+".join(_SIM_TYPES.get(stage, stage) for stage in stages)


def register(tomodir: str, paths: BatchPaths, item_id: int, who: Who, sim_type: str) -> Registration | None:
    """Create a tomodir's .crh file; return None if this call made it, else what stands there.

    Args:
        paths: the batch it is registered for; its place is stored relative to the .crh file, so the tree may move.
        sim_type: see ``sim_type_of``.

    Raises:
        TomodirError: the file can't be made (directory not writable, name too long, no space).
    """
    path = registration_path(tomodir)
    parent = os.path.dirname(path) or "."
    data = {
        "datetime_init": time.strftime("%Y-%m-%d %H:%M:%S"),
        "source_computer": who.host,
        "sim_type": sim_type,
        "crh_file": os.path.abspath(path),
        "username": who.user,
        "sim_id": item_id,
        "schema": SCHEMA,
        "batch": paths.batch_id,
        "batch_dir": os.path.relpath(paths.directory, parent),
        "id": item_id,
        "registrant": who.to_json(),
    }
    try:
        if durable.publish_exclusively(path, json.dumps(data).encode() + b"\n", paths.registering(item_id)):
            return None
    except OSError as error:
        raise TomodirError(
            f"{tomodir}: can't be registered: {path}: {error.strerror}",
            "The directory above the tomodir must be writable, with free space, and the name must leave room for .crh.",
            tomodir,
        ) from error
    found = read_registration(tomodir)
    ours = (paths.batch_id, item_id, who)
    if found is not None and not found.flaw and (found.batch_id, found.item_id, found.registrant) == ours:
        # RACE: a retransmitted create on NFS reports EEXIST for one's own success.
        return None
    return found or Registration(path, flaw="a registration that vanished while it was read; try again")


def read_registration(tomodir: str) -> Registration | None:
    """Read a tomodir's .crh file; None if there is none. Whatever it holds, the answer is a Registration."""
    path = registration_path(tomodir)
    try:
        try:
            status, content = _look(path)
        except OSError as error:
            if error.errno != errno.ESTALE:
                raise
            # This node knew an older one. Whether there still is one, a listing tells, and not what it remembers.
            if os.path.basename(path) not in os.listdir(os.path.dirname(path) or "."):
                return None
            status, content = _look(path)
    except FileNotFoundError:
        return None
    except OSError as error:
        if error.errno == errno.ENAMETOOLONG:
            # There can't be one, and registering will say so.
            return None
        return Registration(path, flaw=f"the .crh{_owner(path)} can't be read: {error.strerror}", text=b"?")
    if not stat.S_ISREG(status.st_mode):
        return Registration(path, flaw="the .crh is not a plain file", text=b"?")
    if status.st_size > _MAX_BYTES:
        return Registration(path, flaw=f"the .crh is too large to be one ({status.st_size} bytes)", text=b"?")
    found = _parse(path, content)
    if found.flaw and status.st_uid != os.geteuid():
        return replace(found, flaw=f"{found.flaw}; it belongs to {user_name(status.st_uid)}")
    return found


def _look(path: str) -> tuple[os.stat_result, bytes]:
    """Return what a .crh is, and what it holds if it can be one."""
    status = os.lstat(path)
    if not stat.S_ISREG(status.st_mode) or status.st_size > _MAX_BYTES:
        return status, b""
    with open_regular(path) as stream:
        return status, stream.read(_MAX_BYTES)


def _owner(path: str) -> str:
    with contextlib.suppress(OSError):
        return f" of {user_name(os.lstat(path).st_uid)}"
    return ""


def _parse(path: str, content: bytes) -> Registration:
    if not content:
        return Registration(path, flaw="the .crh is empty: its writer was interrupted")
    try:
        data = parse_json(content)
    except ValueError:
        data = None
    if not isinstance(data, Mapping):
        return Registration(path, flaw="the .crh is not a registration (not JSON)", text=content)
    schema = data.get("schema")
    if isinstance(schema, int) and schema > SCHEMA:
        flaw = f"the .crh has schema {str(schema)[:20]}, this crh-batch knows {SCHEMA}: use the newer one"
        return Registration(path, flaw=flaw, text=content)
    try:
        batch, where, item_id = text(data.get("batch")), text(data.get("batch_dir")), whole_number(data.get("id"))
        since = text(data.get("datetime_init", ""))
    except ValueError:
        return Registration(path, flaw="the .crh was not made by crh-batch (CRHydra's?)", text=content)
    directory = os.path.normpath(os.path.join(os.path.dirname(path), where))
    return Registration(path, batch, directory, item_id, Who.from_json(data.get("registrant")), since, "", content)


def remove_registration(registration: Registration) -> bool:
    """Remove a .crh file if it still holds what was read; return whether it is gone or never was ours to remove.

    Only the holder of the custody of the registration's batch may call this (custody.py): two processes that remove the
    same file could take away a third one's fresh registration.
    """
    try:
        if not stat.S_ISREG(os.lstat(registration.path).st_mode):
            # A directory, a link, a pipe that would be waited for: nobody's registration, and not ours to remove.
            return False
        with open_regular(registration.path) as stream:
            if stream.read(_MAX_BYTES) != registration.text:
                return False
    except FileNotFoundError:
        return True
    except OSError:
        return False
    with contextlib.suppress(FileNotFoundError):
        durable.calls.unlink(registration.path)
    return True


def set_aside(registration: Registration) -> str:
    """Rename a .crh file whose batch is gone, so that its tomodir is free; return its new name, empty if it was left.

    It is kept, for nothing else may say any more what it says. Nobody can have custody of a batch that is gone, so what
    was renamed is compared with what was read, and a registration that was made in between is put back.
    """
    number = 1
    target = registration.path + ASIDE
    while os.path.lexists(target):
        number += 1
        target = f"{registration.path}{ASIDE}.{number}"
    try:
        with open_regular(registration.path) as stream:
            if stream.read(_MAX_BYTES) != registration.text:
                return ""
        durable.calls.replace(registration.path, target)
    except FileNotFoundError:
        return ""
    with open_regular(target) as stream:
        if stream.read(_MAX_BYTES) == registration.text:
            durable.sync_directory(os.path.dirname(target))
            return target
    # RACE: a client with --force took the tomodir over just now. Exclusively, for another one may have come since.
    with contextlib.suppress(FileExistsError):
        durable.calls.link(target, registration.path)
    durable.calls.unlink(target)
    return ""
