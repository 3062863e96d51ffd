"""Where cr_hydra 0.4.0 goes wrong, and what must hold here instead.

One test a defect at least, named ``test_<number>_<what must hold>`` with the numbers of this list:

1.  The input is deleted after upload; edits made during the upload are lost.
2.  A job is active before its input is removed: it can finish, be retrieved, and then be deleted.
3.  Two clients can both register one tomodir (check, then create).
4.  Control files are truncated and rewritten in place; one empty .crh stops every retrieve.
5.  Nested tomodirs, one bad directory, an empty or latin-1 inv.ctr: an exception ends the whole scan.
6.  A truncated volt.dat counts as modelled.
7.  A failed run (missing binary) can never be retrieved: the input is trapped, waiting never ends.
8.  A typing error in the error path kills the worker, so one bad job kills every worker in turn.
9.  A stale error.dat turns a success into an error; failures that exit with 0 look like successes.
10. The lock is released before "finished" is stored: two workers run the same job.
11. Results are deleted from the store before the extracted files are durable.
12. The extraction guard is a string prefix: ``td1`` may overwrite ``td10``.
13. References outside the tomodir and symbolic links break in the archive.
14. More threads than CPUs starts no worker and exits silently.
15. Credentials are printed; the user name is fixed in the code; ``--help`` of crh_retrieve retrieves.

All of them apply. 2 and 11 could only happen here in another form: inputs never move, and collect never deletes packs.
"""

from __future__ import annotations

import dataclasses
import getpass
import gzip
import hashlib
import io
import json
import os
import random
import shutil
import subprocess
import sys
import tarfile
from collections import Counter
from pathlib import Path

import pytest

from conftest import Crh, tree_sums, wait_until
from crh_batch.demo import TomodirSpec, write_small_models, write_tomodir
from crh_batch.ledger.paths import BatchPaths
from crh_batch.ledger.session import read_events

QUICK = TomodirSpec(dims="2D", electrodes=12, cells_per_spacing=2, layers=5)  # both stages in 0.2 s


def small_models(root: Path, count: int) -> list[Path]:
    """Write small models of some milliseconds."""
    return [root / path for path in write_small_models(root, count, data=60, electrodes=16)]


def kept(tomodir: Path, before: dict[str, str]) -> bool:
    """Return whether all files of a tomodir are as they were; there may be more."""
    return before.items() <= tree_sums(tomodir).items()


def only_batch(root: Path) -> Path:
    """Return the directory of the only batch."""
    (batch,) = (path.parent for path in root.glob(".crh-batch/*/items.jsonl"))
    return batch


def registrations(root: Path) -> list[str]:
    """Return the .crh files beside tomodirs."""
    return sorted(str(path.relative_to(root)) for path in root.rglob("*.crh") if ".crh-batch" not in path.parts)


def attempts(root: Path) -> list[str]:
    """Return all claims of all batches."""
    return sorted(path.name for path in root.glob(".crh-batch/*/names/*/*.claim.*"))


def slow_crmod(directory: Path, programs: Path, seconds: float) -> str:
    """Write a CRMod that takes its time, and the line of a profile that names it; ``started`` gets a line a start."""
    script = directory / "slow-crmod"
    script.write_text(f"#!/bin/sh\necho x >> {directory}/started\nsleep {seconds}\nexec {programs}/CRMod_stable\n")
    script.chmod(0o755)
    return f'crmod = "{script}"\n'


# ------------------------------------------------------------------ 1


def test_1_edit_during_a_run_is_kept_and_runs_again(tmp_path: Path, crh: Crh, programs: Path) -> None:
    """The result belongs to the old input, so collect leaves the tomodir alone and says what to do."""
    root = tmp_path / "survey"
    edited, untouched = small_models(root, 2)
    (root / "crh-batch.toml").write_text(slow_crmod(tmp_path, programs, 0.5))
    crh("submit", "--engine", "local", "-j2", cwd=root)
    started = tmp_path / "started"
    wait_until("both run", lambda: started.exists() and started.read_text() == "x\nx\n")
    rho = edited / "rho/rho.dat"
    rho.write_text(rho.read_text().replace("100 -5", "200 -5"))
    before = tree_sums(edited)
    crh("wait", cwd=root)

    refused = crh("collect", cwd=root, code=1)
    assert "changed since it was run: rho/rho.dat" in refused.stderr
    assert tree_sums(edited) == before
    assert (untouched / "mod/volt.dat").exists()

    crh("submit", "--engine", "local", "--force", "--collect", cwd=root, code=None)
    assert kept(edited, before)
    again = json.loads((edited / "exe/crh.json").read_text())
    assert again["stages"]["modelling"]["inputs"]["rho/rho.dat"] == before["rho/rho.dat"]


