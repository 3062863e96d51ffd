"""Batches with stages, both ends on this machine: the mirror below ``here``, each stage in a directory of its own."""

from __future__ import annotations

import os
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from crh_batch.hosts import reach
from crh_batch.ledger.batch import Batch
from crh_batch.ledger.items import write_items
from crh_batch.ledger.paths import SHARD_SIZE
from crh_batch.mirror.stage import Stage, write_stage
from unit.hosts.pipe_host import PipeHost
from unit.ledger.making import make_batch

# What reach() answers, by name.
_hosts: dict[str, Any] = vars(reach)["_hosts"]


@dataclass(frozen=True)
class Staged:
    """A batch here, and for each of its stages the batch there and the machine that it is on."""

    batch: Batch
    stages: Sequence[Stage]
    there: Sequence[Batch]
    far: Sequence[PipeHost]

    def close(self) -> None:
        """End the machines, and forget them."""
        for host in self.far:
            _hosts.pop(host.name, None)
            host.is_down = False
            host.close()


def make_staged(root: Path, count: int, *, parts: int = 1, links: str = "symlink", arrived: bool = True) -> Staged:
    """A batch of so many tomodirs, dealt out in turn to so many stages."""
    batch = make_batch(root / "here", count)
    stages, there, far = [], [], []
    for number in range(1, parts + 1):
        host = bring_machine(f"far{number}")
        far.append(host)
        top = root / f"there{number}" / batch.batch_id
        stage = Stage(batch.paths, number, f"far{number}", host.name, "slurm", str(top), str(top))
        write_stage(stage)
        shutil.copy(batch.paths.settings, stage.here.settings)
        content = Path(stage.here.settings).read_text()
        Path(stage.here.settings).write_text(content.replace('"links": "symlink"', f'"links": "{links}"'))
        assert write_items(stage.here, [item for item in batch.items if item.item_id % parts == number - 1])
        stages.append(stage)
        there.append(_make_there(stage, count))
        if arrived:
            Path(stage.arrived).touch()
    return Staged(batch, stages, there, far)


def bring_machine(name: str) -> PipeHost:
    """A machine that ``reach`` finds by this name."""
    host = PipeHost(name)
    _hosts[name] = host
    return host


def _make_there(stage: Stage, count: int) -> Batch:
    os.makedirs(stage.there.directory, 0o700)
    Path(stage.top, ".crh-batch-stage").touch()
    for directory in stage.there.directories((count + SHARD_SIZE - 1) // SHARD_SIZE):
        os.mkdir(directory)
    shutil.copy(stage.here.settings, stage.there.settings)
    shutil.copy(stage.here.items, stage.there.items)
    Path(stage.there.pilot).touch()
    return Batch(stage.there.directory)


def names_of(batch: Batch) -> dict[str, str]:
    """All names of a batch that both sides know, with what they point to."""
    found = {}
    for directory, _, files in os.walk(batch.paths.names):
        for name in files:
            path = os.path.join(directory, name)
            if "custody" not in name and not name.endswith(".collected"):
                target = os.readlink(path) if os.path.islink(path) else Path(path).read_text()
                found[os.path.relpath(path, batch.paths.names)] = target
    return found


def sessions_of(batch: Batch) -> dict[str, bytes]:
    """All sessions of a batch with what they hold."""
    return {path.name: path.read_bytes() for path in Path(batch.paths.sessions).iterdir()}


def packs_of(batch: Batch) -> dict[str, bytes]:
    """All packs of a batch with what they hold."""
    return {path.name: path.read_bytes() for path in Path(batch.paths.packs).iterdir()}
