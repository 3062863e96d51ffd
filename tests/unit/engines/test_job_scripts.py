"""Job scripts: from the user's template if there is one, and without any path of the batch."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from crh_batch.engines.job_scripts import job_script, template_path
from crh_batch.errors import ProfileError
from crh_batch.profile import Profile
from crh_batch.profile_files import config_directory
from crh_batch.schedulers.base import ArrayScript
from crh_batch.schedulers.slurm import Slurm

MB = 1 << 20
SCRIPT = ArrayScript("abcdefghij", "20261122-101500-k3f9", pilots=3, cores=5, memory_bytes=512 * MB, threads=5)


@pytest.fixture
def users(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where the user's own template goes."""
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    directory = config_directory() / "jobscripts"
    directory.mkdir(parents=True)
    return directory / "slurm.sh.j2"


def head(script: str) -> list[str]:
    return [line for line in script.splitlines() if line.startswith("#SBATCH")]


def test_script_when_nothing_is_asked_for_then_only_what_the_pilots_need() -> None:
    script = job_script(Slurm(), SCRIPT, Profile())
    assert script.startswith("#!/bin/bash\n")
    assert head(script) == [
        "#SBATCH --job-name=crh-abcdefghij",
        "#SBATCH --comment=crh-batch:20261122-101500-k3f9:abcdefghij",
        "#SBATCH --array=0-2",
        "#SBATCH --nodes=1",
        "#SBATCH --ntasks=1",
        "#SBATCH --cpus-per-task=5",
        "#SBATCH --open-mode=append",
        "#SBATCH --signal=B:USR1@120",
        "#SBATCH --mem=512M",
    ]
    assert script.endswith("\n")


def test_script_when_the_profile_asks_for_more_then_all_of_it() -> None:
    profile = Profile(
        partition="work",
        throttle=2,
        warn_s=60,
        memory="none",
        setup=("module load gcc", "export A='b c'"),
        extra_directives=("#SBATCH --exclusive", "#SBATCH --hint=nomultithread"),
    )
    script = job_script(Slurm(), SCRIPT, profile)
    assert head(script)[2] == "#SBATCH --array=0-2%2"
    assert head(script)[7:] == [
        "#SBATCH --signal=B:USR1@60",
        "#SBATCH --partition=work",
        "#SBATCH --exclusive",
        "#SBATCH --hint=nomultithread",
    ]
    lines = script.splitlines()
    setup = lines.index("module load gcc")
    assert lines[setup + 1] == "export A='b c'"
    first_command = next(number for number, line in enumerate(lines) if line and not line.startswith("#"))
    assert first_command == setup, "sbatch reads no directive after the first command"
    pilot = next(number for number, line in enumerate(lines) if "pilot.pyz" in line)
    assert setup < pilot


def test_script_when_written_then_it_is_bash_and_gives_the_pilot_its_part() -> None:
    script = job_script(Slurm(), SCRIPT, Profile(setup=("module load gcc",)))
    subprocess.run(["bash", "-n"], input=script, text=True, check=True)
    (command,) = [line for line in script.replace("\\\n", " ").splitlines() if " pilot.pyz " in line and "exec" in line]
    words = command.split()
    assert words[0] == "exec", "signals must reach the pilot"
    for option, value in (("--cores", "5"), ("--threads", "5"), ("--submission", "abcdefghij")):
        assert words[words.index(option) + 1] == value


def test_script_when_written_then_no_path_of_the_batch_stands_in_it(tmp_path: Path) -> None:
    """A survey may be called anything, and a script is read by a shell."""
    script = job_script(Slurm(), SCRIPT, Profile())
    for line in script.splitlines():
        words = line.split()
        absolute = [word for word in words if word.startswith("/") and not line.startswith("#")]
        assert set(absolute) <= {"/usr/bin/python3;"}, line
    assert ".crh-batch" not in script


def test_template_when_the_user_has_one_then_it_wins(users: Path) -> None:
    shipped = template_path("slurm.sh.j2")
    users.write_text("#!/bin/sh\n# mine: {{ token }} {{ pilots }} {{ directives|join(' ') }}\n")
    assert template_path("slurm.sh.j2") == users != shipped
    assert job_script(Slurm(), SCRIPT, Profile()) == "#!/bin/sh\n# mine: abcdefghij 3 --mem=512M\n"


@pytest.mark.parametrize(
    "text",
    [
        "{{ tokn }}",
        "{% if %}",
        "{{ token",
        "{{ pilots / 0 }}",
        "{{ token + 1 }}",
        "{{ directives[17] }}",
        "{% include 'other.sh' %}",
        "{{ token.nothing() }}",
    ],
)
def test_script_when_the_users_template_has_a_fault_then_a_profile_error_names_it(users: Path, text: str) -> None:
    users.write_text(text)
    with pytest.raises(ProfileError) as caught:
        job_script(Slurm(), SCRIPT, Profile())
    assert caught.value.file == str(users)
    assert caught.value.message.startswith(str(users))
    assert "remove it" in caught.value.next_step


def test_script_when_the_users_template_is_no_text_then_a_profile_error_names_it(users: Path) -> None:
    users.write_bytes(b"\xff\xfe")
    with pytest.raises(ProfileError, match=r"slurm\.sh\.j2"):
        job_script(Slurm(), SCRIPT, Profile())


def test_template_when_there_is_none_of_that_name_then_a_profile_error() -> None:
    with pytest.raises(ProfileError, match="no such job script template"):
        template_path("pbs.sh.j2")
