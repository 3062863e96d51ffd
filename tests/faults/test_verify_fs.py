"""verify-fs on filesystems that lie: the checks are checked."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from crh_batch.engines.verify_filesystem import WORKER, FilesystemReport, verify_filesystem
from crh_batch.ledger import durable
from crh_batch.report.filesystem_words import FIT, FIT_WITH_FILES, UNFIT, findings_alone, findings_together, verdict
from crh_batch.report.finding import CHANGE
from faults.lies import Fault, install

PARTY = str(Path(__file__).with_name("lying_party.py"))
ANSWER_S = 10.0


def judge(report: FilesystemReport) -> tuple[str, set[str]]:
    """Return the verdict, and what is to be changed."""
    findings = [*findings_alone(report.alone), *findings_together(report.parties, report.links)]
    return verdict(report.links, findings), {one.subject for one in findings if one.level == CHANGE}


def test_a_local_disk_is_fit_and_nothing_is_left(tmp_path: Path) -> None:
    assert judge(verify_filesystem(str(tmp_path), str(tmp_path), answer_s=ANSWER_S)) == (FIT, set())
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("lie", "subjects"),
    [
        ("links_are_not_exclusive", {"names", "holding"}),
        ("exclusive_files_are_not", {"exclusive files"}),
        ("hard_links_replace", {"linked files"}),
        ("rename_has_a_gap", {"rename"}),
        ("rename_copies", {"rename"}),
        ("appending_overwrites", {"appending"}),
        ("fsync_fails", {"linked files", "exclusive files", "filesystem"}),
    ],
)
def test_a_lie_among_processes_is_found(
    place: Path, monkeypatch: pytest.MonkeyPatch, lie: str, subjects: set[str]
) -> None:
    """One process alone sees nothing wrong; several at once do."""
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(sys.path))
    # Who stumbles over the last two leaves the others waiting.
    answer_s = 4.0 if lie in ("fsync_fails", "appending_overwrites") else ANSWER_S
    report = verify_filesystem(str(place), worker=(sys.executable, PARTY, lie), answer_s=answer_s)
    said, found = judge(report)
    assert said == UNFIT and found and found <= subjects
    assert [path.name for path in place.iterdir()] == ["scratch"]


def test_a_link_that_lies_about_its_own_success_is_no_harm(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(sys.path))
    worker = (sys.executable, PARTY, "links_lie_about_their_success")
    assert judge(verify_filesystem(str(place), worker=worker, answer_s=ANSWER_S)) == (FIT, set())


@pytest.mark.parametrize(
    ("fault", "said", "subjects"),
    [
        (Fault("symlink", error="EPERM"), FIT_WITH_FILES, set()),
        (Fault("symlink"), FIT_WITH_FILES, set()),
        (Fault("link", error="EPERM"), FIT, set()),
        (Fault("fsync", error="EIO"), UNFIT, {"fsync"}),
        (Fault("fsync", path="alone$", error="EIO"), UNFIT, {"fsync"}),
        (Fault("replace", error="EPERM"), UNFIT, {"rename"}),
        (Fault("replace"), UNFIT, {"rename"}),
        (Fault("open", path="alone/exclusive$", error="EROFS"), UNFIT, {"exclusive files"}),
    ],
)
def test_what_one_process_can_see_is_found(
    place: Path, monkeypatch: pytest.MonkeyPatch, fault: Fault, said: str, subjects: set[str]
) -> None:
    install([fault], monkeypatch.setattr)
    assert judge(verify_filesystem(str(place), worker=WORKER, answer_s=ANSWER_S)) == (said, subjects)


def test_files_that_two_can_create_are_found(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = os.open
    monkeypatch.setattr(durable.calls, "open", lambda path, flags, mode=0o777: real(path, flags & ~os.O_EXCL, mode))
    assert judge(verify_filesystem(str(place), answer_s=ANSWER_S)) == (UNFIT, {"exclusive files"})


def test_directories_that_are_open_to_all_are_found(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As on a filesystem that knows no modes, such as one of Windows."""
    real = os.mkdir

    def mkdir(path: str, mode: int = 0o777) -> None:
        real(path)
        os.chmod(path, 0o777)

    monkeypatch.setattr(os, "mkdir", mkdir)
    assert judge(verify_filesystem(str(place), worker=WORKER, answer_s=ANSWER_S)) == (UNFIT, {"modes"})
