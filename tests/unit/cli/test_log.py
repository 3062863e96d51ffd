"""Lines of programs, as a terminal may show them."""

from __future__ import annotations

import pytest

from crh_batch.cli.log import _cut


@pytest.mark.parametrize(
    ("line", "is_shown"),
    [
        ("two\tcolumns ü", "two\tcolumns ü"),
        (" 10 %\r 20 %\r", " 20 %"),
        ("\x1b]0;title\x07\x1b[2J", "\\x1b]0;title\\x07\\x1b[2J"),
        ("\x9b31m", "\\x9b31m"),
    ],
)
def test_cut_when_a_line_would_steer_the_terminal_then_it_is_shown_as_text(line: str, is_shown: str) -> None:
    assert _cut(line) == is_shown


def test_cut_when_a_line_is_very_long_then_its_middle_is_left_out() -> None:
    assert _cut("a" * 300 + "b" * 300) == "a" * 200 + " [... 200 characters ...] " + "b" * 200