def test_1_old_result_that_was_overtaken_is_no_trouble_later(tmp_path: Path, crh: Crh, programs: Path) -> None:
    """The tomodir holds the result of a newer run, so there is nothing left to do for the old one."""
    root = tmp_path / "survey"
    (model,) = small_models(root, 1)
    crh("submit", "--engine", "local", "--wait", cwd=root)
    rho = model / "rho/rho.dat"
    rho.write_text(rho.read_text().replace("100 -5", "200 -5"))
    crh("submit", "--engine", "local", "--force", "--collect", cwd=root, code=None)
    result = (model / "mod/volt.dat").read_bytes()

    crh("collect", cwd=root)
    assert (model / "mod/volt.dat").read_bytes() == result


# ------------------------------------------------------------------ 2


def test_2_run_that_ends_before_submit_does_loses_neither_input_nor_result(
    tmp_path: Path, crh: Crh, programs: Path
) -> None:
    """Results are collected as fast as they come, while the submitting client may still be at work."""
    root = tmp_path / "survey"
    models = small_models(root, 5)
    before = {model: tree_sums(model) for model in models}
    crh("submit", "--engine", "local", "-j2", cwd=root)
    crh("collect", "--follow", cwd=root)
    for model in models:
        assert kept(model, before[model])
        assert (model / "mod/volt.dat").exists()
    assert registrations(root) == []


# ------------------------------------------------------------------ 3


def test_3_clients_that_submit_at_once_share_the_tomodirs(tmp_path: Path, crh: Crh, programs: Path) -> None:
    """Six clients submit one tree at the same time: each tomodir is registered by one of them and run once."""
    root = tmp_path / "survey"
    models = small_models(root, 40)
    argv = [sys.executable, "-m", "crh_batch", "submit", "--engine", "local", "-j1"]
    clients = [
        subprocess.Popen(argv, cwd=root, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True) for _ in range(6)
    ]
    for client in clients:
        _, said = client.communicate(timeout=60)
        assert "Traceback" not in said
        assert client.returncode in (0, 3), said
        assert client.returncode == 0 or "at work on it" in said
    crh("submit", "--engine", "local", "--collect", cwd=root)

    runs = Counter[str]()
    for batch in root.glob(".crh-batch/*"):
        items = [json.loads(line) for line in (batch / "items.jsonl").read_text().splitlines()]
        names = {path.name for path in (batch / "names").glob("*/*")}
        runs.update(item["path"] for item in items if f"{item['id']:06d}.claim.001" in names)
    assert runs == Counter(str(model.relative_to(root)) for model in models)
    assert len(attempts(root)) == len(models)
    assert registrations(root) == []


# ------------------------------------------------------------------ 4


BAD_CONTROL_FILES = {
    "empty": b"",
    "cut": b'{"datetime_init": "2026-11-22',
    "binary": b"\x00\xff" * 100,
    "cr_hydra's": b'{"datetime_init": "20221122", "sim_type": "inv", "crh_file": "x.crh", "sim_id": 4711}',
    "of another kind": b"[]",
}


def test_4_bad_control_files_stop_nobody_else(tmp_path: Path, crh: Crh, programs: Path) -> None:
    """They are reported and left alone, until the user says that nobody is at work on them."""
    root = tmp_path / "survey"
    models = small_models(root, len(BAD_CONTROL_FILES) + 3)
    for model, content in zip(models, BAD_CONTROL_FILES.values()):
        model.with_name(model.name + ".crh").write_bytes(content)
    models[-1].with_name(models[-1].name + ".crh").mkdir()
    before = tree_sums(root)

    done = crh("run", "-j2", cwd=root, code=1)
    for model in [*models[: len(BAD_CONTROL_FILES)], models[-1]]:
        assert str(model.relative_to(root)) in done.stderr
        assert not (model / "mod/volt.dat").exists()
    for model in models[len(BAD_CONTROL_FILES) : -1]:
        assert (model / "mod/volt.dat").exists()
    assert before.items() <= tree_sums(root).items(), "none was touched"

    crh("run", "-j2", "--force", cwd=root, code=1)
    for model in models[:-1]:
        assert (model / "mod/volt.dat").exists()
    assert registrations(root) == [str(models[-1].relative_to(root)) + ".crh"], "a directory is nobody's registration"


