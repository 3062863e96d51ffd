"""Surveys of small models, made to be hurt, and what must hold of them whatever happened."""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
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
        results: of each tomodir the sha256 of the volt.dat that CRMod makes of it without crh-batch.
    """

    root: Path
    paths: tuple[str, ...]
    inputs: Mapping[str, Mapping[str, str]]
    results: Mapping[str, str]

    def copy(self, root: Path) -> Survey:
        """Copy the survey with whatever lies in it."""
        shutil.copytree(self.root, root, symlinks=True)
        return replace(self, root=root)


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
    return Survey(root, paths, inputs, results)


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
        for name in sorted((batch / "names").glob("*/*")):
            match = _NAME.match(name.name)
            assert match, f"{name} is no name"
            target = os.readlink(name) if name.is_symlink() else name.read_text()
            item_id = int(match[1])
            found.append(Named(batch, item_id, paths[item_id], match[2], Path(target).stem))
    return found


def events_in(batch: Path, token: str) -> list[dict[str, Any]]:
    """Return the events of a session; every line but the last one must be whole."""
    first, *lines = (batch / "sessions" / f"{token}.crh").read_text().split("\n")
    assert json.loads(first)["session"] == token
    torn = lines.pop()
    assert not torn or not torn.endswith("}"), torn
    return [json.loads(line) for line in lines]


def sessions_in(batch: Path) -> list[str]:
    """Return the tokens of all sessions of a batch."""
    return sorted(path.stem for path in (batch / "sessions").glob("*.crh"))


# ------------------------------------------------------------------ what must hold


def problems_of(survey: Survey, *, once: bool = False, replaces: bool = False) -> list[str]:
    """Return what is wrong with a survey in which everything should be finished and collected, once each.

    Args:
        once: nothing may have been tried twice either (no pilot died).
        replaces: results may have replaced old outputs.
    """
    return [*_files(survey), *_left_over(survey, replaces=replaces), *_ledger(survey, once=once)]


def _files(survey: Survey) -> Iterator[str]:
    for path in survey.paths:
        tomodir = survey.root / path
        now = tree_sums(tomodir)
        for name, sha256 in survey.inputs[path].items():
            if now.get(name) != sha256:
                yield f"{path}: the input {name} is {'changed' if name in now else 'gone'}"
        if now.get(RESULT) != survey.results[path]:
            yield f"{path}: {'another' if RESULT in now else 'no'} result"


def _left_over(survey: Survey, *, replaces: bool) -> Iterator[str]:
    for place in survey.root.rglob("*"):
        if ".crh-batch" in place.parts:
            continue
        if place.name.endswith((".crh", ".part")) or place.name.startswith(".crh-"):
            yield f"left over: {place.relative_to(survey.root)}"
    for batch in (survey.root / ".crh-batch").iterdir():
        replaced = [str(file) for file in (batch / "replaced").rglob("*") if file.is_file()]
        if replaced and not replaces:
            yield f"{batch.name}: an output was put in place over another one: {replaced}"


def _ledger(survey: Survey, *, once: bool) -> Iterator[str]:
    by_path: dict[str, list[Named]] = {path: [] for path in survey.paths}
    for named in names_in(survey.root):
        by_path[named.path].append(named)
    for path, named_ones in by_path.items():
        marks = Counter(named.mark.split(".")[0] for named in named_ones)
        for mark in ("done", "collected"):
            if marks[mark] != 1:
                yield f"{path}: {marks[mark]} names `{mark}` over all batches"
        if once and (marks["claim"] != 1 or marks["fail"]):
            yield f"{path}: tried more than once: {[named.mark for named in named_ones]}"
        for named in named_ones:
            if named.mark == "done":
                yield from _provenance(survey, named)


def _provenance(survey: Survey, done: Named) -> Iterator[str]:
    """Check that the result in the tomodir is the one that the name `done` speaks of."""
    events = [event for event in events_in(done.batch, done.token) if event.get("id") == done.item_id]
    finished = [event for event in events if event["event"] == "done"]
    if len(finished) != 1:
        yield f"{done.path}: its session holds {len(finished)} records of it"
        return
    written = json.loads((survey.root / done.path / "exe/crh.json").read_text())
    said = (written["batch"], written["id"], written["attempt"])
    if said != (done.batch.name, done.item_id, finished[0]["attempt"]):
        yield f"{done.path}: exe/crh.json speaks of another attempt: {said}"


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
