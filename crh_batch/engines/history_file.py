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
from crh_batch.ledger.reading import FILE_LIMIT_BYTES, any_number, parse_json, read_bytes, text, whole_number
from crh_batch.ledger.session import list_sessions, read_events, read_header
from crh_batch.plan.history import History, Run, run_of
from crh_batch.tomodir.stage import Size

# Lines that are kept, and the number at which older ones are thrown away.
MOST_RUNS = 4000
_TRIM_AT = 5000
# Runs of the same sizes that one batch adds.
MOST_ALIKE = 10
# No mesh, no node and no list of data is larger; formulas of larger ones leave what a float can hold.
_MOST = 10**9


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


def unreadable_lines() -> int:
    """Return how many lines of the history can't be read; one that a client is just writing may be among them."""
    return sum(_parse(line) is None for line in _raw_lines(history_path()) if line)


def mend_history() -> None:
    """Take the lines that can't be read out of the history.

    Raises:
        OSError: it can't be written.
    """
    _replace(history_path(), [_to_line(batch_id, run) for batch_id, run in _lines(history_path())])


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


def _raw_lines(path: Path) -> list[bytes]:
    try:
        return read_bytes(os.fspath(path), FILE_LIMIT_BYTES).split(b"\n")
    except (OSError, ValueError):
        return []


def _lines(path: Path) -> Iterator[tuple[str, Run]]:
    for line in _raw_lines(path):
        parsed = _parse(line)
        if parsed is not None:
            yield parsed


def _parse(line: bytes) -> tuple[str, Run] | None:
    try:
        data = parse_json(line)
        batch_id = text(data.get("batch", ""))
        run = Run(
            text(data["stage"]),
            text(data["dims"]),
            whole_number(data["wavenumbers"], 0, _MOST),
            whole_number(data["threads"], 0, _MOST),
            Size(**{key: _of_size(value) for key, value in data["size"].items()}),
            any_number(data["wall_s"]),
            whole_number(data["peak_bytes"]),
        )
        usable = run.formula_s > 0 and run.wall_s > 0
    except (ValueError, LookupError, TypeError, AttributeError, ArithmeticError):
        return None
    return (batch_id, run) if usable else None


def _of_size(value: Any) -> Any:
    return value if isinstance(value, bool) else whole_number(value, 0, _MOST)


def _append(path: Path, lines: list[str]) -> None:
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    # Begins with a line break of its own, so that a torn last line spoils nothing but itself.
    content = ("\n" + "".join(lines)).encode()
    # NONBLOCK: a FIFO in its place would be waited for.
    flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC | os.O_NONBLOCK
    descriptor = os.open(path, flags, 0o600)
    try:
        os.write(descriptor, content)
    finally:
        os.close(descriptor)
    kept = [line.decode(errors="replace") for line in _raw_lines(path) if line]
    if len(kept) > _TRIM_AT:
        _replace(path, [line + "\n" for line in kept[-MOST_RUNS:]])


def _replace(path: Path, lines: list[str]) -> None:
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    durable.write_durable(os.fspath(path), "".join(lines).encode())
