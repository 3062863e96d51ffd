"""The files of a batch's directory: settings, items, what was frozen, what else lies there."""

from __future__ import annotations

import functools
import hashlib
import json
import os
import stat
from collections.abc import Iterator

from crh_batch.engines.programs import pilot_archive
from crh_batch.errors import CrhBatchError, NotTrusted
from crh_batch.ledger.batch import Batch
from crh_batch.ledger.inputs import sha256_of
from crh_batch.ledger.paths import SHARD_SIZE, BatchPaths
from crh_batch.ledger.reading import open_regular
from crh_batch.ledger.trust import check_batch
from crh_batch.verify.finding import Finding, Kind
from crh_batch.verify.in_stages import unreadable_stages
from crh_batch.verify.look import is_temporary

_FILES = frozenset({"batch.json", "items.jsonl", "submissions.jsonl", "liveness.json", "pilot.pyz"})
_DIRECTORIES = frozenset({"bin", "jobs", "logs", "registering", "sessions", "packs", "names"})
_MAY_BE_MISSING = frozenset({"replaced", "dask", "stages"})


def unreadable(directory: str) -> list[Finding]:
    """Return why a batch can't be compared with anything: its settings or items can't be read; empty if they can."""
    try:
        batch = Batch(directory)
    except CrhBatchError as error:
        return [Finding(Kind.SETTINGS, "batch.json", error.message)]
    try:
        _settings(batch)
    except (CrhBatchError, OSError) as error:
        return [Finding(Kind.ITEMS, "items.jsonl", str(error).partition("\n")[0])]
    return unreadable_stages(batch)


def files_of(batch: Batch) -> list[Finding]:
    """Compare the files of a batch's directory, apart from names, sessions and packs."""
    found = [*_trust(batch.paths), *_settings(batch), *_programs(batch), *_pilot(batch)]
    return [*found, *_directories(batch), *_entries(batch), *_liveness(batch.paths)]


def _trust(paths: BatchPaths) -> Iterator[Finding]:
    try:
        check_batch(paths)
    except NotTrusted as error:
        yield Finding(Kind.NOT_TRUSTED, os.path.relpath(error.path, paths.directory), error.message)


def _settings(batch: Batch) -> tuple[Finding, ...]:
    """Compare settings and items with one another; each line is read, once for each content of the two files."""
    written = tuple(os.stat(path).st_mtime_ns for path in (batch.paths.settings, batch.paths.items))
    return _compared_settings(batch.paths.directory, written)


@functools.lru_cache(maxsize=8)
def _compared_settings(directory: str, written: tuple[int, ...]) -> tuple[Finding, ...]:
    batch = Batch(directory)
    found = []
    programs: set[str] = set()
    covered = {item_id for one in batch.settings.classes for item_id in range(one.first, one.stop)}
    after = batch.settings.after
    for item in batch.items:
        programs.update(str(stage.get("program")) for stage in item.stages)
        if item.item_id not in covered:
            found.append(Finding(Kind.ITEM_WITHOUT_CLASS, item.path, item_id=item.item_id))
        if tuple(item.after) != tuple(after.get(item.item_id, ())) or any(one not in batch.items for one in item.after):
            found.append(Finding(Kind.SOURCE_UNKNOWN, item.path, item_id=item.item_id))
    unknown = sorted(programs - set(batch.settings.programs))
    return (*found, *(Finding(Kind.PROGRAM_UNKNOWN, "batch.json", name) for name in unknown))


def _programs(batch: Batch) -> Iterator[Finding]:
    for name, entry in sorted(batch.settings.programs.items()):
        file, sha256 = entry.get("file"), entry.get("sha256", "")
        if not file:
            continue  # inside a container, or a path of its own
        path = os.path.join(batch.paths.programs, file)
        kind = _compared(path, sha256)
        if kind is not None:
            source = entry.get("source", "")
            again = bool(source) and _compared(source, sha256) is None
            missing = kind is Kind.PILOT_MISSING
            what = Kind.PROGRAM_MISSING if missing else Kind.PROGRAM_DAMAGED
            yield Finding(what, f"bin/{file}", name, mends=again, note=source)
        elif not os.access(path, os.X_OK):
            yield Finding(Kind.PROGRAM_DAMAGED, f"bin/{file}", f"{name}: not executable")


def _pilot(batch: Batch) -> Iterator[Finding]:
    wanted = str(batch.settings.extra.get("pilot_sha256") or "")
    if not wanted and os.path.isfile(batch.paths.pilot):
        return
    kind = _compared(batch.paths.pilot, wanted)
    if kind is not None:
        # The same version on the same Python makes the same bytes.
        again = bool(wanted) and hashlib.sha256(pilot_archive()).hexdigest() == wanted
        yield Finding(kind, "pilot.pyz", mends=again)


def _compared(path: str, sha256: str) -> Kind | None:
    """Return how a frozen file differs from what was frozen; None if it doesn't."""
    try:
        if not stat.S_ISREG(os.stat(path).st_mode):
            return Kind.PILOT_DAMAGED
        return None if sha256_of(path) == sha256 else Kind.PILOT_DAMAGED
    except FileNotFoundError:
        return Kind.PILOT_MISSING
    except OSError:
        return Kind.PILOT_DAMAGED


def _directories(batch: Batch) -> Iterator[Finding]:
    shards = batch.items.ids[-1] // SHARD_SIZE + 1 if len(batch.items) else 0
    for path in batch.paths.directories(shards):
        if not os.path.isdir(path):
            yield Finding(Kind.DIRECTORY_MISSING, os.path.relpath(path, batch.paths.directory), mends=True)


def _entries(batch: Batch) -> Iterator[Finding]:
    """Find temporary and foreign files; names, sessions and packs are listed by the look."""
    directory = batch.paths.directory
    for name in sorted(os.listdir(directory)):
        if is_temporary(name):
            yield Finding(Kind.TEMPORARY, name, mends=True)
        elif name not in _FILES | _DIRECTORIES | _MAY_BE_MISSING and not name.startswith(".nfs"):
            yield Finding(Kind.FOREIGN, name)
    programs = {entry.get("file") for entry in batch.settings.programs.values()} | {"python"}
    for inside, known in (("bin", programs), ("jobs", None), ("registering", frozenset())):
        for name in _listed(os.path.join(directory, inside)):
            if is_temporary(name) or inside == "registering":
                yield Finding(Kind.TEMPORARY, f"{inside}/{name}", mends=True)
            elif (name not in known) if known is not None else not name.endswith(".sh"):
                yield Finding(Kind.FOREIGN, f"{inside}/{name}")
    for inside in ("sessions", "packs", "names", *_shards(batch.paths)):
        for name in _listed(os.path.join(directory, inside)):
            if is_temporary(name):
                yield Finding(Kind.TEMPORARY, f"{inside}/{name}", mends=True)


def _shards(paths: BatchPaths) -> list[str]:
    return [f"names/{name}" for name in _listed(paths.names) if len(name) == 3 and name.isdigit()]


def _listed(directory: str) -> list[str]:
    try:
        return sorted(name for name in os.listdir(directory) if not name.startswith(".nfs"))
    except (FileNotFoundError, NotADirectoryError):
        return []


def _liveness(paths: BatchPaths) -> Iterator[Finding]:
    try:
        with open_regular(paths.liveness) as stream:
            content = json.load(stream)
        if not isinstance(content, dict):
            raise ValueError
    except FileNotFoundError:
        return
    except (OSError, ValueError, RecursionError):
        yield Finding(Kind.CACHE, "liveness.json", mends=True)
