from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import pytest

from crh_batch.cli.group import main

pytest.register_assert_rewrite("unit.ledger.making")


class Said(NamedTuple):
    """How a command ended, and what it said."""

    code: int
    out: str
    err: str


Run = Callable[..., Said]


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], tmp_path: Path) -> Run:
    """Run a command line in this process, as its entry point does; a traceback would be an error of the test."""

    def run(*arguments: str | Path, cwd: Path = tmp_path) -> Said:
        monkeypatch.chdir(cwd)
        monkeypatch.setattr(sys, "argv", ["crh-batch", *map(str, arguments)])
        capfd.readouterr()
        with pytest.raises(SystemExit) as caught:
            main()
        code = caught.value.code
        assert isinstance(code, int)
        out, err = capfd.readouterr()
        return Said(code, out, err)

    return run


@pytest.fixture
def no_scheduler(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A user whose profile says that there is none, whatever this machine has."""
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    (tmp_path / "config" / "crh-batch").mkdir(parents=True)
    (tmp_path / "config" / "crh-batch" / "profile.toml").write_text('scheduler = "local"\n')
