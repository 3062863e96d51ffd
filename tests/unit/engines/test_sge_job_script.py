"""The job script for SGE, filled in; what it does on a node is shown by the tests on a real SGE."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from crh_batch.engines.job_scripts import job_script
from crh_batch.errors import ProfileError
from crh_batch.profile import Profile
from crh_batch.schedulers.base import ArrayScript
from crh_batch.schedulers.sge import Sge, submit_argv

MB = 1 << 20
SCRIPT = ArrayScript("abcdefghij", "20261122-101500-k3f9", 3, 5, 512 * MB, 5, parallel_environment="smp")


def head(script: str) -> list[str]:
    return [line for line in script.splitlines() if line.startswith("#$")]


def test_script_when_nothing_is_asked_for_then_only_what_the_pilots_need() -> None:
    script = job_script(Sge(), SCRIPT, Profile())
    assert script.startswith("#!/bin/bash\n")
    assert head(script) == [
        "#$ -S /bin/bash",
        "#$ -N crh-abcdefghij",
        "#$ -t 1-3",
        "#$ -j y",
        "#$ -r y",
        "#$ -notify",
        "#$ -pe smp 5",
    ]
    assert script.endswith("\n")
    subprocess.run(["bash", "-n"], input=script, text=True, check=True)


def test_script_when_the_profile_asks_for_more_then_all_of_it() -> None:
    profile = Profile(
        partition="long.q",
        throttle=2,
        time_minutes=30,
        warn_s=60,
        memory_resource="h_vmem",
        setup=("module load gcc",),
        extra_directives=("#$ -m n",),
    )
    script = job_script(Sge(), SCRIPT, profile)
    assert head(script)[3] == "#$ -tc 2"
    assert head(script)[7:] == ["#$ -q long.q", "#$ -pe smp 5", "#$ -l h_rt=1800,s_rt=1740,h_vmem=103M", "#$ -m n"]
    assert "\nmodule load gcc\n" in script
    assert "\nleft=30:00\n" in script
    subprocess.run(["bash", "-n"], input=script, text=True, check=True)


def test_script_when_slots_can_not_be_asked_for_then_the_profile_is_named_not_the_template() -> None:
    with pytest.raises(ProfileError) as caught:
        job_script(Sge(), ArrayScript("t", "b", 1, 2, MB, 2), Profile())
    assert caught.value.key == "parallel_environment"
    assert "sge.sh.j2" not in caught.value.message


@pytest.mark.parametrize("name", ["plain", "$HOME `touch x`", "new\nline", "line break at the end\n", "grüße $x"])
def test_script_when_started_then_it_runs_the_pilot_of_its_batch(tmp_path: Path, name: str) -> None:
    """On this machine, as SGE starts it: in the directory, or elsewhere with the directory in a variable."""
    logs = tmp_path / name / "logs" / "abcdefghij"
    logs.mkdir(parents=True)
    (tmp_path / name / "pilot.pyz").write_text(
        "import os, sys\nprint(os.getcwd() + '|' + ' '.join(sys.argv[1:]), end='|')\n"
    )
    script = tmp_path / "job.sh"
    script.write_text(job_script(Sge(), SCRIPT, Profile(time_minutes=30)))
    argv = submit_argv(str(logs), str(script))
    environment = {"PATH": os.environ["PATH"], "JOB_NAME": "crh-x", "JOB_ID": "7", "SGE_TASK_ID": "1"}
    if "-v" in argv:
        key, _, value = argv[argv.index("-v") + 1].partition("=")
        environment[key] = value
    done = subprocess.run(
        ["bash", script], cwd=argv[argv.index("-wd") + 1], env=environment, capture_output=True, text=True, check=False
    )
    said = (logs / "crh-x.o7.1").read_text() if "-v" in argv else done.stdout
    where, arguments, _ = said.split("|")
    assert where == str(tmp_path / name), done.stderr
    assert arguments == (
        ". --cores 5 --threads 5 --memory-mb 512 --submission abcdefghij --warn-s 120 --time-left 30:00"
    )


def test_script_when_the_batch_is_not_seen_then_it_says_where_it_is(tmp_path: Path) -> None:
    done = subprocess.run(
        ["bash", "-c", job_script(Sge(), SCRIPT, Profile())], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.returncode == 3
    assert "does not see the batch's directory" in done.stderr
