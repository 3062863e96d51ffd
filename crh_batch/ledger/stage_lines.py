"""A stage as items.jsonl describes it: the form that pilots and collect rely on, paths above all."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from crh_batch.ledger.paths import MAX_ITEMS
from crh_batch.ledger.reading import any_number, inside, text, whole_number

# It becomes part of a file's name in the tomodir (exe/crh.<stage>.out).
_WORD = re.compile(r"[\w-]+\Z")


def checked_stage(stage: Any) -> Mapping[str, Any]:
    """Return a stage that is of the known form: what it writes lies in the tomodir, what it reads has plain names.

    Keys that are not known are a newer version's, and are left as they are.

    Raises:
        ValueError, KeyError, TypeError, AttributeError: it isn't.
    """
    if not _WORD.match(stage["stage"]):
        raise ValueError("the name of a stage is no word")
    text(stage["program"])
    text(stage["judge"])
    for name in _texts(stage["inputs"]):
        text(name)
    for path in (stage["directory"], *_texts(stage["make_dirs"]), *_texts(stage.get("inv_dirs", []))):
        inside(path)
    inside(stage.get("result") or "")
    whole_number(stage.get("wavenumbers", 0))
    text(stage.get("dims", ""))
    for name, (item_id, member) in (stage.get("sources") or {}).items():
        text(name)
        whole_number(item_id, 0, MAX_ITEMS - 1)
        inside(member)
    for value in (stage.get("size") or {}).values():
        if not isinstance(value, bool):
            any_number(value)
    return stage  # type: ignore[no-any-return]


def _texts(value: Any) -> list[Any]:
    # A text is a list of letters, too, and would pass for names.
    if not isinstance(value, list):
        raise ValueError("not a list")
    return value
