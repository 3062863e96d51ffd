"""Surveys of small models, made to be hurt, and what must hold of them whatever happened."""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from conftest import tree_sums, wait_until
from crh_batch.demo import write_small_models
from crh_batch.engines.programs import freeze_pilot
from crh_batch.ledger import durable
from crh_batch.ledger.batch import Batch, new_batch
from crh_batch.ledger.items import Item, write_items
from crh_batch.ledger.names import RetryPolicy
from crh_batch.ledger.settings import ItemClass, Settings, write_settings

RESULT = "mod/volt.dat"
_NAME = re.compile(r"(\d{6})\.(.+)\Z")


@dataclass(frozen=True)
class Survey:
    """Tomodirs that need a modelling each.

    Args:
        root: where they lie.
        paths: relative to it.
        inputs: of each tomodir the sha256 of each of its files, before anything was run.
        results: of each tomodir the sha256 of what its last program makes of it without crh-batch.
        result_files: which file that is, relative to the tomodir; mod/volt.dat where nothing is said.
        times: of each tomodir the mtime of each of its inputs, in ns; not looked at if empty.
    """

    root: Path
    paths: tuple[str, ...]
    inputs: Mapping[str, Mapping[str, str]]
    results: Mapping[str, str]
    result_files: Mapping[str, str] = field(default_factory=dict)
    times: Mapping[str, Mapping[str, int]] = field(default_factory=dict)

    def copy(self, root: Path) -> Survey:
        """Copy the survey with whatever lies in it."""
        shutil.copytree(self.root, root, symlinks=True)
        return replace(self, root=root)


def survey_of(root: Path, paths: tuple[str, ...], beside: Path, result_files: Mapping[str, str]) -> Survey:
    """Describe tomodirs as they are now, with the results that were made in a copy beside them."""
    return Survey(
        root,
        paths,
        {path: tree_sums(root / path) for path in paths},
        {path: tree_sums(beside / path)[result_files[path]] for path in paths},
        result_files,
        {path: _times(root / path) for path in paths},
    )


def _times(tomodir: Path) -> dict[str, int]:
    return {str(path.relative_to(tomodir)): path.stat().st_mtime_ns for path in tomodir.rglob("*") if path.is_file()}


def make_survey(root: Path, count: int, programs: Path) -> Survey:
    """Write small models, and find out beside them what CRMod makes of each."""
    paths = tuple(write_small_models(root, count, data=60, electrodes=16))
    inputs = {path: tree_sums(root / path) for path in paths}
    results = {}
    beside = root.with_name(root.name + "-beside")
    for path in paths:
        shutil.copytree(root / path, beside)
        done = subprocess.run([programs / "CRMod_stable"], cwd=beside / "exe", capture_output=True, check=True)
        assert done.stderr.split()[-1] == b"0", done.stderr
        results[path] = tree_sums(beside)[RESULT]
        shutil.rmtree(beside)
    assert len(set(results.values())) == count, "each result tells which tomodir it belongs to"
    return Survey(root, paths, inputs, results, times={path: _times(root / path) for path in paths})


def crh_argv(*arguments: str | Path) -> list[str]:
    """Return the argument list of a command of crh-batch."""
    return [sys.executable, "-m", "crh_batch", *[os.fspath(argument) for argument in arguments]]


# ------------------------------------------------------------------ the ledger, read without the library's readers


@dataclass(frozen=True)
class Named:
    """A name in the ledger: which batch, which tomodir, which mark, and the session that it points to."""

    batch: Path
    item_id: int
    path: str
    mark: str
    token: str


def batches_in(root: Path) -> list[Path]:
    """Return the directories of all batches that count."""
    return sorted(path.parent for path in root.glob(".crh-batch/*/items.jsonl") if path.stat().st_size)


def names_in(root: Path) -> list[Named]:
    """Return all names of all tomodirs of all batches."""
    found = []
    for batch in batches_in(root):
        lines = (batch / "items.jsonl").read_text().splitlines()
        paths = {item["id"]: item["path"] for item in map(json.loads, lines)}
        # What begins with a dot is a name on its way; a client or pilot that died may leave it.
        for name in sorted((batch / "names").glob("*/[!.]*")):
            match = _NAME.match(name.name)
            assert match, f"{name} is no name"
            target = os.readlink(name) if name.is_symlink() else name.read_text()
            item_id = int(match[1])
            found.append(Named(batch, item_id, paths[item_id], match[2], Path(target).stem))
    return found


