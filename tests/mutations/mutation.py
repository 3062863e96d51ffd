"""One way to break the product on purpose, and the tests that must notice it."""

from __future__ import annotations

import ast
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Mutation:
    """A change of one file that breaks one promise.

    Args:
        name: a few words, unique.
        invariant: what the product promises.
        broken: how it is broken here.
        file: relative to the package's directory.
        edits: old and new text; the old one must be there exactly once.
        tests: pytest's names of those that must notice it, relative to ``tests/``; each of them alone.
    """

    name: str
    invariant: str
    broken: str
    file: str
    edits: tuple[tuple[str, str], ...]
    tests: tuple[str, ...]

    def problem(self, package: Path) -> str:
        """Return why it can't be applied to a package as it is now; empty if it can."""
        path = package / self.file
        if not path.is_file():
            return f"{self.name}: {self.file} is gone"
        text = path.read_text(encoding="utf-8")
        for old, new in self.edits:
            if text.count(old) != 1:
                return f"{self.name}: in {self.file} this text is {text.count(old)} times, not once:\n{old}"
            text = text.replace(old, new)
        try:
            ast.parse(text, self.file)
        except SyntaxError as error:
            return f"{self.name}: {self.file} is no Python any more: {error}"
        return ""

    def apply(self, package: Path) -> None:
        """Change the file; ``problem`` must have been empty."""
        path = package / self.file
        text = path.read_text(encoding="utf-8")
        for old, new in self.edits:
            text = text.replace(old, new)
        path.write_text(text, encoding="utf-8")
