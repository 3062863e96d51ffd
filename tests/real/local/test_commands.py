"""The user's journey with the engine of this machine: each command, with the real CRMod and CRTomo."""

from __future__ import annotations

import dataclasses
import json
import os
import re
import shutil
import signal
import stat
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from conftest import Crh, skip_or_fail, tree_sums, wait_until
from crh_batch.demo import TomodirSpec, write_demo, write_small_models, write_tomodir
from gate import Gate

COUNT_KEYS = ("ready", "running", "done", "failed", "held", "waiting", "collected")
ROW_KEYS = {"path", "state", "attempt", "stage", "iteration", "rms", "host", "error"}
QUICK = TomodirSpec(dims="2D", electrodes=12, cells_per_spacing=2, layers=5)  # both stages in 0.2 s


@pytest.fixture
def scratch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where private directories are made."""
    directory = tmp_path / "scratch"
    directory.mkdir()
    monkeypatch.setenv("TMPDIR", str(directory))
    return directory


@pytest.fixture
def demo(tmp_path: Path, programs: Path) -> Path:
    """Four demo tomodirs, and a broken one."""
    write_demo(tmp_path / "survey", 4, with_broken=True)
    return tmp_path / "survey"


@pytest.fixture
def models(tmp_path: Path, programs: Path) -> Path:
    """Six small models of some milliseconds, td00000 ... td00005 in 00000."""
    write_small_models(tmp_path / "survey", 6, data=60, electrodes=16)
    return tmp_path / "survey"


def model(number: int) -> str:
    """Return the path of a small model."""
    return f"00000/td{number:05d}"


def is_modelled(root: Path, number: int) -> bool:
    """Return whether a small model has its result."""
    return (root / model(number) / "mod/volt.dat").exists()


def gated(root: Path, directory: Path, programs: Path) -> Gate:
    """Have a survey use programs behind a gate, which is closed."""
    gate = Gate(directory / "gate", programs)
    (root / "crh-batch.toml").write_text(gate.profile)
    return gate


def read(done: subprocess.CompletedProcess[str]) -> Any:
    """Return the JSON that a command printed."""
    return json.loads(done.stdout)


def counts(crh: Crh, root: Path, **expected: int) -> dict[str, int]:
    """Return the counts of the newest batch that are not 0."""
    said = read(crh("status", "--json", cwd=root, code=None))
    return {name: number for name, number in said["counts"].items() if number}


def only_batch(root: Path) -> Path:
    """Return the directory of the only batch."""
    (batch,) = (path.parent for path in root.glob(".crh-batch/*/items.jsonl"))
    return batch


def pilot_pid(batch: Path) -> int:
    """Return the process id of the batch's last local pilot."""
    lines = (batch / "submissions.jsonl").read_text().splitlines()
    return int([json.loads(line)["process"]["pid"] for line in lines if '"started"' in line][-1])


def has_ended(pid: int) -> bool:
    """Return whether a process is gone, or waits to be taken note of."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] in "ZX"
    except OSError:
        return True


def kill_pilot(batch: Path) -> None:
    """Kill the batch's pilot, and wait until it is gone."""
    pid = pilot_pid(batch)
    os.kill(pid, signal.SIGKILL)
    wait_until("the pilot is gone", lambda: has_ended(pid))


def registrations(root: Path) -> list[str]:
    """Return the .crh files beside tomodirs."""
    return sorted(str(path.relative_to(root)) for path in root.rglob("*.crh") if ".crh-batch" not in path.parts)


def snapshot(root: Path) -> dict[str, tuple[int, int, str]]:
    """Return everything that can change of a tree: mode, time, content or target of each entry."""
    found = {}
    for path in [root, *root.rglob("*")]:
        status = path.lstat()
        content = os.readlink(path) if path.is_symlink() else path.read_bytes().hex() if path.is_file() else ""
        found[str(path)] = (status.st_mode, status.st_mtime_ns, content)
    return found


# ------------------------------------------------------------------ the journey