# ------------------------------------------------------------------ 5


def test_5_whatever_lies_in_the_tree_the_rest_is_run(tmp_path: Path, crh: Crh, programs: Path) -> None:
    root = tmp_path / "survey"
    models = small_models(root, 4)
    outer = models[0]
    shutil.copytree(models[1], outer / "deeper/nested")
    shutil.copytree(models[2], outer / "nested.too")
    for number, content in enumerate(
        [b"", "IT  1 Übergröße".encode("latin-1"), b"\0" * 5000, b"\xff\xfe***finished***"]
    ):
        tomodir = root / f"inv{number}"
        write_tomodir(tomodir, dataclasses.replace(QUICK, max_iterations=1))
        (tomodir / "inv/inv.ctr").write_bytes(content)
    (root / "only exe/exe").mkdir(parents=True)
    (root / "empty cfg/exe").mkdir(parents=True)
    (root / "empty cfg/exe/crtomo.cfg").touch()
    (root / "binary cfg/exe").mkdir(parents=True)
    (root / "binary cfg/exe/crtomo.cfg").write_bytes(random.Random(1).randbytes(4000))
    (root / "exe is a file").mkdir()
    (root / "exe is a file/exe").touch()
    (root / "cfg is a pipe/exe").mkdir(parents=True)
    os.mkfifo(root / "cfg is a pipe/exe/crmod.cfg")
    (root / "loop").symlink_to(root)
    (root / "dangling").symlink_to("nowhere")
    os.mkfifo(root / "pipe")

    done = crh("run", "-j2", cwd=root, code=1)
    assert "empty cfg" in done.stderr
    assert "binary cfg" in done.stderr
    for tomodir in [*models, outer / "deeper/nested", outer / "nested.too"]:
        assert (tomodir / "mod/volt.dat").exists(), tomodir
    for number in range(4):
        assert (root / f"inv{number}/inv/inv.ctr").read_bytes().splitlines()[-1].startswith(b"***finished***")
    assert registrations(root) == []


# ------------------------------------------------------------------ 6


@pytest.mark.parametrize("damage", [-25, -200, 3, 0])
def test_6_truncated_volt_dat_is_modelled_again(tmp_path: Path, crh: Crh, programs: Path, damage: int) -> None:
    """Cut in its last line, by some lines, in its first line, empty."""
    (model,) = small_models(tmp_path / "survey", 1)
    crh("run", cwd=tmp_path / "survey")
    whole = (model / "mod/volt.dat").read_bytes()
    (model / "mod/volt.dat").write_bytes(whole[:damage])
    crh("run", cwd=tmp_path / "survey")
    assert (model / "mod/volt.dat").read_bytes() == whole


# ------------------------------------------------------------------ 7


def test_7_run_without_its_program_ends_the_waiting_and_traps_nothing(tmp_path: Path, crh: Crh, programs: Path) -> None:
    root = tmp_path / "survey"
    models = small_models(root, 3)
    program = tmp_path / "crmod"
    shutil.copy(programs / "CRMod_stable", program)
    (root / "crh-batch.toml").write_text(f'crmod = "{program}"\n')
    before = {model: tree_sums(model) for model in models}
    # The frozen copy on a filesystem whose files can't be executed, say: here it loses its content.
    tampered = crh("submit", "--engine", "local", "--dry-run", cwd=root)
    assert "dry run" in tampered.stderr
    program.write_text("#!/nowhere/interpreter\n")

    ended = crh("submit", "--engine", "local", "--wait", cwd=root, code=3)
    assert "no pilot is left" in ended.stderr
    assert "can't be started: No such file" in ended.stderr
    status = json.loads(crh("status", "--json", cwd=root).stdout)
    assert (status["counts"]["ready"], status["counts"]["failed"]) == (3, 0)
    for model in models:
        assert tree_sums(model) == before[model]

    crh("cancel", cwd=root)
    assert registrations(root) == []
    shutil.copy(programs / "CRMod_stable", program)
    crh("run", cwd=root)
    assert all((model / "mod/volt.dat").exists() for model in models)


# ------------------------------------------------------------------ 8


