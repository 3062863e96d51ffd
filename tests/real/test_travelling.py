"""What leaves this checkout works elsewhere: the wheel, and pilot.pyz under other Pythons, small and quick to start."""

from __future__ import annotations

import json
import os
import resource
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from conftest import Crh
from crh_batch.demo import write_demo, write_small_models
from crh_batch.engines.new_batch import make_batch
from crh_batch.engines.programs import pilot_archive
from crh_batch.ledger.batch import Batch, batches_of
from crh_batch.ledger.names import StateName
from crh_batch.plan.survey import examine
from crh_batch.profile import Profile
from crh_batch.report.states import count

CHECKOUT = Path(__file__).parents[2]


def other_pythons() -> list[str]:
    """Return Pythons from 3.9 on that are not this one: on PATH, or where pyenv keeps them."""
    found: dict[str, str] = {}
    candidates = [shutil.which(f"python3.{minor}") for minor in range(9, 20)] + ["/usr/bin/python3"]
    candidates += [str(path) for path in Path("~/.pyenv/versions").expanduser().glob("3.*/bin/python3")]
    for candidate in candidates:
        if candidate and Path(candidate).exists():
            version = subprocess.run(
                [candidate, "-c", "import sys; print('%d.%d' % sys.version_info[:2])"],
                capture_output=True,
                text=True,
                check=False,
            ).stdout.strip()
            minor = version.partition(".")[2]
            if minor.isdigit() and int(minor) >= 9 and int(minor) != sys.version_info.minor:
                found.setdefault(version, candidate)
    return list(found.values())


def peak_mb(argv: list[str], cwd: Path) -> float:
    """Return the largest resident set of a command in MB, measured by a small process between."""
    code = "import resource, subprocess, sys; subprocess.run(sys.argv[1:], stdout=subprocess.DEVNULL, check=True); "
    code += "print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)"
    done = subprocess.run([sys.executable, "-c", code, *argv], cwd=cwd, capture_output=True, text=True, check=True)
    return int(done.stdout) / 1024


def test_pilot_runs_under_other_pythons(tmp_path: Path, programs: Path) -> None:
    pythons = other_pythons()
    if not pythons:
        pytest.skip("no other Python from 3.9 on here")
    for number, python in enumerate(pythons):
        survey = tmp_path / f"survey{number}"
        write_small_models(survey, 2)
        batch = waiting_batch(survey)
        subprocess.run([python, "-I", "-S", batch.paths.pilot, batch.paths.directory, "--cores", "1"], check=True)
        assert count(batch).counts[StateName.DONE] == 2, python


def waiting_batch(survey: Path) -> Batch:
    """Return a batch of a survey's tomodirs for which no pilot was started."""
    found = examine([str(survey)], str(survey), most_threads=1)
    made = make_batch(str(survey), found.planned, Profile(), lambda batch: None)
    assert made.batch is not None
    return made.batch


def test_pilot_is_small_and_imports_the_standard_library_alone(tmp_path: Path, programs: Path) -> None:
    archive = tmp_path / "pilot.pyz"
    archive.write_bytes(pilot_archive())
    argv = [sys.executable, "-I", "-S", "-X", "importtime", str(archive), "--help"]
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    said = subprocess.run(argv, capture_output=True, text=True, check=True).stderr
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    names = {line.rpartition("|")[2].strip().partition(".")[0] for line in said.splitlines() if "|" in line}
    # copy asks for Jython's org.python.core.
    foreign = names - set(sys.stdlib_module_names) - {"crh_batch", "imported package", "org"}
    assert not {name for name in foreign if not name.startswith("_")}
    # Processor time: on a shared machine the clock says little. It takes 60 ms; more than 100 means a heavy import.
    assert after.ru_utime - before.ru_utime < 0.25

    survey = tmp_path / "survey"
    write_small_models(survey, 300)
    batch = waiting_batch(survey)
    pilot = [sys.executable, "-I", "-S", batch.paths.pilot, batch.paths.directory, "--cores", "2"]
    assert peak_mb(pilot, survey) < 40
    assert count(batch).counts[StateName.DONE] == 300


def test_client_needs_little_memory_for_two_thousand_tomodirs(tmp_path: Path, programs: Path) -> None:
    """10,000 take 81 MB (benchmarks/README.md); a quarter of that must stay well below."""
    survey = tmp_path / "survey"
    write_small_models(survey, 2000)
    (survey / "crh-batch.toml").write_text('scheduler = "local"\n')
    assert peak_mb([sys.executable, "-m", "crh_batch", "check", "--json"], survey) < 100
    waiting_batch(survey)
    assert peak_mb([sys.executable, "-m", "crh_batch", "status", "--json", "--all"], survey) < 100


def test_wheel_holds_the_job_scripts_and_works_by_itself(tmp_path: Path) -> None:
    subprocess.run(
        [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--wheel-dir", tmp_path, CHECKOUT], check=True
    )
    (wheel,) = tmp_path.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        assert "crh_batch/jobscripts/slurm.sh.j2" in archive.namelist()
        archive.extractall(tmp_path / "installed")
    code = "import crh_batch.engines.job_scripts as j; print(j.template_path('slurm.sh.j2'))"
    environment = {**os.environ, "PYTHONPATH": str(tmp_path / "installed")}
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, env=environment, capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == str(tmp_path / "installed" / "crh_batch" / "jobscripts" / "slurm.sh.j2")


def test_demo_job_is_complete_and_shows_a_table(tmp_path: Path, programs: Path, crh: Crh) -> None:
    write_demo(tmp_path / "survey", 2)
    done = crh("run", "-j2", cwd=tmp_path / "survey")
    assert "2 of 2 finished" in done.stderr
    for title in ("tomodir", "stages", "dims", "threads", "seconds", "peak memory", "iterations", "final RMS"):
        assert title in done.stdout
    answer = json.loads(crh("status", "--json", cwd=tmp_path / "survey").stdout)
    assert answer["complete"] and answer["counts"]["collected"] == 2
    assert len(batches_of(str(tmp_path / "survey"))) == 1