def test_journey_from_check_to_collect(demo: Path, crh: Crh, scratch: Path) -> None:
    inputs = tree_sums(demo)
    names = ["line1/td00_2D", "line1/td01_2.5D", "line1/td02_2D", "line1/td03_2.5D", "line1/td04_2D_broken"]

    said = read(crh("check", "--json", cwd=demo))
    assert said["schema"] == 1
    assert said["problems"] == []
    assert [one["path"] for one in said["tomodirs"]] == names
    for one in said["tomodirs"]:
        assert {"path", "stages", "dims", "wavenumbers", "threads", "reason"} <= set(one)
        assert one["stages"] == ["modelling", "inversion"]
        assert one["dims"] == ("2.5D" if "2.5D" in one["path"] else "2D")
        assert (one["wavenumbers"] == 1) is (one["dims"] == "2D")
        assert one["threads"] in ((1,) if one["dims"] == "2D" else (1, 2, 3, 4, 5, 6, 11))
    assert tree_sums(demo) == inputs
    assert not (demo / ".crh-batch").exists()

    submitted = read(crh("submit", "--engine", "local", "-j2", "--json", cwd=demo))
    assert (submitted["schema"], submitted["tomodirs"]) == (1, 5)
    assert registrations(demo) == sorted(f"{name}.crh" for name in names)
    crh("wait", "--timeout", "0.1", cwd=demo, code=1)
    waited = crh("wait", "--json", cwd=demo, code=1)
    assert read(waited)["complete"] is False

    status = read(crh("status", "--json", "--all", cwd=demo, code=1))
    assert {"schema", "batch", "root", "counts", "complete", "tomodirs"} <= set(status)
    assert (status["schema"], status["batch"]) == (1, submitted["batch"])
    assert status["root"] == str(demo)
    assert tuple(sorted(status["counts"])) == tuple(sorted(COUNT_KEYS))
    assert status["counts"] == {**dict.fromkeys(COUNT_KEYS, 0), "done": 4, "failed": 1}
    assert status["complete"] is False
    assert "tomodirs" not in read(crh("status", "--json", cwd=demo, code=1))
    rows = {one["path"]: one for one in status["tomodirs"]}
    assert sorted(rows) == names
    for name, row in rows.items():
        assert set(row) >= ROW_KEYS
        assert row["attempt"] == 1
        assert row["stage"] == "inversion"
        assert row["host"] == os.uname().nodename
        assert row["state"] == ("failed" if "broken" in name else "done")
        if row["state"] == "done":
            assert row["iteration"] >= 1
            assert 0.5 < row["rms"] < 1.5
            assert row["error"] is None
    assert "Magnitude <= 0" in rows[names[-1]]["error"]
    assert crh("status", "--list", "failed", cwd=demo, code=1).stdout == names[-1] + "\n"

    log = crh("log", names[-1], cwd=demo).stdout
    assert "Magnitude <= 0" in log
    assert "CRTomo PID" in log
    assert "Modelling completed" in log
    history = read(crh("show", "--json", names[-1], cwd=demo, code=1))
    assert [event["event"] for event in history["events"]] == ["claim", "stage", "stage", "fail"]
    assert "Magnitude <= 0" in crh("show", names[-1], cwd=demo, code=1).stdout

    collected = read(crh("collect", "--json", cwd=demo, code=1))
    (batch,) = collected["batches"]
    assert (batch["collected"], batch["refused"], batch["complete"]) == (4, [], False)
    assert registrations(demo) == [names[-1] + ".crh"]
    now = tree_sums(demo)
    assert inputs.items() <= now.items(), "inputs are as they were"
    for name in names[:-1]:
        assert (demo / name / "inv/inv.ctr").read_text().splitlines()[-1].startswith("***finished***")
        assert f"{name}/exe/crh.inversion.out" in now
        provenance = json.loads((demo / name / "exe/crh.json").read_text())
        assert list(provenance["stages"]) == ["modelling", "inversion"]
    assert not (demo / names[-1] / "exe/error.dat").exists(), "of a failed run nothing is put in place"
    assert {path for path in now if "broken/" in path} == {path for path in inputs if "broken/" in path}
    assert not any(scratch.iterdir())

    again = crh("collect", cwd=demo, code=1)
    assert "0 results put in place" in again.stderr


