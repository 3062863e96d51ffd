from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crh_batch.tomodir.lines import EndOfLines, FortranLines, NotAValue


@pytest.mark.parametrize(
    ("text", "kind", "value"),
    [
        ("1", "integer", 1),
        ("+1", "integer", 1),
        ("-12", "integer", -12),
        ("0001", "integer", 1),
        ("  1", "integer", 1),
        ("\t1", "integer", 1),
        ("1 text", "integer", 1),
        ("1,", "integer", 1),
        ("1;2", "integer", 1),
        ("1/", "integer", 1),
        ("1*7", "integer", 7),
        ("2147483647", "integer", 2147483647),
        ("-2147483648", "integer", -2147483648),
        ("/", "integer", None),
        (",", "integer", None),
        ("1,5", "real", 1.0),
        ("1d0", "real", 1.0),
        ("1.5-3", "real", 0.0015),
        (".5", "real", 0.5),
        ("1.", "real", 1.0),
        ("1q2", "real", 100.0),
        ("1e999", "real", math.inf),
        ("-inf", "real", -math.inf),
        ("infinity", "real", math.inf),
        ("T", "logical", True),
        ("F     ! DC inversion?", "logical", False),
        ("F!x", "logical", False),
        ("falsch", "logical", False),
        (".true.", "logical", True),
        (".t", "logical", True),
        ("2*F", "logical", False),
    ],
)
def test_value_when_crtomo_takes_it_then_it_is_read(text: str, kind: str, value: object) -> None:
    """Each of these lines was given to CRTomo_stable, which went on with the next one."""
    lines = FortranLines(text.encode() + b"\nnext")
    assert lines.values(kind) == [value]
    assert lines.text(80) == b"next"


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("1.0", "integer"),
        ("T", "integer"),
        ("1!x", "integer"),
        ("1e0", "integer"),
        ('"1"', "integer"),
        ("1\0", "integer"),
        ("99999999999", "integer"),
        ("2147483648", "integer"),
        ("9" * 100_000, "integer"),
        ("1.0x", "real"),
        ("T", "real"),
        ("1e", "real"),
        ("1e+", "real"),
        ("Infx", "real"),
        ("0x10", "real"),
        ("Nein", "logical"),
        ("0", "logical"),
        (".x", "logical"),
    ],
)
def test_value_when_crtomo_refuses_it_then_the_next_read_goes_on_after_that_line(text: str, kind: str) -> None:
    lines = FortranLines(text.encode() + b"\nnext")
    with pytest.raises(NotAValue) as caught:
        lines.values(kind)
    assert caught.value.line == 1
    assert lines.text(80) == b"next"


def test_nan_when_read_then_it_is_a_number() -> None:
    (value,) = FortranLines(b"NaN(1)").values("real")
    assert isinstance(value, float)
    assert math.isnan(value)


def test_values_when_lines_are_blank_then_they_are_passed_over() -> None:
    lines = FortranLines(b"\n  \n\t\n5\n6")
    assert lines.values("integer") == [5]
    assert lines.line == 4


def test_values_when_two_are_wanted_and_a_line_has_one_then_the_next_line_is_used() -> None:
    """So a line 10 of crtomo.cfg that holds one number shifts all that follow (seen)."""
    lines = FortranLines(b"1\n2 3\n4\n")
    assert lines.values("integer", "real") == [1, 2.0]
    assert lines.values("integer") == [4]


def test_values_when_one_is_left_out_then_it_is_none() -> None:
    assert FortranLines(b",2").values("integer", "integer") == [None, 2]
    assert FortranLines(b"1 /").values("integer", "integer", "integer") == [1, None, None]


def test_text_when_line_is_long_then_it_is_cut_in_bytes() -> None:
    lines = FortranLines("äöü\nx".encode())
    assert lines.text(3) == "ä".encode() + b"\xc3"
    assert lines.text(3) == b"x"


def test_text_when_lines_end_with_crlf_then_the_return_is_dropped() -> None:
    lines = FortranLines(b"a \r\nb")
    assert [lines.text(80), lines.text(80)] == [b"a ", b"b"]


def test_read_when_lines_are_used_up_then_it_says_so() -> None:
    lines = FortranLines(b"1\n")
    lines.values("integer")
    with pytest.raises(EndOfLines):
        lines.text(80)
    with pytest.raises(EndOfLines):
        lines.values("integer")


@pytest.mark.parametrize(
    ("comments", "left"),
    [
        (b"# a\n# b\n", b"x"),
        (b"  # a\n# b\n", b"x"),
        (b"# a\n  # b\n", b"  # b"),
        (b"\t# a\n", b"\t# a"),
        (b"! a\n", b"! a"),
        (b"# " + b"a" * 400 + b"\n", b"x"),
        (b"# a\n\n", b""),
    ],
)
def test_comments_when_skipped_then_only_those_that_crtomo_skips(comments: bytes, left: bytes) -> None:
    lines = FortranLines(comments + b"x\n")
    lines.skip_comments()
    assert lines.text(80) == left


def test_back_when_at_the_first_line_then_it_stays_there() -> None:
    lines = FortranLines(b"a\nb\n")
    lines.text(1)
    lines.back()
    lines.back()
    assert lines.text(1) == b"a"


@given(
    st.lists(st.sampled_from(["integer", "real", "logical"]), min_size=1, max_size=3),
    st.binary(max_size=60) | st.text("0123456789+-.eEdDtTfF*,;/ \t\n\r#!na", max_size=60).map(str.encode),
)
def test_values_when_text_is_anything_then_nothing_else_is_raised(kinds: list[str], data: bytes) -> None:
    lines = FortranLines(data)
    for _ in range(5):
        before = lines.line
        try:
            assert len(lines.values(*kinds)) == len(kinds)
        except NotAValue:
            assert lines.line > before
        except EndOfLines:
            break
