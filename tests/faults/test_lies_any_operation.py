"""Promise: any operation on a file may fail; the command says so, and ordinary commands finish everything.

Each operation of each command is met by an error: once, or from then on (erring.py). Tried here is every so many; all
of them with CRH_BATCH_EVERY=1, as `make lies` does.
"""

from __future__ import annotations

import errno
import os
import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from faults.erring import Struck, Trouble, go_through
from faults.fakes import make_fake_survey, spec_of, write_fakes
from faults.killing import Command, Plan, prepare
from faults.surveys import Survey, problems_of, wait_for_empty, wait_for_quiet
from faults.test_kill_points import register

EVERY = int(os.environ.get("CRH_BATCH_EVERY", "7"))
# How changes fail: no room, no quota, a broken disk or soft mount, a server that forgot, a filesystem gone read-only.
ERRORS = ("ENOSPC", "EDQUOT", "EIO", "ESTALE", "EROFS")
SUBMIT = ("submit", "--engine", "local", "-j1")
ARRAY = ("submit", "--engine", "array")
PILOT = ("@pilot", "--cores", "1")
FINISH = ("submit", "--engine", "local", "--wait")
RUN = ("run", "-j1")
COLLECT = ("collect",)
KINDS = {
    "change": ERRORS,
    "read": ("EIO", "ESTALE"),
    "works": ("EIO", "EEXIST"),
    "close": ("EDQUOT", "EIO"),
}
# What is done before, what meets the error, what finishes it then.
LIVES: dict[str, tuple[Sequence[Command], Command, Sequence[Command]]] = {
    "submit": ((), SUBMIT, (RUN,)),
    "submit to a scheduler": ((), ARRAY, (ARRAY, ("@jobs",), ARRAY, ("@jobs",), COLLECT)),
    "pilot": ((("@register",)), PILOT, (RUN,)),
    "wait": ((SUBMIT,), FINISH, (RUN,)),
    "collect": ((FINISH,), COLLECT, (COLLECT,)),
    "hold": ((("@register",)), ("hold",), (("release",), RUN)),
    "hold one": ((("@register",)), ("hold", "line1/td00"), (("release",), RUN)),
    "release": (("@register", ("hold",)), ("release",), (("release",), RUN)),
    "cancel": ((("@register",)), ("cancel",), (("cancel",), RUN)),
    "retry": ((("@register",), ("cancel",)), ("retry", "--failed", "--engine", "local"), (("retry",), RUN)),
    "status": ((("@register",)), ("status",), (RUN,)),
}


@pytest.fixture
def bench(place: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Path, Path]:
    """A place, and the stand-ins for the programs."""
    fakes = write_fakes(place / "fakes")
    monkeypatch.setenv("CRH_BATCH_FAKES", str(fakes))
    return place, fakes


_TEMPORARY = re.compile(r"left over: \S*/\.crh-[^/]*\Z")
_TEMPORARY_OR_CRH = re.compile(r"left over: \S*(/\.crh-[^/]*|\.crh)\Z")

# Not under `long`: the lives that all others are made of.
_SHORT = {("submit", "change"), ("pilot", "change"), ("collect", "change"), ("pilot", "works"), ("collect", "works")}
_ALL = [
    pytest.param(life, kind, lasting, id=f"{life}-{kind}-{'for good' if lasting else 'once'}", marks=marks)
    for life in LIVES
    for kind in KINDS
    for lasting in (False, True)
    for marks in [[] if (life, kind) in _SHORT else [pytest.mark.long]]
]


@pytest.mark.parametrize(("life", "kind", "lasting"), _ALL)
def test_any_operation_may_fail(bench: tuple[Path, Path], life: str, kind: str, lasting: bool) -> None:
    place, fakes = bench
    before, command, way = LIVES[life]
    scheduler = "slurm" if command is ARRAY else "local"
    survey = make_fake_survey(place / "template", fakes, [spec_of(1), spec_of(2)], scheduler=scheduler)
    plan = Plan(str(survey.root), str(place / "points"), command, (way,))
    for step in before:
        if step in ("@register", ("@register",)):
            register(survey.root)
        else:
            prepare(plan, step)
    wait_for_quiet(survey.root)
    trouble = Trouble(str(survey.root), plan.base, command, way, kind, KINDS[kind], lasting=lasting, step=EVERY)
    Path(plan.base).mkdir()
    found = go_through(trouble)
    wait_for_quiet(Path(plan.base))
    problems = [
        f"{one.error} at {one.number}, {one.operation}: {what}" for one in found for what in _wrong(one, survey, plan)
    ]
    print(f"{len(found)} operations of {' '.join(command)}")
    assert not problems, "\n".join(problems)
    wait_for_empty(place / "scratch")
    assert found or command == ("status",), "status changes nothing"


def _wrong(one: Struck, survey: Survey, plan: Plan) -> list[str]:
    """Return what is wrong with how an error was met, and with what came of it."""
    wrong = []
    if "Traceback" in one.said + one.later:
        wrong.append(f"a traceback: {one.said} {one.later}")
    # 2: what can't be looked at may look like a wrong argument, or a faulty profile.
    if one.exit_code not in (0, 1, 2, 3):
        wrong.append(f"exit code {one.exit_code}: {one.said}")
    # EEXIST is told in words of its own.
    known = one.error == "EEXIST"
    if (
        one.exit_code == 3
        and not known
        and (os.strerror(getattr(errno, one.error)) not in one.said or "/" not in one.said)
    ):
        wrong.append(f"doesn't say what and where: {one.said}")
    if one.later_code:
        wrong.append(f"not finished afterwards, exit code {one.later_code}: {one.later}")
    found = problems_of(replace(survey, root=Path(plan.base, str(one.number))), replaces=True)
    # A temporary directory that could not be removed stays, and a .crh that could not be looked at: verify --fix.
    unseen = one.operation.startswith(("lstat", "stat", "open", "list"))
    left = _TEMPORARY_OR_CRH if unseen else _TEMPORARY
    return wrong + [what for what in found if not left.search(what)]
