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
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

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
# Rounds go on side by side: most of their time is waiting.
SIDE_BY_SIDE = 3
SEED = int(os.environ.get("CRH_BATCH_SEED", "1"))

SUBMIT = ("submit", "--engine", "local", "-j2")
COLLECT = ("collect",)
GO_ON = (
    ("run", "-j2"),
    ("submit", "--engine", "local", "--wait", "--collect"),
)


def _duration_s(crh: Crh, arguments: tuple[str, ...], surveys: list[Survey]) -> float:
    """Return how long a command takes: the middle one of some measurements, for other work may be in the way."""
    durations = []
    for survey in surveys:
        began = time.monotonic()
        crh(*arguments, cwd=survey.root)
        durations.append(time.monotonic() - began)
    return statistics.median(durations)


def _killed(arguments: tuple[str, ...], cwd: Path, after_s: float, env: dict[str, str]) -> bool:
    """Start a command and kill it after some time; return whether it was still at work then."""
    process = subprocess.Popen(
        crh_argv(*arguments),
        cwd=cwd,
        env={**os.environ, **env},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    time.sleep(after_s)
    process.kill()
    return process.wait() != 0


def _kill_at_moments(
    place: Path, template: Survey, crh: Crh, command: tuple[str, ...], afters: tuple[tuple[str, ...], ...]
) -> None:
    """Kill a command at each moment, each time in a fresh copy, go on with one more command, and look."""
    duration_s = _duration_s(crh, command, [template.copy(place / f"measured{number}") for number in range(3)])

    def one_round(number: int, after_s: float) -> tuple[bool, list[str]]:
        survey = template.copy(place / f"survey{number:02d}")
        scratch = place / f"scratch{number:02d}"
        scratch.mkdir()
        env = {"TMPDIR": str(scratch)}
        at_work = _killed(command, survey.root, after_s, env)
        after = afters[number % len(afters)]
        done = crh(*after, cwd=survey.root, code=None, env=env)
        wait_for_quiet(survey.root)
        wait_for_empty(scratch)
        found = problems_of(survey, once=True)
        if done.returncode:
            found.append(f"exit code {done.returncode}: {done.stderr}")
        what = f"seed {SEED}: killed after {after_s:.3f} of {duration_s:.3f} s ({at_work=}), then {' '.join(after)}"
        print(what)
        return at_work, [f"{what}: {problem}" for problem in found]

    with ThreadPoolExecutor(SIDE_BY_SIDE) as pool:
        rounds = list(pool.map(one_round, range(KILLS), moments(KILLS, duration_s, random.Random(SEED))))
    problems = [problem for _, found in rounds for problem in found]
    assert not problems, "\n".join(problems)
    assert sum(at_work for at_work, _ in rounds) > KILLS / 3, "many moments lie before the command's end"


@pytest.mark.long
def test_submit_killed_at_25_moments(place: Path, programs: Path, crh: Crh) -> None:
    template = make_survey(place / "template", TOMODIRS, programs)
    _kill_at_moments(place, template, crh, SUBMIT, GO_ON)


@pytest.mark.long
def test_collect_killed_at_25_moments(place: Path, programs: Path, crh: Crh) -> None:
    template = make_survey(place / "template", TOMODIRS, programs)
    crh(*SUBMIT, "--wait", cwd=template.root)
    wait_for_quiet(template.root)
    _kill_at_moments(place, template, crh, COLLECT, (*GO_ON, COLLECT))
