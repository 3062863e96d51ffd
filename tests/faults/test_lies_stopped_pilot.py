"""Promise: a pilot that stands still at any of its changes, is taken for dead, and goes on, does no harm.

It stops itself (SIGSTOP) before each of its changes in turn, in the middle of a pack's append and of a commit, too. The
scheduler says that its node has failed; ordinary commands have its tomodirs run by another pilot and collect them. Then
it goes on.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from faults import killing
from faults.fakes import make_fake_survey, spec_of, write_fakes
from faults.killing import Plan, prepare
from faults.surveys import problems_of, wait_for_empty, wait_for_quiet

ARRAY = ("submit", "--engine", "array")
WITHOUT_IT = (("@over",), ARRAY, ("@jobs",), ("collect",))
STEP = int(os.environ.get("CRH_BATCH_EVERY", "2"))


def test_pilot_that_stood_still_goes_on_and_does_no_harm(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fakes = write_fakes(place / "fakes")
    monkeypatch.setenv("CRH_BATCH_FAKES", str(fakes))
    survey = make_fake_survey(place / "template", fakes, [spec_of(1), spec_of(2)], scheduler="slurm")
    prepare(Plan(str(survey.root), str(place / "points"), ARRAY, ()), ARRAY)
    (place / "points").mkdir()

    # Not as a script: another conftest would stand beside it.
    words = "import sys; from faults.test_lies_stopped_pilot import drive; sys.exit(drive(*sys.argv[1:]))"
    argv = [sys.executable, "-c", words, str(survey.root), str(place / "points")]
    driver = subprocess.run(argv, env=killing.environment(), cwd="/", capture_output=True, text=True, check=False)
    assert driver.returncode == 0, driver.stderr
    stops = [json.loads(line) for line in driver.stdout.splitlines()]
    wait_for_quiet(place / "points")
    problems = []
    for number, event, code, said in stops:
        found: list[object] = list(problems_of(replace(survey, root=place / "points" / str(number))))
        if code not in (0, 3) or "Traceback" in said:
            found.append(f"exit code {code}: {said}")
        problems += [f"stopped before {event}: {what}" for what in found]
    assert not problems, "\n".join(problems)
    wait_for_empty(place / "scratch")
    events = "\n".join(event for _, event, _, _ in stops)
    print(f"{len(stops)} stops")
    assert len(stops) >= 20 / STEP
    if STEP == 1:
        assert "second half of write .crh-batch" in events and ".done" in events


def drive(template: str, points: str) -> int:
    """Stop a pilot at each change in turn, in copies of a template; say what came of it in lines of JSON."""
    import faults.in_forks as forks

    forks.quicken(one_thread=True)
    base = Path(points)
    number = 1
    while True:
        tree = base / str(number)
        shutil.copytree(template, tree, symlinks=True)
        shutil.copytree(f"{template}.cluster", f"{tree}.cluster")
        event = base / f"{number}.event"
        pilot = killing._start(("@job",), tree, _stopping(number, event))
        _, status = os.waitpid(pilot, os.WUNTRACED)
        if not os.WIFSTOPPED(status):
            return 0
        for command in WITHOUT_IT:
            assert killing._wait(killing._start(command, tree)) == 0, Path(f"{tree}.said").read_text()
        before = Path(f"{tree}.said").read_text()
        os.kill(pilot, signal.SIGCONT)
        code = killing._wait(pilot)
        said = Path(f"{tree}.said").read_text().removeprefix(before)
        print(json.dumps([number, event.read_text(), code, said]), flush=True)
        number += STEP


def _stopping(last: int, report: Path) -> Callable[[str], None]:
    count = 0

    def on_point(event: str) -> None:
        nonlocal count
        count += 1
        if count == last:
            report.write_text(event)
            os.kill(os.getpid(), signal.SIGSTOP)

    return on_point
