"""Stages: for each cluster of a batch the directory there that holds its part; written once, before the batch counts.

On disk: ``<batch>/stages/<number>/`` with ``stage.json``, and ``batch.json`` and ``items.jsonl`` as they stand there.
A batch without this directory has its pilots on this filesystem.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from crh_batch.errors import LedgerError
from crh_batch.ledger import durable
from crh_batch.ledger.arbiter import is_mirror
from crh_batch.ledger.items import Items
from crh_batch.ledger.paths import STATE_DIRECTORY, BatchPaths
from crh_batch.ledger.reading import FILE_LIMIT_BYTES, parse_json, read_bytes, text, whole_number
from crh_batch.ledger.sharing import make_directories
from crh_batch.tomodir.files import explain

SCHEMA = 1
_FILE = "stage.json"


@dataclass(frozen=True)
class Stage:
    """Where a part of a batch runs.

    Args:
        batch: the batch's directory here.
        number: from 1.
        on: what the user calls the cluster: a profile, or a host that SSH knows.
        host: the name that SSH knows its login node by.
        scheduler: ``slurm`` or ``sge``.
        top: the directory there that is this stage's alone; it goes away with the stage.
        root: the directory there that item paths are relative to, at or below ``top``.
        programs: for each program the path there that it is copied from, and its sha256.
        profile: the cluster's settings, plain (Profile.to_json).
    """

    batch: BatchPaths
    number: int
    on: str
    host: str
    scheduler: str
    top: str
    root: str
    programs: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    profile: Mapping[str, Any] = field(default_factory=dict)

    @property
    def directory(self) -> str:
        """What is known of it here."""
        return os.path.join(self.batch.stages, str(self.number))

    @property
    def here(self) -> BatchPaths:
        """The files here that are the batch's settings and items there; the other places don't exist."""
        return BatchPaths(self.directory)

    @property
    def there(self) -> BatchPaths:
        """The batch's directory there."""
        return BatchPaths(os.path.join(self.root, STATE_DIRECTORY, self.batch.batch_id))

    @property
    def arrived(self) -> str:
        """A file here that says that all of the stage is there; before it exists no pilot can run there."""
        return os.path.join(self.directory, "arrived")

    @property
    def has_arrived(self) -> bool:
        """Whether all of it is there."""
        return os.path.exists(self.arrived)

    @cached_property
    def ids(self) -> frozenset[int]:
        """The tomodirs that run there.

        Raises:
            LedgerError: the list can't be read.
        """
        return frozenset(Items(self.here.items).ids)

    def to_json(self) -> dict[str, Any]:
        """Return the plain form."""
        keys = ("number", "on", "host", "scheduler", "top", "root")
        return {
            "schema": SCHEMA,
            **{key: getattr(self, key) for key in keys},
            "programs": {name: dict(entry) for name, entry in self.programs.items()},
            "profile": dict(self.profile),
        }


def write_stage(stage: Stage) -> None:
    """Write ``stage.json``, durably; its directory is made."""
    make_directories(stage.directory)
    content = json.dumps(stage.to_json(), indent=1).encode() + b"\n"
    durable.write_durable(os.path.join(stage.directory, _FILE), content)
    durable.sync_directory(stage.batch.stages)
    durable.sync_directory(stage.batch.directory)


def is_staged(paths: BatchPaths) -> bool:
    """Return whether a batch's pilots run on other filesystems than this one.

    Raises:
        LedgerError: that can't be found out; nothing may be decided about its tomodirs then.
    """
    try:
        return is_mirror(paths)
    except OSError as error:
        raise _unreadable(paths.stages, error) from error


def read_stages(paths: BatchPaths) -> tuple[Stage, ...]:
    """Return a batch's stages by number; none if its pilots see this filesystem.

    Raises:
        LedgerError: one can't be read; nothing may be decided about its tomodirs then.
    """
    try:
        numbers = sorted(int(name) for name in os.listdir(paths.stages) if name.isdecimal())
    except FileNotFoundError:
        return ()
    except OSError as error:
        raise _unreadable(paths.stages, error) from error
    return tuple(_read_stage(paths, number) for number in numbers)


def _read_stage(paths: BatchPaths, number: int) -> Stage:
    path = os.path.join(paths.stages, str(number), _FILE)
    try:
        data = parse_json(read_bytes(path, FILE_LIMIT_BYTES))
        stage = Stage(
            batch=paths,
            number=whole_number(data["number"], 1),
            on=text(data["on"]),
            host=text(data["host"]),
            scheduler=text(data["scheduler"]),
            top=text(data["top"]),
            root=text(data["root"]),
            programs={text(name): {key: text(entry[key]) for key in entry} for name, entry in data["programs"].items()},
            profile=dict(data["profile"]),
        )
        if stage.number != number or not (os.path.isabs(stage.top) and _is_inside(stage.root, stage.top)):
            raise ValueError("it contradicts itself")
        return stage
    except (OSError, ValueError) as error:
        raise _unreadable(path, error) from error
    except (KeyError, TypeError, AttributeError) as error:
        raise _unreadable(path, ValueError("a key is missing, or has a wrong value")) from error


def _is_inside(path: str, directory: str) -> bool:
    return os.path.normpath(path) == path and (path + "/").startswith(os.path.join(directory, ""))


def _unreadable(path: str, error: OSError | ValueError) -> LedgerError:
    return LedgerError(
        f"{path}: can't be read: {explain(error)}",
        "It says where the batch's tomodirs run; put back what was there, then run the command again.",
        path,
    )


def stage_of(stages: Iterable[Stage], item_id: int) -> Stage | None:
    """Return the stage that a tomodir runs in."""
    return next((stage for stage in stages if item_id in stage.ids), None)
