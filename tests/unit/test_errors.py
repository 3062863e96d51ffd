"""Every error: in the drawn tree, printed once, carried between processes whole, with an exit code."""

from __future__ import annotations

import inspect
import pickle
import re
from collections.abc import Iterator
from typing import Any

import pytest

from crh_batch import errors
from crh_batch.errors import CrhBatchError


def below(kind: type[CrhBatchError]) -> Iterator[type[CrhBatchError]]:
    for one in kind.__subclasses__():
        yield one
        yield from below(one)


# Those that a module keeps to itself are caught in it.
ALL: list[type[CrhBatchError]] = [
    CrhBatchError,
    *(kind for kind in below(CrhBatchError) if not kind.__name__.startswith("_")),
]
# A value for each argument that any of them takes.
VALUES: dict[str, Any] = {
    "message": "td07: what is wrong",
    "next_step": "What to do.",
    "path": "/s/td07",
    "line": 13,
    "registrant": "somebody on node-07",
    "offset": 4096,
    "found": 7,
    "known": 1,
    "holder": "somebody on node-08",
    "argv": ("sbatch", "x.sh"),
    "exit_status": 1,
    "stdout": "out",
    "stderr": "err",
    "host": "login",
    "program": "CRTomo",
    "file": "/s/crh-batch.toml",
    "key": "partition",
}


def make(kind: type[CrhBatchError]) -> tuple[CrhBatchError, dict[str, Any]]:
    names = list(inspect.signature(kind).parameters)
    given = {name: VALUES[name] for name in names}
    return kind(**given), given


def drawn_tree() -> dict[str, str]:
    """Each error in the module's docstring with the one that it is drawn below."""
    parents: dict[str, str] = {}
    above: list[tuple[int, str]] = []
    drawing = (errors.__doc__ or "").split("::\n", 1)[1]
    for line in drawing.splitlines():
        match = re.match(r"( {4,})([A-Z]\w+)", line)
        if match is None:
            if line and not line.startswith(" "):
                break
            continue
        depth, name = len(match.group(1)), match.group(2)
        above = [one for one in above if one[0] < depth]
        parents[name] = above[-1][1] if above else "Exception"
        above.append((depth, name))
    return parents


def test_tree_when_drawn_in_the_docstring_then_it_is_the_tree_of_classes() -> None:
    assert drawn_tree() == {kind.__name__: kind.__bases__[0].__name__ for kind in ALL}


@pytest.mark.parametrize("kind", ALL, ids=lambda kind: kind.__name__)
def test_error_when_made_then_message_and_next_step_are_printed_once(kind: type[CrhBatchError]) -> None:
    error, _ = make(kind)
    assert str(error) == "td07: what is wrong\n  What to do."
    assert str(kind("only this")) == "only this"


@pytest.mark.parametrize("kind", ALL, ids=lambda kind: kind.__name__)
def test_error_when_pickled_then_every_field_survives(kind: type[CrhBatchError]) -> None:
    error, given = make(kind)
    copy = pickle.loads(pickle.dumps(error))
    assert type(copy) is kind
    assert str(copy) == str(error)
    for one in (error, copy):
        assert {name: getattr(one, name) for name in given} == given


@pytest.mark.parametrize("kind", ALL, ids=lambda kind: kind.__name__)
def test_error_when_it_ends_a_command_then_its_exit_code_is_a_documented_one(kind: type[CrhBatchError]) -> None:
    error, _ = make(kind)
    assert error.exit_code in (1, 2, 3)


@pytest.mark.parametrize(
    ("kind", "exit_code"),
    [
        (errors.TomodirError, 1),
        (errors.ProfileError, 2),
        (errors.UsageError, 2),
        (errors.BatchNotFound, 2),
        (errors.LedgerError, 3),
        (errors.Busy, 3),
        (errors.SchedulerError, 3),
        (errors.Unreachable, 3),
        (errors.HostError, 3),
        (errors.ProgramMissing, 3),
    ],
)
def test_exit_code_when_a_kind_ends_a_command_then_as_the_tree_says(kind: type[CrhBatchError], exit_code: int) -> None:
    assert make(kind)[0].exit_code == exit_code
