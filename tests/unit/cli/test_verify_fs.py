"""`crh-batch verify-fs` as it is typed."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from conftest import Crh, wait_until


def test_verify_fs_when_it_is_fit_then_it_says_so_in_words_and_json(tmp_path: Path, crh: Crh) -> None:
    place = tmp_path / "-a survey,\nwith 'quotes'"
    place.mkdir()
    said = crh("verify-fs", "--", place.name, cwd=tmp_path)
    assert said.stdout.splitlines()[-1].endswith(": fit")
    found = json.loads(crh("verify-fs", "--json", place, place, cwd=tmp_path).stdout)
    assert (found["verdict"], found["links"], found["directory"]) == ("fit", "symlink", str(place))
    assert {one["level"] for one in found["findings"]} <= {"ok", "note"}
    assert len(found["together"]) == 4
    assert list(place.iterdir()) == [], "nothing is left"


def test_verify_fs_when_it_cannot_be_tried_then_why(tmp_path: Path, crh: Crh) -> None:
    file = tmp_path / "file"
    file.touch()
    assert f"{file}: is not a directory" in crh("verify-fs", file, cwd=tmp_path, code=2).stderr
    assert "is not a directory" in crh("verify-fs", "nothing", cwd=tmp_path, code=2).stderr
    assert "/proc: nothing can be made here" in crh("verify-fs", "/proc", cwd=tmp_path, code=3).stderr
    one, other = tmp_path / "one", tmp_path / "other"
    for directory in (one, other):
        directory.mkdir()
    assert f"{other}: is not the directory {one}" in crh("verify-fs", one, other, cwd=tmp_path, code=2).stderr
    assert list(one.iterdir()) == list(other.iterdir()) == []


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_verify_fs_when_it_is_interrupted_then_nothing_is_left(tmp_path: Path, number: signal.Signals) -> None:
    place, log = tmp_path / "place", tmp_path / "log"
    place.mkdir()
    with log.open("wb") as stream:
        process = subprocess.Popen(
            [sys.executable, "-m", "crh_batch", "verify-fs", place], stdout=stream, stderr=stream, cwd=tmp_path
        )
    wait_until("several processes try it", lambda: "at once" in log.read_text())
    process.send_signal(number)
    assert process.wait(30) == 130
    assert list(place.iterdir()) == [] and "Traceback" not in log.read_text()
