"""Options that several commands share."""

from __future__ import annotations

import io
import os
from pathlib import Path
from types import SimpleNamespace

import pytest

from crh_batch.cli.common import all_paths, talk, talk_problems
from crh_batch.errors import UsageError


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b"line1/td1\nline2\n", ["line1/td1", "line2"]),
        (b"line1/td1\n\n\nline2", ["line1/td1", "line2"]),
        (b"a b\0c\nd\0", ["a b", "c\nd"]),
        (b"td\xff\n", [os.fsdecode(b"td\xff")]),
        (b"", []),
    ],
)
def test_from_file_when_it_is_read_then_a_path_a_line_or_between_nul_characters(
    tmp_path: Path, content: bytes, expected: list[str]
) -> None:
    (tmp_path / "list").write_bytes(content)
    assert all_paths(["first"], str(tmp_path / "list")) == ["first", *expected]


def test_from_file_when_it_is_a_dash_then_standard_input(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", SimpleNamespace(buffer=io.BytesIO(b"td1\ntd2\n")))
    assert all_paths([], "-") == ["td1", "td2"]


def test_from_file_when_it_is_missing_then_usage_error(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"--from-file .*missing: No such file"):
        all_paths([], str(tmp_path / "missing"))


def test_talk_when_a_text_has_lines_then_they_stay_and_the_rest_is_escaped(capsys: pytest.CaptureFixture[str]) -> None:
    talk("one\n  two\x1b[2J")
    out, err = capsys.readouterr()
    assert (out, err) == ("", "one\n  two\\x1b[2J\n")


def test_talk_problems_when_there_are_many_then_the_list_is_cut_and_says_how_to_see_all(
    capsys: pytest.CaptureFixture[str],
) -> None:
    talk_problems([(f"td{number}", "wrong") for number in range(25)], "can't be run")
    lines = capsys.readouterr().err.splitlines()
    assert lines[0] == "25 can't be run:"
    assert lines[1] == "  td0: wrong"
    assert len(lines) == 1 + 20 + 1
    assert "5 more" in lines[-1] and "--json" in lines[-1]


def test_talk_problems_when_there_are_none_then_nothing_is_said(capsys: pytest.CaptureFixture[str]) -> None:
    talk_problems([], "can't be run")
    assert capsys.readouterr().err == ""
