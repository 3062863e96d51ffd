"""--group, --priority, --deadline: how they are read and what they do."""

from __future__ import annotations

import datetime
import time

import pytest

from crh_batch.errors import UsageError
from crh_batch.plan.order import Planned
from crh_batch.plan.wishes import Wishes, check_group, nice_of, parse_deadline, parse_priorities
from crh_batch.profile import Profile
from crh_batch.tomodir.stage import Description, Size

NOW = datetime.datetime(2026, 11, 22, 17, 30).timestamp()


def planned(path: str) -> Planned:
    return Planned(path, Description(path, (), "2D", 1, "", Size()), 1, 1, 1.0, 1)


def test_priorities_when_written_then_a_number_is_for_the_jobs_and_an_expression_for_tomodirs() -> None:
    jobs, tomodirs = parse_priorities(["3", "^line1/=10", "a=b=-2", "-4"])
    assert jobs == -4, "the last one holds"
    assert [(pattern.pattern, number) for pattern, number in tomodirs] == [("^line1/", 10), ("a=b", -2)]


@pytest.mark.parametrize("text", ["", "high", "line1=", "line1=x", "(=1", "1.5", "99999999"])
def test_priorities_when_mistyped_then_usage_error(text: str) -> None:
    with pytest.raises(UsageError, match="--priority"):
        parse_priorities([text])


def test_applied_when_expressions_match_then_the_last_one_holds_and_all_are_of_the_group() -> None:
    _, priorities = parse_priorities(["td1=5", "td10=7"])
    found = Wishes(group="g", priorities=priorities).applied_to([planned(path) for path in ("td0", "td1", "td10")])
    assert [(one.path, one.priority, one.group) for one in found] == [
        ("td0", 0, "g"),
        ("td1", 5, "g"),
        ("td10", 7, "g"),
    ]


@pytest.mark.parametrize(
    ("priority", "nice", "expected"),
    [(0, 0, 0), (0, 500, 500), (-2, 0, 200), (-2, 500, 700), (3, 0, 0), (3, 500, 200), (9, 500, 0), (2, -50, -50)],
)
def test_nice_when_raised_then_never_below_what_users_may_have(priority: int, nice: int, expected: int) -> None:
    assert nice_of(priority, nice) == expected
    assert Wishes(priority=priority).applied_to_profile(Profile(nice=nice)).nice == expected


@pytest.mark.parametrize("name", ["a", "line-1.2_b", "-x", "007"])
def test_group_when_it_is_a_name_then_it_is_taken(name: str) -> None:
    assert check_group(name) == name


@pytest.mark.parametrize("name", ["", "a b", "a/b", "ü", "a\n", "$x"])
def test_group_when_it_is_none_then_usage_error(name: str) -> None:
    with pytest.raises(UsageError, match="--group"):
        check_group(name)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("+3h", NOW + 10800),
        ("+90m", NOW + 5400),
        ("+0.5d", NOW + 43200),
        ("18:00", datetime.datetime(2026, 11, 22, 18, 0).timestamp()),
        ("9:15", datetime.datetime(2026, 11, 23, 9, 15).timestamp()),
        ("17:30", datetime.datetime(2026, 11, 23, 17, 30).timestamp()),
        ("18:00:30", datetime.datetime(2026, 11, 22, 18, 0, 30).timestamp()),
        ("2026-11-23", datetime.datetime(2026, 11, 23).timestamp()),
        ("2026-11-23T08:00", datetime.datetime(2026, 11, 23, 8).timestamp()),
        ("2026-11-23 08:00:10", datetime.datetime(2026, 11, 23, 8, 0, 10).timestamp()),
    ],
)
def test_deadline_when_written_then_local_time(text: str, expected: float) -> None:
    assert parse_deadline(text, NOW) == expected


@pytest.mark.parametrize(
    "text", ["", "3h", "+3", "+h", "25:00", "18:60", "tomorrow", "2026-13-01", "2026-11-22T17:00", "+0m"]
)
def test_deadline_when_mistyped_or_over_then_usage_error(text: str) -> None:
    with pytest.raises(UsageError, match="--deadline"):
        parse_deadline(text, NOW)


def test_deadline_when_clocks_are_set_back_then_by_the_calendar(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TZ", "Europe/Berlin")
    time.tzset()
    try:
        evening = datetime.datetime(2026, 10, 24, 18, 30).timestamp()
        assert parse_deadline("18:00", evening) - evening == 24.5 * 3600
    finally:
        monkeypatch.undo()
        time.tzset()
