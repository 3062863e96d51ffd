"""What tests of single commands on this machine share."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

import crh_batch.verify.compare
from real.local.verifying import Hurt, Said, Verify, by_command


@pytest.fixture
def verify(capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Verify:
    """Run verify in a survey, in this process, and return what it said."""
    monkeypatch.setattr(crh_batch.verify.compare, "_PAUSE_S", 0.01)
    # Whatever filesystem the tests run on: nothing is written by other machines.
    monkeypatch.setattr(crh_batch.verify.compare, "is_of_this_machine", lambda place: True)
    config = tmp_path / "config" / "crh-batch"
    config.mkdir(parents=True)
    (config / "profile.toml").write_text('scheduler = "local"\n')
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))

    def run(survey: Hurt | Path, *arguments: str) -> Said:
        capfd.readouterr()
        place = survey.root if isinstance(survey, Hurt) else survey
        code = by_command("verify", "--json", *arguments, place=place)
        return Said(code, json.loads(capfd.readouterr().out)["parts"])

    return run
