"""What the fault tests share: a survey that is hurt, with nothing of it left running afterwards."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

pytest.register_assert_rewrite("faults.surveys")

_IN_MEMORY = Path("/dev/shm")


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A directory for surveys, and in it ``scratch`` where all private directories are made.

    In memory where that is possible: a killed process loses nothing that fsync would have kept, and a disk that others
    use makes every moment in time another one. Whatever still runs for it afterwards is ended.
    """
    from faults.surveys import end_processes_of

    in_memory = os.access(_IN_MEMORY, os.W_OK)
    directory = Path(tempfile.mkdtemp(prefix="crh-faults-", dir=_IN_MEMORY)) if in_memory else tmp_path
    scratch = directory / "scratch"
    scratch.mkdir()
    monkeypatch.setenv("TMPDIR", str(scratch))
    yield directory
    end_processes_of(directory)
    if in_memory:
        shutil.rmtree(directory, ignore_errors=True)