def events_in(batch: Path, token: str, *, torn_lines: bool = False) -> list[dict[str, Any]]:
    """Return the events of a session; every line but the last one must be whole, unless a write could fail."""
    first, *lines = (batch / "sessions" / f"{token}.crh").read_text().split("\n")
    assert json.loads(first)["session"] == token
    torn = lines.pop()
    assert not torn or not torn.endswith("}"), torn
    return [json.loads(line) for line in lines if line.endswith("}") or not torn_lines]


def sessions_in(batch: Path) -> list[str]:
    """Return the tokens of all sessions of a batch."""
    return sorted(path.stem for path in (batch / "sessions").glob("*.crh"))


# ------------------------------------------------------------------ what must hold


@dataclass(frozen=True)
class Problem:
    """What is wrong: ``inputs`` changed, a result ``lost`` or ``doubled``, a tomodir ``stuck``, something ``left``."""

    kind: str
    text: str


def problems_of(survey: Survey, *, once: bool = False, replaces: bool = False) -> list[str]:
    """Return what is wrong with a survey in which everything should be finished and collected, once each.

    Args:
        once: nothing may have been tried twice either (no pilot died).
        replaces: results may have replaced old outputs.
    """
    return [problem.text for problem in sorted_problems(survey, once=once, replaces=replaces)]


def sorted_problems(survey: Survey, *, once: bool = False, replaces: bool = False) -> list[Problem]:
    """Return the same, with its kind."""
    named_of: dict[str, list[Named]] = {path: [] for path in survey.paths}
    for named in names_in(survey.root):
        named_of[named.path].append(named)
    return [
        *_files(survey, named_of),
        *_left_over(survey, replaces=replaces),
        *_ledger(survey, named_of, once=once),
    ]


def _files(survey: Survey, named_of: Mapping[str, list[Named]]) -> Iterator[Problem]:
    for path in survey.paths:
        tomodir = survey.root / path
        now = tree_sums(tomodir)
        for name, sha256 in survey.inputs[path].items():
            if now.get(name) != sha256:
                yield Problem("inputs", f"{path}: the input {name} is {'changed' if name in now else 'gone'}")
        for name, time_ns in survey.times.get(path, {}).items():
            if name in now and (tomodir / name).stat().st_mtime_ns != time_ns:
                yield Problem("inputs", f"{path}: the input {name} has another time")
        result = survey.result_files.get(path, RESULT)
        was_done = any(named.mark == "done" for named in named_of[path])
        if result not in now:
            yield Problem("lost" if was_done else "stuck", f"{path}: no result")
        elif now[result] != survey.results[path]:
            yield Problem("lost", f"{path}: another result")


def _left_over(survey: Survey, *, replaces: bool) -> Iterator[Problem]:
    for place in survey.root.rglob("*"):
        if ".crh-batch" in place.parts:
            continue
        if place.name.endswith((".crh", ".part")) or place.name.startswith(".crh-"):
            yield Problem("left", f"left over: {place.relative_to(survey.root)}")
    for batch in (survey.root / ".crh-batch").iterdir():
        replaced = [str(file) for file in (batch / "replaced").rglob("*") if file.is_file()]
        if replaced and not replaces:
            yield Problem("doubled", f"{batch.name}: an output was put in place over another one: {replaced}")


def _ledger(survey: Survey, named_of: Mapping[str, list[Named]], *, once: bool) -> Iterator[Problem]:
    for path, named_ones in named_of.items():
        marks = Counter(named.mark.split(".")[0] for named in named_ones)
        for mark in ("done", "collected"):
            if marks[mark] != 1:
                kind = "doubled" if marks[mark] else "stuck"
                yield Problem(kind, f"{path}: {marks[mark]} names `{mark}` over all batches")
        if once and (marks["claim"] != 1 or marks["fail"]):
            yield Problem("doubled", f"{path}: tried more than once: {[named.mark for named in named_ones]}")
        for named in named_ones:
            if named.mark == "done":
                yield from _provenance(survey, named)


def _provenance(survey: Survey, done: Named) -> Iterator[Problem]:
    """Check that the result in the tomodir is the one that the name `done` speaks of."""
    events = [event for event in events_in(done.batch, done.token, torn_lines=True) if event.get("id") == done.item_id]
    finished = [event for event in events if event["event"] == "done"]
    if len(finished) != 1:
        yield Problem(
            "doubled" if finished else "lost", f"{done.path}: its session holds {len(finished)} records of it"
        )
        return
    try:
        written = json.loads((survey.root / done.path / "exe/crh.json").read_text())
    except FileNotFoundError:
        yield Problem("stuck", f"{done.path}: no exe/crh.json")
        return
    said = (written["batch"], written["id"], written["attempt"])
    if said != (done.batch.name, done.item_id, finished[0]["attempt"]):
        yield Problem("doubled", f"{done.path}: exe/crh.json speaks of another attempt: {said}")


