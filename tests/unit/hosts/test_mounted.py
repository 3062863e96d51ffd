"""Paths of this machine as the other one knows them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from crh_batch.errors import HostError
from crh_batch.hosts import mounted
from crh_batch.hosts.mounted import MountedHost, translated
from crh_batch.profile import Profile


@pytest.mark.parametrize(
    ("path", "there"),
    [
        ("/home/data/a/b", "/lustre/proj/a/b"),
        ("/home/data", "/lustre/proj"),
        ("/home/data/", "/lustre/proj"),
        ("/home/data/fast/x", "/nvme/x"),
        ("/home/data/faster", "/lustre/proj/faster"),
        ("/home/database", None),
        ("/home", None),
        ("/home/data/../data/x", "/lustre/proj/x"),
        ("/home/data/..x", "/lustre/proj/..x"),
        ("/home/data/ü $(x)\n'q", "/lustre/proj/ü $(x)\n'q"),
        ("/same/x", "/same/x"),
    ],
)
def test_path_when_below_a_root_then_the_longest_root_translates_it(path: str, there: str | None) -> None:
    profile = Profile(roots=("/home/data:/lustre/proj", "/home/data/fast/:/nvme/", "/same:/same"))
    assert translated(path, profile.root_pairs) == there


def test_path_when_the_root_is_the_whole_filesystem_then_it_is_found() -> None:
    assert translated("/a/b", Profile(roots=("/:/mnt",)).root_pairs) == "/mnt/a/b"
    assert translated("/mnt/a", Profile(roots=("/mnt:/",)).root_pairs) == "/a"


class _Far:
    """Sees what it is told, after some questions."""

    name = "levante"

    def __init__(self, *answers: bool) -> None:
        self.answers = list(answers)
        self.asked: list[str] = []

    def ask(self, do: str, *, timeout_s: float = 60.0, **what: Any) -> dict[str, Any]:
        assert do == "exists"
        self.asked += what["paths"]
        return {"exists": [self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]]}


def test_bring_when_the_file_shows_late_then_it_is_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mounted, "_PAUSE_S", 0.0)
    far = _Far(False, False, True)
    MountedHost(far, [("/here", "/there")]).bring("/here/job.sh")  # type: ignore[arg-type]
    assert far.asked == ["/there/job.sh"] * 3


def test_bring_when_the_directories_are_not_the_same_then_the_error_names_both(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mounted, "_SEEN_WITHIN_S", 0.0)
    with pytest.raises(HostError, match=r"levante: /there/job.sh: isn't there, though /here/job.sh is here"):
        MountedHost(_Far(False), [("/here", "/there")]).bring("/here/job.sh")  # type: ignore[arg-type]


def test_path_when_below_no_root_then_the_error_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(HostError, match="not below a directory that both machines see") as caught:
        MountedHost(_Far(True), [("/here", "/there")]).there(str(tmp_path))  # type: ignore[arg-type]
    assert "roots" in caught.value.next_step
