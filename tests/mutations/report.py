"""The table of docs/reliability.md, made from the mutations: ``python -m mutations.report`` writes it there."""

from __future__ import annotations

import sys
from itertools import groupby
from pathlib import Path

from mutations.mutation import Mutation
from mutations.sandbox import PROJECT
from mutations.table import GROUPS, MUTATIONS

PAGE = PROJECT / "docs" / "reliability.md"
_BEGIN, _END = "<!-- mutations -->\n", "<!-- end mutations -->"


def table() -> str:
    """Return the table in Markdown, one part for each group."""
    lines = [f"{len(MUTATIONS)} changes:"]
    for title, mutations in GROUPS:
        lines += ["", f"**{title}**", "", "| promise | broken so | noticed by |", "|---|---|---|"]
        for (invariant, file), same in groupby(mutations, lambda one: (one.invariant, one.file)):
            listed = list(same)
            broken = "; ".join(dict.fromkeys(one.broken for one in listed))
            lines.append(f"| {invariant} | `{file}`: {_plain(broken)} | {_noticed_by(listed)} |")
    return "\n".join([*lines, ""])


def _noticed_by(mutations: list[Mutation]) -> str:
    tests = dict.fromkeys(test for one in mutations for test in one.tests)
    return "<br>".join(f"`{test.removeprefix('unit/')}`" for test in tests)


def _plain(text: str) -> str:
    return text.replace("|", "\\|")


def page_with_table(page: str) -> str:
    """Return the page with the table between its two marks."""
    before, _, rest = page.partition(_BEGIN)
    _, _, after = rest.partition(_END)
    return f"{before}{_BEGIN}{table()}{_END}{after}"


def main() -> int:
    """Write the table into the page."""
    Path(PAGE).write_text(page_with_table(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