# ------------------------------------------------------------------ processes


def processes_of(place: Path) -> list[int]:
    """Return the processes, this one apart, whose command line or working directory has to do with a directory."""
    found = []
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit() or int(entry.name) == os.getpid():
            continue
        with contextlib.suppress(OSError):
            if str(place).encode() in (entry / "cmdline").read_bytes() or _is_in(os.readlink(entry / "cwd"), place):
                found.append(int(entry.name))
    return found


def end_processes_of(place: Path) -> None:
    """Kill whatever still runs for a directory."""
    for pid in processes_of(place):
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGCONT)
            os.kill(pid, signal.SIGKILL)


def _is_in(directory: str, place: Path) -> bool:
    return directory.removesuffix(" (deleted)").startswith(str(place))


def wait_for_quiet(place: Path, *, timeout_s: float = 20.0) -> None:
    """Wait until nothing that has to do with a directory runs any more."""
    wait_until(f"nothing runs for {place}", lambda: not processes_of(place), timeout_s=timeout_s)


def wait_for_empty(directory: Path, *, timeout_s: float = 10.0) -> None:
    """Wait until a directory is empty, and fail with what is in it."""

    def is_empty() -> bool:
        return not any(directory.iterdir())

    try:
        wait_until(f"{directory} is empty", is_empty, timeout_s=timeout_s)
    finally:
        left = [str(path.relative_to(directory)) for path in directory.rglob("*")]
        assert not left, f"left in scratch: {left[:20]}"


def pilot_of(batch: Path) -> int:
    """Return the process id of the last pilot that was started for a batch on this machine, 0 if there is none."""
    with contextlib.suppress(FileNotFoundError):
        for line in reversed((batch / "submissions.jsonl").read_text().splitlines()):
            event = json.loads(line)
            if event["event"] == "started":
                return int(event["process"]["pid"])
    return 0


# ------------------------------------------------------------------ batches made without a client


def write_tool(path: Path, script: str) -> Path:
    """Write an executable shell script."""
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)
    return path


def make_tool_batch(
    root: Path, count: int, tool: Path, *, links: str = "", estimate_s: float = 0.001, charged_attempts: int = 3
) -> Batch:
    """Make a batch of tomodirs ``td00000`` ... in which a tool is run that is judged by its exit status alone.

    Each has one input, exe/in.dat with its own name; the tool should write exe/out.dat.
    """
    paths = new_batch(str(root), count)
    items = []
    for number in range(count):
        path = f"td{number:05d}"
        (root / path / "exe").mkdir(parents=True)
        (root / path / "exe/in.dat").write_text(path)
        stage = {
            "stage": "modelling",
            "program": "Tool",
            "judge": "exit_status",
            "directory": "exe",
            "inputs": ["exe/in.dat"],
            "make_dirs": ["exe"],
            "result": "exe/out.dat",
        }
        items.append(Item(number, path, 1, 1, estimate_s, 1 << 20, (stage,)))
    settings = Settings(
        links=links or durable.find_link_kind(paths.names),
        classes=(ItemClass(1, 0, count),),
        programs={"Tool": {"path": str(tool), "sha256": ""}},
        policy=RetryPolicy(charged_attempts=charged_attempts),
    )
    write_settings(paths, settings)
    freeze_pilot(paths)
    assert write_items(paths, items)
    return Batch(paths.directory)


def pilot_argv(batch: Batch, *arguments: str) -> list[str]:
    """Return how a pilot of a batch is started, as job scripts do it."""
    return [sys.executable, "-I", "-S", batch.paths.pilot, batch.paths.directory, "--cores", "1", *arguments]


def marks_of(batch: Batch) -> dict[int, list[str]]:
    """Return the marks of each tomodir of a batch, sorted."""
    found: dict[int, list[str]] = {item_id: [] for item_id in batch.items.ids}
    for named in names_in(Path(batch.paths.root)):
        if named.batch.name == batch.batch_id:
            found[named.item_id].append(named.mark)
    return {item_id: sorted(marks) for item_id, marks in found.items()}


def moments(count: int, duration_s: float, draw: Any) -> Sequence[float]:
    """Return moments spread over a duration, one at random in each of as many equal parts."""
    return [duration_s * (number + draw.random()) / count for number in range(count)]