def test_run_does_it_in_one_go_and_a_second_time_nothing(models: Path, crh: Crh, scratch: Path) -> None:
    inputs = tree_sums(models)
    said = read(crh("run", "-j2", "--json", cwd=models))
    assert [batch["counts"]["collected"] for batch in said["batches"]] == [6]
    done = tree_sums(models)
    assert inputs.items() <= done.items()
    assert registrations(models) == []
    assert "nothing to do: 6 finished" in crh("run", cwd=models).stderr
    assert tree_sums(models) == done


def test_collect_follow_collects_as_tomodirs_finish(
    models: Path, tmp_path: Path, crh: Crh, programs: Path, scratch: Path
) -> None:
    gate = gated(models, tmp_path, programs)
    crh("submit", "--engine", "local", "-j2", cwd=models)
    argv = [sys.executable, "-m", "crh_batch", "collect", "--follow"]
    following = subprocess.Popen(argv, cwd=models, stderr=subprocess.PIPE, text=True)
    time.sleep(0.5)
    assert following.poll() is None
    gate.open()
    _, said = following.communicate(timeout=60)
    assert following.returncode == 0, said
    assert all(is_modelled(models, number) for number in range(6))
    assert registrations(models) == []


def test_dry_run_changes_nothing_on_disk(demo: Path, crh: Crh) -> None:
    before = snapshot(demo)
    said = crh("submit", "--engine", "local", "--dry-run", cwd=demo)
    assert "nothing was changed" in said.stderr
    assert "line1/td04_2D_broken" in said.stdout
    arrays = read(crh("submit", "--engine", "local", "--dry-run", "--json", cwd=demo))["arrays"]
    assert sum(one["tomodirs"] for one in arrays) == 5
    crh("check", cwd=demo)
    assert snapshot(demo) == before


# ------------------------------------------------------------------ which tomodirs


def test_chosen_by_path_expression_and_list(models: Path, crh: Crh, scratch: Path) -> None:
    """Each submit takes what it was told to, and leaves the others free."""

    def run(*arguments: str) -> list[int]:
        before = [number for number in range(6) if is_modelled(models, number)]
        crh("run", "-j2", *arguments, cwd=models)
        assert registrations(models) == []
        return [number for number in range(6) if is_modelled(models, number) and number not in before]

    assert run(model(5)) == [5]
    assert run("--match", r"td0000[01]$") == [0, 1]
    (models / "by line").write_text(f"{model(2)}\n\n{model(0)}\n")
    assert run("--from-file", "by line") == [2]
    (models / "by nul").write_bytes(model(3).encode() + b"\0")
    assert run("--from-file", "by nul") == [3]
    crh("run", "--match", "(", cwd=models, code=2)
    crh("run", "--from-file", "missing", cwd=models, code=2)
    crh("run", "nowhere", cwd=models, code=2)
    assert run() == [4]


def test_list_from_standard_input(models: Path, crh: Crh, scratch: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "crh_batch", "check", "--json", "--from-file", "-"],
        cwd=models,
        input=f"{model(1)}\n",
        capture_output=True,
        text=True,
        check=True,
    )
    assert [one["path"] for one in read(done)["tomodirs"]] == [model(1)]


# ------------------------------------------------------------------ cancel and retry


def test_cancel_of_one_and_of_all(models: Path, tmp_path: Path, crh: Crh, programs: Path, scratch: Path) -> None:
    """A ready one, a running one, then everything: programs end, .crh files go, finished results stay."""
    gate = gated(models, tmp_path, programs)
    crh("submit", "--engine", "local", "-j1", cwd=models)
    wait_until("one runs", lambda: counts(crh, models).get("running"))
    running = crh("status", "--list", "running", cwd=models).stdout.split()[0]
    ready = crh("status", "--list", "ready", cwd=models).stdout.split()[-1]

    crh("cancel", ready, cwd=models)
    assert f"{ready}.crh" not in registrations(models)
    crh("cancel", running, cwd=models)
    # The pilot looks every few seconds whether its claims are still its own.
    wait_until("another one runs", lambda: running not in crh("status", "--list", "running", cwd=models, code=1).stdout)
    wait_until("the pilot went on", lambda: counts(crh, models).get("running"), timeout_s=15)
    batch = only_batch(models)
    pid = pilot_pid(batch)
    crh("cancel", cwd=models)
    wait_until("the pilot has ended", lambda: has_ended(pid), timeout_s=15)
    assert counts(crh, models) == {"failed": 6}
    assert registrations(models) == []
    assert not [number for number in range(6) if is_modelled(models, number)]
    wait_until("scratch is empty", lambda: not any(scratch.iterdir()))

    gate.open()
    said = crh("retry", "--engine", "local", cwd=models)
    assert "6 failed tomodirs are ready again" in said.stderr
    crh("wait", cwd=models)
    crh("collect", cwd=models)
    assert all(is_modelled(models, number) for number in range(6))
    assert registrations(models) == []


