"""Tables for people: nothing in a path or message can act on a terminal."""

from __future__ import annotations

import io
import os

import pytest
from rich.console import Console
from rich.table import Table

from crh_batch.ledger.names import Failure, State, StateName
from crh_batch.report.states import Row
from crh_batch.report.table import bytes_text, failed_table, number, results_table, running_table, seconds_text, shown


def printed(table: Table) -> str:
    stream = io.StringIO()
    Console(file=stream, width=250).print(table)
    return stream.getvalue()


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("line1/td07", "line1/td07"),
        ("td \u00e4\u4e2d\U0001f30b", "td \u00e4\u4e2d\U0001f30b"),
        ("td\n07", r"td\n07"),
        ("td\t\r", r"td\t\r"),
        ("\x1b[31mred\x1b]0;title\x07", r"\x1b[31mred\x1b]0;title\x07"),
        (os.fsdecode(b"td\xff"), r"td\udcff"),
        # Turns the order of what follows around.
        ("td\u202e70", r"td\u202e70"),
        ("", ""),
    ],
)
def test_shown_when_a_text_holds_anything_then_a_terminal_prints_it(text: str, expected: str) -> None:
    assert shown(text) == expected


def row(path: str, state: State, **fields: object) -> Row:
    made = Row(0, path, state)
    for name, value in fields.items():
        setattr(made, name, value)
    return made


EVIL = "[bold red]td[/]\x1b[2J"
ESCAPED = "[bold red]td[/]\\x1b[2J"


def test_tables_when_a_path_holds_markup_and_escapes_then_they_are_shown_as_they_are() -> None:
    for table in (
        results_table([row(EVIL, State(StateName.DONE, 1))]),
        running_table([row(EVIL, State(StateName.RUNNING, 1))]),
        failed_table([row("td0", State(StateName.FAILED, 1, Failure.INPUT), error=EVIL)]),
    ):
        text = printed(table)
        assert ESCAPED in text
        assert "\x1b" not in text


def test_results_table_when_a_tomodir_is_done_then_what_it_took() -> None:
    stages = [{"stage": "modelling", "wall_s": 1.5, "peak_bytes": 30_000_000}, {"stage": "inversion", "wall_s": 10.25}]
    one = row("td0", State(StateName.DONE, 1), stages=stages, iteration=6, rms=0.98765, dims="2.5D", threads=5)
    (line,) = [line for line in printed(results_table([one])).splitlines() if "td0" in line]
    words = "td0 done modelling + inversion 2.5D 5 11.75 30 MB 6 0.988"
    assert line.split() == words.split()


def test_results_table_when_a_peak_is_only_a_bound_then_it_says_so() -> None:
    one = row(
        "td0",
        State(StateName.DONE, 1),
        stages=[{"stage": "modelling", "wall_s": 1.0, "peak_bytes": 30_000_000, "peak_is_bound": True}],
    )
    assert "< 30 MB" in printed(results_table([one]))


def test_failed_table_when_an_error_has_lines_then_it_is_one() -> None:
    one = row("td0", State(StateName.FAILED, 3, Failure.CRASH), error="first\n  second\n\n")
    (line,) = [line for line in printed(failed_table([one])).splitlines() if "td0" in line]
    assert line.split() == ["td0", "crash", "3", "first", "/", "second"]


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.0, "0.0 s"), (89.94, "89.9 s"), (90.0, "2 min"), (5399.0, "90 min"), (5400.0, "1.5 h"), (360_000.0, "100.0 h")],
)
def test_seconds_text_when_shown_then_in_the_unit_that_fits(seconds: float, text: str) -> None:
    assert seconds_text(seconds) == text


def test_numbers_when_they_are_not_known_then_empty() -> None:
    assert (bytes_text(None), bytes_text(30_400_000), bytes_text(0)) == ("", "30 MB", "0 MB")
    assert (number(None, "{:.2f}"), number(1.005, "{:.1f}")) == ("", "1.0")
