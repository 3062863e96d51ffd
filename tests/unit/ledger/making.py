"""Batches of a few tomodirs, made by hand: with the sessions, names and results that a test wants."""

from __future__ import annotations

import dataclasses
import json
import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from crh_batch.ledger.batch import Batch, new_batch
from crh_batch.ledger.identity import Who, this_process
from crh_batch.ledger.items import Item, write_items
from crh_batch.ledger.names import RetryPolicy
from crh_batch.ledger.pack import PackedFile, PackWriter
from crh_batch.ledger.session import Job, Session
from crh_batch.ledger.settings import ItemClass, Settings, write_settings

MODELLING: dict[str, Any] = {
    "stage": "modelling",
    "program": "CRMod",
    "judge": "crmod",
    "directory": "exe",
    "dims": "2D",
    "wavenumbers": 1,
    "inputs": ["exe/crmod.cfg", "rho/rho.dat"],
    "make_dirs": ["exe", "mod"],
    "result": "mod/volt.dat",
    "inv_dirs": [],
}
INVERSION: dict[str, Any] = {
    "stage": "inversion",
    "program": "CRTomo",
    "judge": "crtomo",
    "directory": "exe",
    "dims": "2.5D",
    "wavenumbers": 9,
    "inputs": ["exe/crtomo.cfg", "mod/volt.dat"],
    "make_dirs": ["exe", "inv"],
    "result": None,
    "inv_dirs": ["inv"],
}
# A process of another machine: nobody here can say whether it lives.
ELSEWHERE = Who("elsewhere", "another-boot", 4711, 99, "somebody", "pid:[1]")


def dead_process() -> Who:
    """A process of this machine that is provably gone: of an earlier boot."""
    return dataclasses.replace(this_process(), boot_id="00000000-0000-0000-0000-000000000000")


def make_item(
    item_id: int, path: str = "", *, threads: int = 1, stages: Sequence[Mapping[str, Any]] = (INVERSION,)
) -> Item:
    """An item as items.jsonl has it; ``td<number>`` unless it says otherwise."""
    return Item(item_id, path or f"td{item_id}", threads, threads, 10.0, 50_000_000, tuple(stages))


def make_batch(
    root: Path,
    items: int | Sequence[Item],
    *,
    links: str = "symlink",
    policy: RetryPolicy | None = None,
    classes: Sequence[ItemClass] = (),
    programs: Mapping[str, Mapping[str, str]] | None = None,
    **more: Any,
) -> Batch:
    """A batch of so many tomodirs, or of these items; one class of all of them unless it says otherwise.

    ``more``: further settings, as Settings has them.
    """
    listed = [make_item(number) for number in range(items)] if isinstance(items, int) else list(items)
    stop = max((item.item_id for item in listed), default=-1) + 1
    paths = new_batch(os.fspath(root), stop, more.get("share_gid", 0))
    settings = Settings(
        links=links,
        classes=tuple(classes) or (ItemClass(1, 0, stop),),
        programs=programs
        or {"CRMod": {"file": "CRMod-1", "sha256": "1"}, "CRTomo": {"file": "CRTomo-2", "sha256": "2"}},
        policy=policy or RetryPolicy(),
        **more,
    )
    write_settings(paths, settings)
    assert write_items(paths, listed)
    return Batch(paths.directory)


def make_names(batch: Batch, *names: str, token: str = "nobody") -> None:
    """Make names such as ``0.claim.001``, that point to a session."""
    for name in names:
        number, _, mark = name.partition(".")
        os.symlink(f"../../sessions/{token}.crh", batch.paths.name(int(number), mark))


def begin(
    batch: Batch, label: str = "slurm-77_3-r0", *, who: Who | None = None, job: Job | None = None, submission: str = ""
) -> Session:
    """A pilot's session; ``who`` makes it another process's."""
    session = Session.begin(batch.paths, "pilot", label=label, job=job, submission=submission)
    if who is not None:
        session.header = dataclasses.replace(session.header, who=who)
        path = Path(batch.paths.session(session.token))
        first, rest = path.read_bytes().split(b"\n", 1)
        data = {**json.loads(first), "who": who.to_json()}
        path.write_bytes(json.dumps(data).encode() + b"\n" + rest)
    return session


def claim(batch: Batch, session: Session, item_id: int, attempt: int = 1) -> None:
    """A claim, as a pilot makes it."""
    assert session.win(item_id, f"claim.{attempt:03d}", batch.settings.links)
    session.append("claim", id=item_id, attempt=attempt)


def finish(
    batch: Batch,
    item_id: int,
    files: Mapping[str, bytes],
    *,
    last: str = "",
    inputs: Sequence[Any] = (),
    session: Session | None = None,
) -> Session:
    """A result, as a pilot commits it; ``last`` is the file that says finished."""
    session = session or begin(batch)
    pack = PackWriter(batch.paths.pack(session.token), session.token)
    listed = [PackedFile(name, content=content) for name, content in files.items()]
    record = pack.append(listed, batch.paths.directory)
    pack.sync()
    pack.close()
    session.append("done", id=item_id, attempt=1, stages=[], inputs=list(inputs), finish=last, record=record.to_json())
    session.sync()
    assert session.win(item_id, "done", batch.settings.links)
    return session


def write_files(directory: Path, files: Mapping[str, bytes]) -> Path:
    """Files with their directories."""
    for name, content in files.items():
        path = directory / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    return directory


def files_in(directory: Path) -> dict[str, bytes]:
    """All files below a directory by relative path; links are not followed."""
    return {
        str(path.relative_to(directory)): path.read_bytes()
        for path in sorted(directory.rglob("*"))
        if path.is_file() and not path.is_symlink()
    }


def failing(number: int) -> Callable[..., object]:
    """A system call that fails with this errno."""

    def fail(*arguments: object, **keywords: object) -> object:
        raise OSError(number, os.strerror(number))

    return fail