def test_retry_failed_takes_up_what_failed(demo: Path, crh: Crh, scratch: Path) -> None:
    """The broken one fails again as it is; mended, submit takes it up by itself."""
    broken = "line1/td04_2D_broken"
    crh("run", broken, cwd=demo, code=1)
    assert "hasn't changed since" in crh("submit", "--engine", "local", broken, cwd=demo).stderr
    said = crh("retry", "--failed", "--engine", "local", broken, cwd=demo)
    assert "1 failed tomodir is ready again" in said.stderr
    crh("wait", cwd=demo, code=1)
    history = read(crh("show", "--json", broken, cwd=demo, code=1))
    assert [event["attempt"] for event in history["events"] if event["event"] == "fail"] == [1, 2]

    noise = demo / broken / "exe/crt.noisemod"
    noise.write_text(noise.read_text().replace("200.", "2.00"))
    crh("run", broken, cwd=demo)
    assert (demo / broken / "inv/inv.ctr").read_text().splitlines()[-1].startswith("***finished***")
    assert read(crh("show", "--json", broken, cwd=demo))["state"] == "collected"


def test_retry_lost_takes_up_what_a_dead_pilot_had(
    models: Path, tmp_path: Path, crh: Crh, programs: Path, scratch: Path
) -> None:
    gate = gated(models, tmp_path, programs)
    crh("submit", "--engine", "local", "-j2", cwd=models)
    wait_until("two run", lambda: counts(crh, models).get("running", 0) >= 2)
    kill_pilot(only_batch(models))
    assert "no pilot" in crh("status", cwd=models).stderr
    crh("wait", cwd=models, code=3)

    gate.open()
    said = crh("retry", "--lost", "--engine", "local", cwd=models)
    assert re.search(r"[2-6] whose pilots are dead are ready again", said.stderr)
    crh("wait", cwd=models)
    crh("collect", cwd=models)
    assert all(is_modelled(models, number) for number in range(6))


# ------------------------------------------------------------------ programs that are missing


def test_missing_program_is_said_before_anything_is_begun(models: Path, crh: Crh) -> None:
    (models / "crh-batch.toml").write_text('crmod = "/nowhere/CRMod"\n')
    before = snapshot(models)
    said = crh("submit", "--engine", "local", cwd=models, code=3)
    assert "/nowhere/CRMod" in said.stderr
    assert "Mend the path" in said.stderr
    assert snapshot(models) == before

    (models / "crh-batch.toml").write_text('crmood = "x"\n')
    assert "Did you mean crmod?" in crh("submit", "--engine", "local", cwd=models, code=2).stderr


def test_program_that_vanishes_after_submit_stops_the_pilot_and_no_tomodir_is_charged(
    models: Path, tmp_path: Path, crh: Crh, programs: Path, scratch: Path
) -> None:
    gate = gated(models, tmp_path, programs)
    crh("submit", "--engine", "local", "-j1", cwd=models)
    wait_until("one runs", lambda: counts(crh, models).get("running"))
    (frozen,) = (only_batch(models) / "bin").glob("CRMod-*")
    frozen.rename(tmp_path / "away")
    gate.open()

    said = crh("wait", cwd=models, code=3)
    assert "no pilot is left" in said.stderr
    assert "can't be started: No such file or directory" in said.stderr
    assert "the tomodirs stay ready" in said.stderr
    left = counts(crh, models)
    assert "failed" not in left
    assert left["ready"] >= 4

    (tmp_path / "away").rename(frozen)
    crh("submit", "--engine", "local", "--collect", cwd=models)
    assert all(is_modelled(models, number) for number in range(6))


