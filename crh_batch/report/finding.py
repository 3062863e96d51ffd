"""One thing that was tried, and whether it is fine; lists of such as text."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

FINE = "ok"
NOTE = "note"
CHANGE = "change"


@dataclass(frozen=True)
class Finding:
    """One thing that was tried.

    Args:
        level: FINE, NOTE or CHANGE.
        subject: what was tried, in a word or two.
        advice: what to do; empty where nothing need be done.
    """

    level: str
    subject: str
    text: str
    advice: str = ""

    def to_json(self) -> dict[str, str]:
        """Return the plain form."""
        return {"level": self.level, "subject": self.subject, "text": self.text, "advice": self.advice}


def is_fine(findings: Sequence[Finding]) -> bool:
    """Return whether nothing has to be changed."""
    return all(one.level != CHANGE for one in findings)


def findings_text(findings: Sequence[Finding]) -> str:
    """Return the findings as lines, what is to be changed last."""
    order = {FINE: 0, NOTE: 1, CHANGE: 2}
    width = max((len(one.subject) for one in findings), default=0)
    lines = []
    for one in sorted(findings, key=lambda one: order[one.level]):
        indented = one.text.replace("\n", "\n" + " " * (width + 10))
        lines.append(f"{one.level:6}  {one.subject:{width}}  {indented}")
        if one.advice:
            lines.append(f"{'':{width + 8}}  -> {one.advice}")
    return "\n".join(lines)