BAD_PROGRAM = r"""#!/bin/sh
# A program that goes wrong in a way of its own in each tomodir, as its rho.dat says on the first line.
case "$(cat ../config/which)" in
    nul) printf 'a\000b\377' > error.dat; echo 'STOP -1' >&2;;
    empty) : > error.dat; echo 'STOP -1' >&2;;
    huge) head -c 3000000 /dev/zero > error.dat; head -c 3000000 /dev/urandom >&2; echo 'STOP -1' >&2;;
    directory) mkdir error.dat; echo 'STOP -1' >&2;;
    link) ln -s /nowhere error.dat; ln -s . loop; echo 'STOP -1' >&2;;
    pipe) mkfifo error.dat ../mod/volt.dat; echo 'STOP 0' >&2;;
    locked) mkdir ../mod/x; echo x > ../mod/x/y; chmod 0 ../mod/x/y ../mod/x; echo 'STOP -1' >&2;;
    signal) kill -SEGV $$;;
    status) exit 255;;
    moved) rm -r ../mod ../config ../grid; echo 'STOP 0' >&2;;
    gone) cd /; rm -r "$OLDPWD"; echo 'STOP 0' >&2;;
    names) printf x > "$(printf 'a\nb\377c')"; echo 'STOP 0' >&2;;
    *) exec CRMOD;;
esac
"""