def test_program_that_lacks_a_library_stops_the_pilot_and_no_tomodir_is_charged(
    models: Path, tmp_path: Path, crh: Crh, scratch: Path
) -> None:
    """What the dynamic linker says of a program without libgfortran.so.5: status 127 (seen)."""
    script = tmp_path / "crmod"
    words = "error while loading shared libraries: libgfortran.so.5: cannot open shared object file"
    script.write_text(f'#!/bin/sh\necho "crmod: {words}: No such file or directory" >&2\nexit 127\n')
    script.chmod(0o755)
    (models / "crh-batch.toml").write_text(f'crmod = "{script}"\n')
    said = crh("submit", "--engine", "local", "--wait", cwd=models, code=3)
    assert "libgfortran.so.5" in said.stderr
    assert "failed" not in counts(crh, models)
    crh("cancel", cwd=models)


# ------------------------------------------------------------------ going on


def test_submit_again_goes_on_by_itself(models: Path, tmp_path: Path, crh: Crh, programs: Path, scratch: Path) -> None:
    """What lives is left alone, what is new is a new batch, what a dead pilot left is run again."""
    gate = gated(models, tmp_path, programs)
    crh("submit", "--engine", "local", "-j1", "--match", "td0000[012]", cwd=models)
    first = only_batch(models)
    pid = pilot_pid(first)
    again = crh("submit", "--engine", "local", "-j1", "--match", "td0000[012]", cwd=models)
    assert "left alone" in again.stderr
    assert pilot_pid(first) == pid

    crh("submit", "--engine", "local", "-j1", cwd=models)
    batches = sorted(path.parent for path in models.glob(".crh-batch/*/items.jsonl"))
    assert [len((batch / "items.jsonl").read_text().splitlines()) for batch in batches] == [3, 3]
    wait_until("it runs", lambda: counts(crh, models).get("running"))
    for batch in batches:
        kill_pilot(batch)
    gate.open()

    crh("run", "-j2", cwd=models)
    assert all(is_modelled(models, number) for number in range(6))
    assert registrations(models) == []
    assert len(list(models.glob(".crh-batch/*/items.jsonl"))) == 2


def test_tree_that_was_moved_between_submit_and_collect(models: Path, tmp_path: Path, crh: Crh, scratch: Path) -> None:
    """No path of a tree stands in its ledger, so it may be moved when no pilot is at work in it."""
    crh("submit", "--engine", "local", "-j2", "--wait", cwd=models)
    pid = pilot_pid(only_batch(models))
    wait_until("the pilot is gone", lambda: has_ended(pid))
    moved = tmp_path / "elsewhere/deeper"
    moved.parent.mkdir()
    shutil.move(models, moved)

    assert counts(crh, moved) == {"done": 6}
    assert read(crh("show", "--json", model(0), cwd=moved))["state"] == "done"
    crh("collect", cwd=moved)
    assert all(is_modelled(moved, number) for number in range(6))
    assert registrations(moved) == []


def test_tree_that_is_moved_under_a_pilot_goes_on_where_it_is_now(
    models: Path, tmp_path: Path, crh: Crh, programs: Path, scratch: Path
) -> None:
    """The pilot finds its batch gone and ends; nothing is written to the old place."""
    gate = gated(models, tmp_path, programs)
    crh("submit", "--engine", "local", "-j1", cwd=models)
    wait_until("one runs", lambda: counts(crh, models).get("running"))
    pid = pilot_pid(only_batch(models))
    moved = tmp_path / "elsewhere"
    models.rename(moved)
    gate.open()
    wait_until("the pilot has ended", lambda: has_ended(pid))
    assert not models.exists()

    crh("run", "-j2", cwd=moved)
    assert all(is_modelled(moved, number) for number in range(6))
    assert registrations(moved) == []


def test_copied_tree_does_not_disturb_the_original(
    models: Path, tmp_path: Path, crh: Crh, programs: Path, scratch: Path
) -> None:
    """A copy made while the original runs has a ledger of its own, whose pilot seems to live; both finish."""
    gate = gated(models, tmp_path, programs)
    crh("submit", "--engine", "local", "-j1", cwd=models)
    wait_until("one runs", lambda: counts(crh, models).get("running"))
    copy = tmp_path / "copy"
    shutil.copytree(models, copy, symlinks=True)
    gate.open()
    crh("wait", cwd=models)
    crh("collect", cwd=models)
    assert all(is_modelled(models, number) for number in range(6))
    assert not is_modelled(copy, 0)

    crh("run", "-j1", cwd=copy)
    assert all(is_modelled(copy, number) for number in range(6))


