"""Programs are what was submitted, or none is started."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from crh_batch.errors import ProgramMissing
from crh_batch.ledger.batch import Batch
from crh_batch.pilot.frozen import check_programs
from unit.ledger.making import make_batch

CONTENT = b"a program" * 1000


@pytest.fixture
def batch(tmp_path: Path) -> Batch:
    sha256 = hashlib.sha256(CONTENT).hexdigest()
    programs = {"CRMod": {"file": "CRMod-1", "sha256": sha256}, "CRTomo": {"path": "/in/a/container", "sha256": ""}}
    made = make_batch(tmp_path, 1, programs=programs)
    (Path(made.paths.programs) / "CRMod-1").write_bytes(CONTENT)
    return made


def test_check_when_they_are_as_submitted_then_nothing_is_said(batch: Batch) -> None:
    check_programs(batch)


@pytest.mark.parametrize("content", [b"", CONTENT[:-1], b"b" + CONTENT[1:]])
def test_check_when_one_was_changed_or_copied_in_part_then_it_is_named(batch: Batch, content: bytes) -> None:
    path = Path(batch.paths.programs) / "CRMod-1"
    path.write_bytes(content)
    with pytest.raises(ProgramMissing, match="not the program that was submitted") as caught:
        check_programs(batch)
    assert str(path) in caught.value.message


def test_check_when_one_is_not_there_then_its_start_will_tell(batch: Batch) -> None:
    (Path(batch.paths.programs) / "CRMod-1").unlink()
    check_programs(batch)
