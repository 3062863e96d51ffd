"""What a trial of a filesystem found, in words: one case each, and the verdict."""

from __future__ import annotations

from copy import deepcopy
from typing import Any

import pytest

from crh_batch.report.filesystem_words import (
    FIT,
    FIT_WITH_FILES,
    UNFIT,
    findings_alone,
    findings_together,
    verdict,
)
from crh_batch.report.finding import CHANGE, FINE, NOTE, Finding
from unit.report.filesystem_facts import ALONE, PARTIES


def changed(facts: dict[str, Any], changes: dict[str, Any]) -> dict[str, Any]:
    """Return a copy with some values replaced, those of inner dictionaries one by one."""
    copy = deepcopy(facts)
    for key, value in changes.items():
        copy[key] = {**copy[key], **value} if isinstance(value, dict) else value
    return copy


def judged(alone: dict[str, Any] | None = None, *parties: dict[str, Any], links: str = "symlink") -> list[Finding]:
    together = [changed(one, change) for one, change in zip(PARTIES, [*parties, {}, {}])]
    return [*findings_alone(changed(ALONE, alone or {})), *findings_together(together, links)]


def test_words_when_all_is_well_then_each_once_and_it_is_fit() -> None:
    findings = judged()
    assert {one.level for one in findings} == {FINE}
    assert verdict("symlink", findings) == FIT
    texts = {one.subject: one.text for one in findings}
    assert texts["names"] == "3 tried by 2 processes at once: 2, 1 won, none twice (3000 tries/s)"
    assert texts["holding"] == "3 times one of the processes held it alone, never two at once"
    assert texts["filesystem"].endswith(
        "in a listing 0.02 s, a name that was asked for too early 6 s, a replaced file 6.1 s"
    )


def test_words_when_something_is_never_seen_then_how_long_was_waited() -> None:
    first = {**deepcopy(PARTIES[0]), "there_and_back_s": {"asked": 1.0}}
    found = next(findings_together([first, PARTIES[1]], "symlink"))
    assert found.level == NOTE and "in a listing not within 45 s, a name that was asked for too early 1 s" in found.text


def test_words_when_names_are_files_then_what_links_do_is_told_and_no_obstacle() -> None:
    findings = judged({"kind": {"links": "file"}}, {"race_symlink": {"error": "Operation not permitted"}}, links="file")
    assert verdict("file", findings) == FIT_WITH_FILES
    assert [one.subject for one in findings if one.level == NOTE] == ["names", "symbolic links"]


@pytest.mark.parametrize(
    ("alone", "party", "subject", "level", "text"),
    [
        ({"kind": {"links": "", "error": "neither works"}}, {}, "names", CHANGE, "neither works"),
        ({"exclusive_error": "created exclusively twice"}, {}, "exclusive files", CHANGE, "twice"),
        ({"replace_error": "Permission denied"}, {}, "rename", CHANGE, "can't be replaced"),
        ({"modes_error": "has 0755"}, {}, "modes", CHANGE, "has 0755"),
        ({"execute_error": "Permission denied"}, {}, "programs", CHANGE, "no program can be started"),
        ({"sync": {"error": "Input/output error"}}, {}, "fsync", CHANGE, "Input/output error"),
        ({"filesystem": "tmpfs"}, {}, "fsync", NOTE, "lies in memory"),
        ({"link": {"most": 1, "error": "Operation not permitted"}}, {}, "hard links", NOTE, "none to be had"),
        ({"link": {"most": 41, "error": "No space"}}, {}, "hard links", FINE, "at most 41 to one file"),
        ({"names": {"refused": ["'a\\nb'"]}}, {}, "file names", NOTE, "'a\\nb'"),
        ({"room": {"bytes": 0}}, {}, "room", CHANGE, "0.0 GB"),
        ({"room": {"inodes": 0}}, {}, "room", CHANGE, "0 inodes"),
        ({"room": {"inodes": 500}}, {}, "room", NOTE, "that is little"),
        ({"room": {"inodes": -1}}, {}, "room", FINE, "50.0 GB free"),
        ({"clock": {"ahead_s": -3600.0}}, {}, "clock", NOTE, "3.6e+03 s behind this machine's"),
        ({"clock": {"whole_seconds": True}}, {}, "clock", NOTE, "whole seconds"),
        ({}, {"there_and_back_s": {"listed": 31.0}}, "filesystem", NOTE, "in a listing 31 s"),
        ({}, {"error": "it broke"}, "filesystem", CHANGE, "did not see each other's files: it broke"),
        ({}, {"race_symlink": {"won": [0, 1, 2]}}, "names", CHANGE, "1 were won by more than one and 0 by none"),
        ({}, {"race_symlink": {"won": [0]}}, "names", CHANGE, "0 were won by more than one and 1 by none"),
        ({}, {"race_created": {"won": [1]}}, "exclusive files", CHANGE, "1 were won by more than one and 2 by none"),
        ({}, {"race_file": {"error": "No space"}}, "linked files", CHANGE, "could not make names: No space"),
        ({}, {"held": [(2, 5.0, 6.0)]}, "holding", CHANGE, "1 were held by two processes; 0 overlapped"),
        ({}, {"held": [(1, 1.0, 2.5)]}, "holding", CHANGE, "0 were held by two processes; 1 overlapped"),
        ({}, {"boot_id": "another", "held": [(1, 1.0, 2.5)]}, "holding", FINE, "2 times"),
        ({}, {"replaced": {"missing": 1}}, "rename", CHANGE, "1 times it was not there"),
        ({}, {"replaced": {"partial": 2}}, "rename", CHANGE, "2 times it was a part"),
        ({}, {"replaced": {"stale": 2}}, "rename", NOTE, "2 times it could not be had for a moment"),
        ({}, {"appended": {"lost": 3}}, "appending", CHANGE, "3 are gone"),
    ],
)
def test_words_when_something_is_odd_then_it_is_said_and_judged(
    alone: dict[str, Any], party: dict[str, Any], subject: str, level: str, text: str
) -> None:
    findings = judged(alone, party)
    (found,) = [one for one in findings if one.subject == subject and (one.level, level) != (FINE, CHANGE)]
    assert found.level == level and text in found.text
    assert verdict("symlink", findings) == (UNFIT if level == CHANGE else FIT)
    assert bool(found.advice) is (level == CHANGE or subject == "filesystem")