# ------------------------------------------------------------------ nothing may be written


@pytest.fixture
def read_only(models: Path, crh: Crh, scratch: Path) -> Iterator[Path]:
    """A survey with results to collect, on a filesystem that can only be read; only root may mount it so."""
    crh("submit", "--engine", "local", "-j2", "--wait", "--match", "td0000[0-4]", cwd=models)
    pid = pilot_pid(only_batch(models))
    wait_until("the pilot is gone", lambda: has_ended(pid))
    for options in (["--bind", str(models)], ["-o", "remount,bind,ro"]):
        done = subprocess.run(["mount", *options, str(models)], capture_output=True, text=True, check=False)
        if done.returncode:
            skip_or_fail(f"nothing can be mounted here: {done.stderr.strip()}")
    yield models
    subprocess.run(["umount", "-l", str(models)], check=True)


def test_what_only_reads_works_where_nothing_can_be_written(read_only: Path, crh: Crh) -> None:
    assert counts(crh, read_only) == {"done": 5}
    crh("status", "--all", cwd=read_only)
    crh("wait", cwd=read_only)
    crh("show", model(0), cwd=read_only)
    crh("log", model(0), cwd=read_only)
    assert [one["path"] for one in read(crh("check", "--json", cwd=read_only))["tomodirs"] if one["stages"]] == [
        model(5)
    ]


@pytest.mark.parametrize(
    "command", [("collect",), ("submit", "--engine", "local"), ("run",), ("cancel",), ("retry",), ("pilot",)]
)
def test_what_writes_says_that_it_can_not(read_only: Path, crh: Crh, command: tuple[str, ...]) -> None:
    said = crh(*command, cwd=read_only, code=3)
    assert "Read-only file system" in said.stderr


def test_tomodir_that_can_not_be_written_keeps_its_result_in_the_pack(
    models: Path, crh: Crh, scratch: Path, tmp_path: Path
) -> None:
    """One of the tomodirs lies on a filesystem that can only be read now: the others are collected."""
    crh("submit", "--engine", "local", "-j2", "--wait", cwd=models)
    place = models / model(3)
    for options in (["--bind", str(place)], ["-o", "remount,bind,ro"]):
        done = subprocess.run(["mount", *options, str(place)], capture_output=True, text=True, check=False)
        if done.returncode:
            skip_or_fail(f"nothing can be mounted here: {done.stderr.strip()}")
    try:
        said = crh("collect", cwd=models, code=1)
        assert "Read-only file system" in said.stderr
        assert "The result stays in the pack" in said.stderr
    finally:
        subprocess.run(["umount", "-l", str(place)], check=True)
    assert [number for number in range(6) if not is_modelled(models, number)] == [3]
    crh("collect", cwd=models)
    assert is_modelled(models, 3)


# ------------------------------------------------------------------ while it runs


def test_iteration_and_rms_are_seen_while_an_inversion_runs(
    tmp_path: Path, crh: Crh, programs: Path, scratch: Path
) -> None:
    root = tmp_path / "survey"
    write_tomodir(
        root / "long",
        TomodirSpec(dims="2.5D", electrodes=40, separations=8, cells_per_spacing=4, layers=14, error_percent=0.5),
    )
    crh("submit", "--engine", "local", "-j1", cwd=root)

    def live() -> Any:
        (row,) = read(crh("status", "--all", "--json", cwd=root))["tomodirs"]
        assert row["state"] in ("ready", "running"), "it takes longer than the first look at it"
        return row if row["rms"] is not None else None

    row: Any = wait_until("the first iteration is seen", live, timeout_s=60, pause_s=0.5)
    assert row["stage"] == "inversion"
    assert row["iteration"] >= 0
    assert row["rms"] > 0
    assert row["host"] == os.uname().nodename
    table = crh("status", cwd=root).stdout
    assert "inversion" in table
    assert "long" in table
    crh("cancel", cwd=root)
    pid = pilot_pid(only_batch(root))
    wait_until("the pilot has ended", lambda: has_ended(pid))


