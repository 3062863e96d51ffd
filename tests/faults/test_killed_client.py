"""Promise: a client that is killed at any moment loses nothing; one more command, whichever, and all is well.

The moments are drawn at random in equal parts of the command's own duration, measured just before. Draw others with
CRH_BATCH_SEED.
"""

from __future__ import annotations

import os
import random
import statistics
import subprocess
import time
from pathlib import Path

from conftest import Crh
from faults.surveys import (
    Survey,
    crh_argv,
    make_survey,
    moments,
    problems_of,
    wait_for_empty,
    wait_for_quiet,
)

TOMODIRS = 30
KILLS = 25
SEED = int(os.environ.get("CRH_BATCH_SEED", "1"))

GO_ON = (
    ("run", "-j2"),
    ("submit", "--engine", "local", "--wait", "--collect"),
)


def _killed(arguments: tuple[str, ...], cwd: Path, after_s: float) -> bool:
    """Start a command and kill it after some time; return whether it was still at work then."""
    process = subprocess.Popen(
        crh_argv(*arguments), cwd=cwd, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    time.sleep(after_s)
    process.kill()
    return process.wait() != 0


def _duration_s(crh: Crh, arguments: tuple[str, ...], surveys: list[Survey]) -> float:
    """Return how long a command takes: the middle one of some measurements, for other work may be in the way."""
    durations = []
    for survey in surveys:
        began = time.monotonic()
        crh(*arguments, cwd=survey.root)
        durations.append(time.monotonic() - began)
    return statistics.median(durations)


def _go_on(crh: Crh, survey: Survey, arguments: tuple[str, ...], place: Path, what: str) -> list[str]:
    """Run one more command, and return what is wrong then."""
    done = crh(*arguments, cwd=survey.root, code=None)
    wait_for_quiet(survey.root)
    wait_for_empty(place / "scratch")
    found = problems_of(survey, once=True)
    if done.returncode:
        found.append(f"exit code {done.returncode}: {done.stderr}")
    return [f"{what}, then {' '.join(arguments)}: {problem}" for problem in found]


def test_submit_killed_at_25_moments(place: Path, programs: Path, crh: Crh) -> None:
    template = make_survey(place / "template", TOMODIRS, programs)
    submit = ("submit", "--engine", "local", "-j2")
    measured = [template.copy(place / f"measured{number}") for number in range(3)]
    duration_s = _duration_s(crh, submit, measured)
    for survey in measured:
        assert not _go_on(crh, survey, GO_ON[0], place, "not killed")

    killed = 0
    problems = []
    for number, after_s in enumerate(moments(KILLS, duration_s, random.Random(SEED))):
        survey = template.copy(place / f"survey{number:02d}")
        at_work = _killed(submit, survey.root, after_s)
        killed += at_work
        what = f"seed {SEED}: submit killed after {after_s:.3f} of {duration_s:.3f} s ({at_work=})"
        print(what)
        problems += _go_on(crh, survey, GO_ON[number % 2], place, what)
    assert not problems, "\n".join(problems)
    assert killed > KILLS / 3, "many moments lie before the command's end"


def test_collect_killed_at_25_moments(place: Path, programs: Path, crh: Crh) -> None:
    template = make_survey(place / "template", TOMODIRS, programs)
    crh("submit", "--engine", "local", "-j2", "--wait", cwd=template.root)
    wait_for_quiet(template.root)
    measured = [template.copy(place / f"measured{number}") for number in range(3)]
    duration_s = _duration_s(crh, ("collect",), measured)
    assert not [problem for survey in measured for problem in problems_of(survey, once=True)]

    killed = 0
    problems = []
    go_on = (*GO_ON, ("collect",))
    for number, after_s in enumerate(moments(KILLS, duration_s, random.Random(SEED))):
        survey = template.copy(place / f"survey{number:02d}")
        at_work = _killed(("collect",), survey.root, after_s)
        killed += at_work
        what = f"seed {SEED}: collect killed after {after_s:.3f} of {duration_s:.3f} s ({at_work=})"
        print(what)
        problems += _go_on(crh, survey, go_on[number % 3], place, what)
    assert not problems, "\n".join(problems)
    assert killed > KILLS / 3, "many moments lie before the command's end"
