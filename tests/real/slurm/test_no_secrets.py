"""What a user has in the environment and in configuration files stays there."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from clusters.slurm_cluster import SlurmCluster
from conftest import Crh, wait_until
from crh_batch.demo import write_small_models
from crh_batch.ledger.batch import batches_of
from gate import Gate

SECRETS = (b"of-the-environment-8c1f", b"of-a-file-77ab")


def holding(directory: Path) -> list[str]:
    """Return what holds a secret below a directory: contents, names and where links lead."""
    found = []
    for path in directory.rglob("*"):
        target = os.readlink(path) if path.is_symlink() else ""
        content = path.read_bytes() if path.is_file() and not path.is_symlink() else b""
        text = os.fsencode(f"{path}\0{target}\0") + content
        found += [str(path) for secret in SECRETS if secret in text]
    return found


@pytest.mark.slurm
def test_nothing_of_the_environment_or_of_other_files_is_written_or_shown(
    slurm_env: SlurmCluster, crh: Crh, tmp_path: Path, programs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    environment, file = (secret.decode() for secret in SECRETS)
    for name in ("MY_TOKEN", "AWS_SECRET_ACCESS_KEY", "CRH_PASSWORD", "SSH_AUTH_SOCK"):
        monkeypatch.setenv(name, environment)
    config = Path(os.environ["XDG_CONFIG_HOME"])
    for place in ("netrc", "crh-batch/token", "other/credentials.json"):
        (config / place).parent.mkdir(parents=True, exist_ok=True)
        (config / place).write_text(file)
    survey, gate = tmp_path / "survey", Gate(tmp_path / "gate", programs)
    write_small_models(survey, 4, data=60, electrodes=16)
    (survey / "crh-batch.toml").write_text(gate.profile)
    crh("submit", cwd=survey, local=False)
    (batch,) = map(Path, batches_of(str(survey)))
    wait_until("one runs", lambda: list(batch.glob("names/*/*.claim.001")))
    shown = subprocess.run(["ps", "axww", "-o", "args"], capture_output=True, check=True).stdout
    assert b"pilot.pyz" in shown
    assert not any(secret in shown for secret in SECRETS)
    gate.open()
    crh("wait", "--timeout", "60", cwd=survey, local=False)
    crh("collect", cwd=survey, local=False)
    crh("report", cwd=survey, local=False)
    assert len(list(survey.glob("*/*/mod/volt.dat"))) == 4
    state = Path(os.environ["XDG_STATE_HOME"])
    assert holding(survey) + holding(state) == []
    # The search itself finds what is there.
    assert holding(config)