def test_interrupted_run_ends_its_programs_and_goes_on_from_there(
    models: Path, tmp_path: Path, crh: Crh, programs: Path, scratch: Path
) -> None:
    """Ctrl-C: the client, its pilot and the programs end; the same command does the rest."""
    gate = gated(models, tmp_path, programs)
    argv = [sys.executable, "-m", "crh_batch", "run", "-j2"]
    running = subprocess.Popen(argv, cwd=models, stderr=subprocess.PIPE, text=True)
    wait_until("two run", lambda: models.glob(".crh-batch/*/items.jsonl") and _claims(models) >= 2)
    running.send_signal(signal.SIGINT)
    _, said = running.communicate(timeout=30)
    assert running.returncode == 130
    assert "nothing is lost" in said
    pid = pilot_pid(only_batch(models))
    wait_until("the pilot has ended", lambda: has_ended(pid), timeout_s=15)
    wait_until("scratch is empty", lambda: not any(scratch.iterdir()))

    gate.open()
    crh("run", "-j2", cwd=models)
    assert all(is_modelled(models, number) for number in range(6))


def _claims(root: Path) -> int:
    return len(list(root.glob(".crh-batch/*/names/*/*.claim.*")))


def test_modelling_that_writes_no_volt_dat_is_run_once(tmp_path: Path, crh: Crh, programs: Path, scratch: Path) -> None:
    """Line 8 of crmod.cfg is F: only exe/crh.json tells that it was done, and what collect puts there is no input."""
    root = tmp_path / "survey"
    (path,) = write_small_models(root, 1, data=60, electrodes=16)
    cfg = root / path / "exe/crmod.cfg"
    lines = cfg.read_text().splitlines()
    lines[7] = lines[7].replace("T", "F")
    cfg.write_text("\n".join(lines) + "\n")
    crh("run", cwd=root)
    assert not (root / path / "mod/volt.dat").exists()
    assert "nothing to do: 1 finished" in crh("run", cwd=root).stderr


def test_second_run_in_a_tomodir_replaces_what_the_first_one_printed(models: Path, crh: Crh, scratch: Path) -> None:
    """The result was removed by hand to have it made again: its output comes with it, and the old one is kept."""
    crh("run", model(0), cwd=models)
    tomodir = models / model(0)
    first = tree_sums(tomodir)
    (tomodir / "mod/volt.dat").unlink()
    rho = tomodir / "rho/rho.dat"
    rho.write_text(rho.read_text().replace("100 -5", "120 -5"))
    crh("run", model(0), cwd=models)
    second = tree_sums(tomodir)
    assert set(second) == set(first)
    assert second["mod/volt.dat"] != first["mod/volt.dat"]
    assert second["exe/crh.modelling.out"] != first["exe/crh.modelling.out"]
    kept = tree_sums(models / ".crh-batch")
    for name in ("exe/crh.json", "exe/crh.modelling.out"):
        assert any(place.endswith(name) and sha256 == first[name] for place, sha256 in kept.items()), name


def test_nothing_is_executable_or_readable_that_was_not(models: Path, crh: Crh, scratch: Path) -> None:
    """A batch's directory is its user's own; results get the modes that new files get."""
    crh("run", "-j2", cwd=models)
    assert stat.S_IMODE(only_batch(models).stat().st_mode) == 0o700
    for path in (models / model(0)).rglob("*"):
        if path.is_file():
            assert not path.stat().st_mode & 0o111, path


def test_chain_of_two_stages_fails_in_the_first_and_says_so(tmp_path: Path, crh: Crh, programs: Path) -> None:
    """CRMod finds an electrode that the mesh doesn't have: the inversion is not even begun."""
    root = tmp_path / "survey"
    write_tomodir(root / "td", dataclasses.replace(QUICK, max_iterations=1))
    rho = root / "td/rho/rho.dat"
    first, *rest = rho.read_text().splitlines()
    rho.write_text("\n".join([first, "nonsense", *rest[1:]]) + "\n")
    crh("run", cwd=root, code=1)
    shown = read(crh("show", "--json", "td", cwd=root, code=1))
    assert (shown["state"], shown["stage"], shown["failure"]) == ("failed", "modelling", "input")
    assert [event["stage"] for event in shown["events"] if event["event"] == "stage"] == ["modelling"]