def test_8_one_pilot_survives_every_bad_tomodir(tmp_path: Path, crh: Crh, programs: Path) -> None:
    """Whatever a run leaves, its failure is recorded, and the same pilot goes on with the next one."""
    bad = [line.split(")")[0].strip() for line in BAD_PROGRAM.splitlines() if ";;" in line][:-1]
    root = tmp_path / "survey"
    models = small_models(root, 2 * len(bad))
    script = tmp_path / "crmod"
    script.write_text(BAD_PROGRAM.replace("CRMOD", str(programs / "CRMod_stable")))
    script.chmod(0o755)
    (root / "crh-batch.toml").write_text(f'crmod = "{script}"\ncharged_attempts = 1\n')
    # exe/which and not config/which: everything in exe/ is an input.
    script.write_text(script.read_text().replace("../config/which", "which"))
    for number, model in enumerate(models):
        (model / "exe/which").write_text(bad[number // 2] if number % 2 else "good")

    crh("run", "-j1", cwd=root, code=1)
    status = json.loads(crh("status", "--all", "--json", cwd=root, code=1).stdout)
    states = {one["path"]: one["state"] for one in status["tomodirs"]}
    for number, model in enumerate(models):
        assert states[str(model.relative_to(root))] == ("failed" if number % 2 else "collected"), bad[number // 2]
    pilots = [path for path in (only_batch(root) / "sessions").iterdir() if not path.name.startswith("client")]
    assert len(pilots) == 1
    failed = {bad[int(one["path"][-5:]) // 2]: one for one in status["tomodirs"] if one["state"] == "failed"}
    assert all(one["error"] for one in failed.values())
    for kind in ("nul", "huge", "names"):
        crh("show", failed[kind]["path"], cwd=root, code=1)
        crh("log", failed[kind]["path"], cwd=root, code=None)


# ------------------------------------------------------------------ 9


def test_9_outcome_is_that_of_this_run_whatever_lies_there_from_before(
    tmp_path: Path, crh: Crh, programs: Path
) -> None:
    """A good run beside an old error.dat is a success; a bad one beside an old finished inv.ctr is a failure."""
    root = tmp_path / "survey"
    write_tomodir(root / "good", QUICK)
    (root / "good/exe/error.dat").write_text("an error of long ago\n")
    write_tomodir(root / "finished", QUICK)
    crh("run", "finished", cwd=root)
    shutil.copytree(root / "finished", root / "bad")
    # Only the program itself finds this: it exits with 0 all the same.
    noise = root / "bad/exe/crt.noisemod"
    noise.write_text(noise.read_text().replace("2.00", "200."))
    volt = root / "bad/mod/volt.dat"
    volt.write_text("\n".join(volt.read_text().splitlines()[:-1]) + "\n")
    lines = (root / "bad/inv/inv.ctr").read_text().splitlines()
    (root / "bad/inv/inv.ctr").write_text("\n".join(lines[:-1]) + "\n")

    crh("run", cwd=root, code=1)
    assert not (root / "good/exe/error.dat").exists()
    assert json.loads(crh("show", "--json", "good", cwd=root).stdout)["state"] == "collected"
    bad = json.loads(crh("show", "--json", "bad", cwd=root, code=1).stdout)
    assert (bad["state"], bad["failure"]) == ("failed", "input")
    assert "Magnitude <= 0" in bad["error"]


# ------------------------------------------------------------------ 10


def test_10_pilots_side_by_side_run_nothing_twice(tmp_path: Path, crh: Crh, programs: Path) -> None:
    """Many pilots and thousands of tomodirs: tests/faults/test_race_of_pilots.py."""
    root = tmp_path / "survey"
    small_models(root, 60)
    crh("submit", "--engine", "local", "-j1", cwd=root)
    argv = [sys.executable, "-m", "crh_batch", "pilot", "-j1"]
    pilots = [subprocess.Popen(argv, cwd=root, stderr=subprocess.DEVNULL) for _ in range(4)]
    assert [pilot.wait(timeout=60) for pilot in pilots] == [0] * 4
    crh("wait", cwd=root)
    assert attempts(root) == [f"{number:06d}.claim.001" for number in range(60)]
    crh("collect", cwd=root)


# ------------------------------------------------------------------ 11


def test_11_results_stay_in_the_pack_after_collecting(tmp_path: Path, crh: Crh, programs: Path) -> None:
    """So a result that a user or a disk loses afterwards is still there, with its sum."""
    root = tmp_path / "survey"
    models = small_models(root, 3)
    crh("run", cwd=root)
    batch = only_batch(root)
    (pack,) = (batch / "packs").iterdir()
    found = {}
    for event in read_events(BatchPaths(str(batch)), pack.stem):
        if event["event"] == "done":
            record = event["record"]
            content = pack.read_bytes()[record["offset"] : record["offset"] + record["length"]]
            assert hashlib.sha256(content).hexdigest() == record["sha256"]
            with tarfile.open(fileobj=io.BytesIO(gzip.decompress(content))) as archive:
                volt = archive.extractfile("mod/volt.dat")
                assert volt is not None
                found[event["id"]] = volt.read()
    assert set(found.values()) == {(model / "mod/volt.dat").read_bytes() for model in models}


# ------------------------------------------------------------------ 12


@pytest.mark.parametrize(
    "member",
    [
        "../td00001/mod/volt.dat",
        "../td000001/x",
        "/tmp/x",
        "mod/../../td00001/x",
        "../../x",
        "link",
        "hard link",
        "device",
    ],
)
def test_12_pack_that_points_into_another_tomodir_is_refused(
    tmp_path: Path, crh: Crh, programs: Path, member: str
) -> None:
    """A damaged or hostile pack with a right sum: nothing of it is put anywhere."""
    root = tmp_path / "survey"
    models = small_models(root, 2)
    crh("submit", "--engine", "local", "-j1", "--wait", cwd=root)
    _forge(only_batch(root), 0, member)
    before = {model: tree_sums(model) for model in models}

    refused = crh("collect", cwd=root, code=1)
    assert "1 result put in place" in refused.stderr
    assert "td00000" in refused.stderr
    assert tree_sums(models[0]) == before[models[0]]
    assert kept(models[1], before[models[1]])
    assert not list(tmp_path.rglob("x"))
    assert not (models[1] / "mod/volt.dat").read_bytes().startswith(b"forged")


def _forge(batch: Path, item_id: int, member: str) -> None:
    """Replace a result by one with a member that lies outside, with a record that fits."""
    buffer = io.BytesIO()
    with gzip.GzipFile(fileobj=buffer, mode="wb") as packed, tarfile.open(fileobj=packed, mode="w") as archive:
        info = tarfile.TarInfo(member)
        if member == "link":
            info.type, info.linkname = tarfile.SYMTYPE, "../td00001"
        elif member == "hard link":
            info.type, info.linkname = tarfile.LNKTYPE, "../td00001/mod/volt.dat"
        elif member == "device":
            info.type = tarfile.CHRTYPE
        else:
            info.size = len(b"forged")
        archive.addfile(info, io.BytesIO(b"forged"))
    (pack,) = (batch / "packs").iterdir()
    offset = pack.stat().st_size
    with pack.open("ab") as stream:
        stream.write(buffer.getvalue())
    session = batch / "sessions" / f"{pack.stem}.crh"
    lines = session.read_text().splitlines()
    for number, line in enumerate(lines[1:], start=1):
        event = json.loads(line)
        if event["event"] == "done" and event["id"] == item_id:
            sha256 = hashlib.sha256(buffer.getvalue()).hexdigest()
            event["record"] = {"offset": offset, "length": len(buffer.getvalue()), "sha256": sha256}
            lines[number] = json.dumps(event)
    session.write_text("\n".join(lines) + "\n")


# ------------------------------------------------------------------ 13


def test_13_references_outside_and_links_are_followed(tmp_path: Path, crh: Crh, programs: Path) -> None:
    """A time-lapse inversion starts from its neighbour's result; meshes are shared by links, files and directories."""
    root = tmp_path / "survey"
    write_tomodir(root / "time0", QUICK)
    crh("run", cwd=root)
    last = sorted((root / "time0/inv").glob("rho*.modl"))[-1].name
    volt = (root / "time0/mod/volt.dat").read_text()
    spec = dataclasses.replace(QUICK, modelling=False, volt_text=volt, prior_model=f"../../time0/inv/{last}")
    write_tomodir(root / "time1", spec)
    (root / "meshes").mkdir()
    shutil.move(root / "time1/grid/elem.dat", root / "meshes/elem.dat")
    (root / "time1/grid/elem.dat").symlink_to("../../meshes/elem.dat")
    write_tomodir(root / "time2", spec)
    shutil.rmtree(root / "time2/grid")
    (root / "time2/grid").symlink_to("../time0/grid")
    outside = tree_sums(root / "time0") | tree_sums(root / "meshes")

    crh("run", "-j2", cwd=root)
    for name in ("time1", "time2"):
        assert (root / name / "inv/inv.ctr").read_text().splitlines()[-1].startswith("***finished***")
        assert "read prior" in crh("log", name, cwd=root).stdout
    assert (root / "time1/grid/elem.dat").is_symlink()
    assert (root / "time2/grid").is_symlink()
    assert tree_sums(root / "time0") | tree_sums(root / "meshes") == outside


# ------------------------------------------------------------------ 14


def test_14_more_threads_than_cores_still_run(tmp_path: Path, crh: Crh, programs: Path) -> None:
    """2.5D shares its wavenumbers out among threads; asked for 64 on one core, it runs on that one."""
    root = tmp_path / "survey"
    write_tomodir(root / "td", dataclasses.replace(QUICK, dims="2.5D", max_iterations=1))
    crh("run", "-j1", "-t", "64", cwd=root)
    assert (root / "td/inv/inv.ctr").read_text().splitlines()[-1].startswith("***finished***")
    assert json.loads((root / "td/exe/crh.json").read_text())["threads"] == 1

    # A batch made for a larger machine: its tomodirs are wider than the pilot that takes them.
    write_tomodir(root / "wide", dataclasses.replace(QUICK, dims="2.5D", max_iterations=1))
    crh("submit", "--engine", "local", "-j8", cwd=root)
    crh("wait", cwd=root)
    crh("collect", cwd=root)
    assert json.loads((root / "wide/exe/crh.json").read_text())["threads"] > 1


# ------------------------------------------------------------------ 15


def test_15_nothing_secret_is_kept_and_the_user_is_who_it_is(tmp_path: Path, crh: Crh, programs: Path) -> None:
    root = tmp_path / "survey"
    small_models(root, 2)
    secret = {"CRH_BATCH_PASSWORD": "correct-horse-battery-staple", "PGPASSWORD": "correct-horse-battery-staple"}
    said = crh("submit", "--engine", "local", "--wait", cwd=root, env=secret)
    for path in sorted(root.rglob("*.crh")):
        if ".crh-batch" not in path.parts:
            assert json.loads(path.read_text())["username"] == getpass.getuser()
    said_too = crh("collect", cwd=root, env=secret)
    for text in (said.stdout, said.stderr, said_too.stdout, said_too.stderr):
        assert "correct-horse" not in text
    for path in root.rglob("*"):
        assert not path.is_file() or b"correct-horse" not in path.read_bytes()


@pytest.mark.parametrize("command", ["collect", "submit", "run", "cancel", "retry", "wait", "pilot", "demo"])
def test_15_help_does_nothing_but_help(tmp_path: Path, crh: Crh, programs: Path, command: str) -> None:
    root = tmp_path / "survey"
    small_models(root, 1)
    before = tree_sums(root)
    assert "Usage" in crh(command, "--help", cwd=root).stdout
    assert tree_sums(root) == before
    assert not (root / ".crh-batch").exists()
