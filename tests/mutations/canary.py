"""Tests that fail if a change of the package reaches the processes that tests start; run by ``mutations.run`` alone."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

from conftest import Crh
from crh_batch.demo import write_small_models


def test_clients_and_pilots_are_those_of_this_package(crh: Crh, programs: Path, tmp_path: Path) -> None:
    write_small_models(tmp_path / "survey", 2)
    crh("run", "-j1", cwd=tmp_path / "survey")
    (batch,) = (tmp_path / "survey" / ".crh-batch").glob("2*")
    assert "canary" not in json.loads((batch / "batch.json").read_bytes())["version"]
    assert not list((batch / "sessions").glob("canary*"))


def test_command_is_that_of_this_package() -> None:
    command = Path(sys.executable).parent / "crh-batch"
    done = subprocess.run([command, "--version"], capture_output=True, text=True, check=True, cwd="/")
    assert "canary" not in done.stdout
