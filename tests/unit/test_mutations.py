"""The mutations (tests/mutations) still fit the code and the tests that they name; `make mutations` runs them."""

from __future__ import annotations

import re
from collections import Counter
from functools import cache
from pathlib import Path

from mutations.mutation import Mutation
from mutations.report import PAGE, page_with_table
from mutations.sandbox import PROJECT
from mutations.table import CANARIES, MUTATIONS

PACKAGE = PROJECT / "crh_batch"


@cache
def _tests_in(path: Path) -> frozenset[str]:
    return frozenset(re.findall(r"^def (test_\w+)", path.read_text(encoding="utf-8"), re.MULTILINE))


def test_mutations_when_applied_to_the_code_as_it_is_then_each_finds_its_text_once() -> None:
    assert [problem for one in (*CANARIES, *MUTATIONS) if (problem := one.problem(PACKAGE))] == []


def test_mutations_when_listed_then_each_has_its_name_and_tests_that_exist() -> None:
    names = Counter(one.name for one in MUTATIONS)
    assert [name for name, count in names.items() if count > 1] == []
    missing = []
    for one in (*CANARIES, *MUTATIONS):
        assert one.tests, one.name
        for test in one.tests:
            file, _, name = test.partition("::")
            path = PROJECT / "tests" / file
            if not path.is_file() or name.partition("[")[0] not in _tests_in(path):
                missing.append(test)
    assert missing == []


def test_mutation_when_its_text_is_not_there_once_then_it_says_so(tmp_path: Path) -> None:
    (tmp_path / "one.py").write_text("a = 1\nb = 1\nc = 2\n")

    def problem(old: str, new: str, file: str = "one.py") -> str:
        return Mutation("it", "", "", file, ((old, new),), ()).problem(tmp_path)

    assert problem("c = 2", "c = 3") == ""
    assert "0 times" in problem("d = 1", "d = 2")
    assert "2 times" in problem("= 1", "= 2")
    assert "no Python" in problem("c = 2", "c = = 2")
    assert "is gone" in problem("c = 2", "c = 3", "other.py")


def test_page_when_compared_then_it_has_the_mutations_as_they_are() -> None:
    page = PAGE.read_text(encoding="utf-8")
    assert page == page_with_table(page), "run: make mutations-table"
