"""The user's history: one small file of what stages took, by their sizes. No path and no name of a tomodir is in it.

It can be made again from batches at any time, so nothing is lost with it. Clients only append whole lines, and now and
then replace the file as a whole; a line that two of them spoilt is passed over.
"""

from __future__ import annotations

import contextlib
import json
import os
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from crh_batch.ledger import durable
from crh_batch.ledger.batch import Batch
from crh_batch.ledger.session import list_sessions, read_events, read_header
from crh_batch.plan.history import History, Run, run_of
from crh_batch.tomodir.stage import Size

# Lines that are kept, and the number at which older ones are thrown away.
MOST_RUNS = 4000
_TRIM_AT = 5000
# Runs of the same sizes that one batch adds.
MOST_ALIKE = 10


def history_path() -> Path:
    """Return the file: ``crh-batch/history.jsonl`` in the user's state directory (XDG Base Directory Specification)."""
    base = os.environ.get("XDG_STATE_HOME") or os.path.join(os.path.expanduser("~"), ".local", "state")
    return Path(base) / "crh-batch" / "history.jsonl"


def read_history() -> History:
    """Return what is known; nothing where the file is missing or can't be read."""
    return History(run for _, run in _lines(history_path()))


def remember(batch: Batch) -> int:
    """Take in what the stages of a batch took, once; return how many runs were added.

    A history is a convenience: where it can't be written, nothing is remembered.
    """
    path = history_path()
    with contextlib.suppress(OSError):
        if any(known == batch.batch_id for known, _ in _lines(path)):
            return 0
        lines = [_to_line(batch.batch_id, run) for run in runs_of(batch)]
        if lines:
            _append(path, lines)
        return len(lines)
    return 0


def rebuild(batches: Iterable[Batch]) -> int:
    """Make the history anew from batches, oldest first; return how many runs it has.

    Raises:
        OSError: it can't be written.
    """
    lines = [_to_line(batch.batch_id, run) for batch in batches for run in runs_of(batch)]
    _replace(history_path(), lines[-MOST_RUNS:])
    return len(lines[-MOST_RUNS:])


def runs_of(batch: Batch) -> Iterator[Run]:
    """Yield what finished stages of a batch took; of those with the same sizes a few."""
    alike: Counter[tuple[Any, ...]] = Counter()
    for token in list_sessions(batch.paths):
        header = read_header(batch.paths, token)
        if header is None or header.kind != "pilot":
            continue
        for event in read_events(batch.paths, token):
            item_id = event.get("id")
            if event["event"] != "done" or not isinstance(item_id, int) or item_id not in batch.items:
                continue
            item = batch.items[item_id]
            described = {str(stage.get("stage")): stage for stage in item.stages}
            for said in event.get("stages") or ():
                run = _run(described.get(str(said.get("stage")), {}), item.threads, said)
                if run is not None and alike[run.key] < MOST_ALIKE:
                    alike[run.key] += 1
                    yield run


def _run(stage: Any, threads: int, said: dict[str, Any]) -> Run | None:
    # A bound says only that it took less.
    peak = 0 if said.get("peak_is_bound") else said.get("peak_bytes")
    wall = said.get("wall_s")
    if not isinstance(wall, (int, float)):
        return None
    return run_of(stage, threads, float(wall), peak if isinstance(peak, int) else 0)


def _to_line(batch_id: str, run: Run) -> str:
    data = {
        "batch": batch_id,
        "stage": run.stage,
        "dims": run.dims,
        "wavenumbers": run.wavenumbers,
        "threads": run.threads,
        "size": {key: value for key, value in vars(run.size).items() if value},
        "wall_s": round(run.wall_s, 4),
        "peak_bytes": run.peak_bytes,
    }
    return json.dumps(data, separators=(",", ":")) + "\n"


def _lines(path: Path) -> Iterator[tuple[str, Run]]:
    try:
        lines = path.read_bytes().split(b"\n")
    except OSError:
        return
    for line in lines:
        try:
            data = json.loads(line)
            size = Size(**data["size"])
            run = Run(
                str(data["stage"]),
                str(data["dims"]),
                int(data["wavenumbers"]),
                int(data["threads"]),
                size,
                float(data["wall_s"]),
                int(data["peak_bytes"]),
            )
        except (ValueError, KeyError, TypeError):
            continue
        if run.formula_s > 0 and run.wall_s > 0:
            yield str(data.get("batch") or ""), run


def _append(path: Path, lines: list[str]) -> None:
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    # Begins with a line break of its own, so that a torn last line spoils nothing but itself.
    content = ("\n" + "".join(lines)).encode()
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
    try:
        os.write(descriptor, content)
    finally:
        os.close(descriptor)
    kept = [line for line in path.read_text(errors="replace").split("\n") if line]
    if len(kept) > _TRIM_AT:
        _replace(path, [line + "\n" for line in kept[-MOST_RUNS:]])


def _replace(path: Path, lines: list[str]) -> None:
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    durable.write_durable(os.fspath(path), "".join(lines).encode())
