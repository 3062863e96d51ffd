"""One attempt at one tomodir: stage, run each stage, judge it, and gather what there is to pack.

Knows stages, not CRTomo: what to run, what it reads and which rule judges it come from items.jsonl.
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
import shutil
import signal
import socket
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from crh_batch.errors import CrhBatchError
from crh_batch.ledger.batch import Batch
from crh_batch.ledger.items import Item
from crh_batch.ledger.names import Failure
from crh_batch.ledger.pack import PackedFile
from crh_batch.ledger.paths import PROVENANCE, program_log
from crh_batch.pilot import virtual_memory
from crh_batch.pilot.guard import Guard
from crh_batch.pilot.memory_killer import MemoryKiller
from crh_batch.pilot.program import RunningProgram, Usage, program_environment
from crh_batch.pilot.sources import take_results
from crh_batch.pilot.staging import StagedInput, find_outputs, place_in_scratch, stage_inputs
from crh_batch.tomodir.outcome import JUDGES, Exit, Outcome

# What of a program's stderr is looked at for its last words.
_STDERR_TAIL = 16_384
# A program that was killed when it had this share of what it was given may have been killed for it.
_MUCH_OF_IT = 0.9
_KILLED = (-signal.SIGKILL, 128 + signal.SIGKILL)
# By SIGTERM, or with the status that CRTomo gives itself then (seen).
_TERMINATED = (-signal.SIGTERM, 128 + signal.SIGTERM)


@dataclass
class Attempt:
    """An attempt under way; ``progress_file`` and ``program`` are for whoever watches it from another thread.

    ``began``: when its first program was started, seconds since 1970; 0 before. ``processors``: those that its programs
    may run on; empty for any.
    """

    item: Item
    number: int
    scratch: str
    copy: str = ""
    inputs: list[StagedInput] = field(default_factory=list)
    stage: str = ""
    program: RunningProgram | None = None
    progress_file: str = ""
    began: float = 0.0
    processors: tuple[int, ...] = ()
    ended_by: Failure | None = None
    ended_text: str = ""

    def end(self, why: Failure, text: str = "") -> None:
        """End what runs now, and let nothing more start; ``text`` is for the user."""
        if self.ended_by is None:
            self.ended_text = text
            self.ended_by = why
        program = self.program
        if program is not None:
            program.end(self.ended_by.value)


@dataclass(frozen=True)
class Result:
    """What became of an attempt: no failure when it was good; ``files`` are to be packed in either case."""

    failure: Failure | None
    error: str
    files: list[PackedFile]
    event: dict[str, Any]


def prepare(batch: Batch, item: Item, number: int, scratch: str) -> Attempt:
    """Stage an attempt's inputs into its own directory below ``scratch``.

    Raises:
        TomodirError: an input can't be had.
        OSError: the scratch directory can't be written.
    """
    attempt = Attempt(item, number, os.path.join(scratch, f"{item.item_id:06d}.{number:03d}"))
    tomodir = batch.tomodir(item)
    names = [name for stage in item.stages for name in stage["inputs"]]
    attempt.copy = place_in_scratch(attempt.scratch, tomodir, names)
    os.makedirs(attempt.copy)
    attempt.inputs = stage_inputs(tomodir, attempt.copy, item.stages) + take_results(batch, item, attempt.copy)
    return attempt


def run(
    batch: Batch,
    attempt: Attempt,
    guard: Guard,
    on_stage: Callable[[Attempt], None],
    is_stopping: Callable[[], bool] = lambda: False,
) -> Result:
    """Run an attempt's stages in order up to the first that fails.

    Args:
        on_stage: called as each program has started.
        is_stopping: asked when a program was ended by SIGTERM: whether that was the job's end, for a scheduler signals
            the programs together with the pilot.
    """
    began = time.time()
    records: list[dict[str, Any]] = []
    failure: Failure | None = None
    error = ""
    for stage in attempt.item.stages:
        if attempt.ended_by:
            failure, error = _ended(attempt)
            break
        attempt.stage = str(stage["stage"])
        record, failure, error = _run_stage(batch, attempt, stage, guard, on_stage)
        if failure is Failure.CRASH and record.get("exit_status") in _TERMINATED and is_stopping():
            failure, error = Failure.WALLTIME, _ENDED[Failure.WALLTIME]
            record.update(outcome=failure.value, error=error)
        records.append(record)
        if failure is not None:
            break
    return _result(batch, attempt, began, records, failure, error)


_ENDED = {
    Failure.CANCELLED: "cancelled",
    Failure.WALLTIME: "ended with its job, before it was finished",
}


def _ended(attempt: Attempt) -> tuple[Failure, str]:
    assert attempt.ended_by is not None
    # What was declared lost has its name already.
    failure = Failure.WALLTIME if attempt.ended_by is Failure.LOST else attempt.ended_by
    return failure, attempt.ended_text or _ENDED.get(failure, failure.value)


def _run_stage(
    batch: Batch, attempt: Attempt, stage: Mapping[str, Any], guard: Guard, on_stage: Callable[[Attempt], None]
) -> tuple[dict[str, Any], Failure | None, str]:
    name = str(stage["stage"])
    program = batch.settings.programs[str(stage["program"])]
    out, err = (os.path.join(attempt.copy, program_log(name, stream)) for stream in ("out", "err"))
    record: dict[str, Any] = {"stage": name, "program": stage["program"], "sha256": program["sha256"]}
    record["began"] = round(time.time(), 4)
    path = program.get("path") or os.path.join(os.path.abspath(batch.paths.programs), program["file"])
    killer = MemoryKiller()
    try:
        attempt.program = RunningProgram.start(
            [*batch.settings.container, path, *stage.get("arguments", ())],
            os.path.join(attempt.copy, stage.get("directory", "exe")),
            program_environment(attempt.item.omp_threads),
            out,
            err,
            guard,
            attempt.processors,
        )
    except OSError as error:
        started = batch.settings.container[0] if batch.settings.container else path
        failure = Failure.MEMORY if error.errno == errno.ENOMEM else Failure.PROGRAM
        return record, failure, f"{started}: can't be started: {error.strerror}"
    inv_dirs = stage.get("inv_dirs") or ()
    attempt.progress_file = os.path.join(attempt.copy, inv_dirs[-1], "inv.ctr") if inv_dirs else ""
    on_stage(attempt)
    usage = attempt.program.wait()
    attempt.program = None
    attempt.progress_file = ""
    record.update(_measures(usage))
    was_large = not usage.peak_is_bound and usage.peak_bytes >= _MUCH_OF_IT * batch.need_bytes(attempt.item)
    short_of_memory = usage.returncode in _KILLED and (was_large or killer.has_killed_by_now())
    ended = Exit(usage.returncode, _tail(err), short_of_memory=short_of_memory, is_limited=virtual_memory.is_limited())
    outcome = JUDGES[str(stage["judge"])](attempt.copy, ended, stage)
    record.update(_facts(outcome))
    if outcome.ok:
        record["outcome"] = "done"
        return record, None, ""
    failure, error_text = Failure(outcome.failure), outcome.error
    if usage.ended_by:
        failure, error_text = _ended(attempt)
    record.update(outcome=failure.value, error=error_text)
    return record, failure, error_text


def _measures(usage: Usage) -> dict[str, Any]:
    measures: dict[str, Any] = {
        "exit_status": usage.returncode,
        "wall_s": round(usage.wall_s, 4),
        "cpu_s": round(usage.cpu_s, 4),
        "peak_bytes": usage.peak_bytes,
    }
    if usage.peak_is_bound:
        measures["peak_is_bound"] = True
    return measures


def _facts(outcome: Outcome) -> dict[str, Any]:
    facts = {"iterations": outcome.iterations, "rms": outcome.rms, "version": outcome.version}
    return {key: value for key, value in facts.items() if value not in (None, "")}


def _tail(path: str) -> str:
    with contextlib.suppress(OSError), open(path, "rb") as stream:
        size = os.fstat(stream.fileno()).st_size
        stream.seek(max(0, size - _STDERR_TAIL))
        return stream.read(_STDERR_TAIL).decode(errors="replace")
    return ""


def _result(
    batch: Batch,
    attempt: Attempt,
    began: float,
    records: list[dict[str, Any]],
    failure: Failure | None,
    error: str,
) -> Result:
    item = attempt.item
    made, changed = find_outputs(attempt.copy, attempt.inputs)
    logs = {program_log(str(stage["stage"]), stream) for stage in item.stages for stream in ("out", "err")}
    # An empty log says nothing and costs a file.
    made = [name for name in made if name not in logs or os.path.getsize(os.path.join(attempt.copy, name))]
    provenance = {
        "schema": 1,
        "batch": batch.batch_id,
        "id": item.item_id,
        "attempt": attempt.number,
        "host": socket.gethostname(),
        "cpu": cpu_model(),
        "threads": item.threads,
        "omp_threads": item.omp_threads,
        "started": _iso(began),
        "ended": _iso(time.time()),
        "stages": {
            str(record["stage"]): {
                **{key: value for key, value in record.items() if key != "stage"},
                "inputs": _sums(attempt, str(record["stage"])),
            }
            for record in records
        },
        "inputs_changed_by_program": changed,
    }
    files = [PackedFile(name, os.path.join(attempt.copy, name)) for name in made]
    files.append(PackedFile(PROVENANCE, content=json.dumps(provenance, indent=1).encode() + b"\n"))
    event: dict[str, Any] = {"id": item.item_id, "attempt": attempt.number, "stages": records}
    event["inputs"] = [one.to_json() for one in attempt.inputs]
    if failure is None:
        event["finish"] = _finish(item)
    else:
        event.update(failure=failure.value, error=error)
    return Result(failure, error, files, event)


def _sums(attempt: Attempt, stage_name: str) -> dict[str, str]:
    wanted = {name for stage in attempt.item.stages if stage["stage"] == stage_name for name in stage["inputs"]}
    return {one.name: one.sha256 for one in attempt.inputs if one.name in wanted}


def _finish(item: Item) -> str:
    """Return the file by which others see that the tomodir is finished; it goes into place last."""
    last = item.stages[-1]
    if last.get("inv_dirs"):
        return f"{last['inv_dirs'][-1]}/inv.ctr"
    return str(last.get("result") or "")


def failed_before_start(item: Item, number: int, error: CrhBatchError) -> Result:
    """Return the result of an attempt whose inputs could not be staged."""
    event = {"id": item.item_id, "attempt": number, "stages": [], "failure": "input", "error": error.message}
    return Result(Failure.INPUT, error.message, [], event)


def discard(attempt: Attempt) -> None:
    """Remove an attempt's directory."""
    shutil.rmtree(attempt.scratch, ignore_errors=True)


def _iso(seconds: float) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(seconds))


_cpu_model = ""


def cpu_model() -> str:
    """Return the processor's model name, as /proc/cpuinfo has it."""
    global _cpu_model
    if not _cpu_model:
        _cpu_model = os.uname().machine
        with contextlib.suppress(OSError), open("/proc/cpuinfo", encoding="utf-8", errors="replace") as stream:
            for line in stream:
                if line.startswith("model name"):
                    _cpu_model = line.split(":", 1)[1].strip()
                    break
    return _cpu_model
