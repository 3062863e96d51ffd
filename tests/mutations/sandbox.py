"""A copy of the package and its tests in which things may be broken, and pytest run on it."""

from __future__ import annotations

import contextlib
import itertools
import os
import shutil
import subprocess
import sys
import time
import xml.etree.ElementTree as ET
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from mutations.mutation import Mutation

PROJECT = Path(__file__).resolve().parents[2]
_COPIED = ("crh_batch", "jobscripts", "tests", "docs", "pyproject.toml", "README.md", "Makefile")
_TEST_TIMEOUT_S = 100
# What a change shows that is no more than nonsense: the test fails, but not because a promise was broken.
_NONSENSE = ("ImportError", "ModuleNotFoundError", "SyntaxError", "NameError", "UnboundLocalError", "IndentationError")
# Each file that is written gets a time of its own: a .pyc file is taken for current by time and size.
_moments = itertools.count(int(time.time()) - 10_000_000)


@dataclass(frozen=True)
class Ran:
    """What pytest said.

    Args:
        passed: how many tests.
        failed: names of those that failed as tests do.
        nonsense: why a failure proves nothing; empty if there is no such.
        seconds: how long it took, pytest's own start included.
        why: what the first failure says.
    """

    passed: int
    failed: tuple[str, ...]
    nonsense: str
    seconds: float
    why: str = ""


def copy_project(target: Path) -> None:
    """Copy what the tests need, as it is now."""
    target.mkdir(parents=True)
    ignored = shutil.ignore_patterns("__pycache__", ".*")
    for name in _COPIED:
        source = PROJECT / name
        if source.is_dir():
            shutil.copytree(source, target / name, ignore=ignored, symlinks=True)
        else:
            shutil.copy2(source, target / name)


class Sandbox:
    """One copy; used by one thread."""

    def __init__(self, original: Path, directory: Path) -> None:
        self._original = original
        self._directory = directory
        shutil.copytree(original, directory, symlinks=True)

    @property
    def package(self) -> Path:
        """The package that is broken."""
        return self._directory / "crh_batch"

    @contextlib.contextmanager
    def broken_by(self, mutation: Mutation) -> Iterator[None]:
        """Apply a mutation for a while."""
        path = self.package / mutation.file
        mutation.apply(self.package)
        self._date(path)
        try:
            yield
        finally:
            shutil.copyfile(self._original / "crh_batch" / mutation.file, path)
            self._date(path)

    def run(self, tests: Sequence[str], *, all_of_them: bool = True, timeout_s: float = 300.0) -> Ran:
        """Run tests against this copy, its own processes and theirs.

        Args:
            tests: relative to ``tests/``.
            all_of_them: whether to go on after the first that fails.
            timeout_s: seconds for all of them: a mutation that makes something wait for ever must not stop the others.
        """
        report = self._directory / "report.xml"
        report.unlink(missing_ok=True)
        base = self._directory / "tmp"
        argv = [sys.executable, "-m", "pytest", "-q", "-p", "no:randomly", "-p", "no:cacheprovider"]
        argv += [f"--timeout={_TEST_TIMEOUT_S}", f"--basetemp={base}", f"--junitxml={report}", "--tb=short"]
        argv += [] if all_of_them else ["-x"]
        environment = {**os.environ, "PYTHONPATH": str(self._directory)}
        began = time.monotonic()
        try:
            done = subprocess.run(
                [*argv, *(f"tests/{one}" for one in tests)],
                cwd=self._directory,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                errors="replace",
                timeout=timeout_s,
                check=False,
            )
            said = done.stdout
        except subprocess.TimeoutExpired:
            said = f"pytest did not end within {timeout_s:.0f} s"
        seconds = time.monotonic() - began
        shutil.rmtree(base, ignore_errors=True)
        return _read(report, said, seconds)

    def _date(self, path: Path) -> None:
        moment = next(_moments)
        os.utime(path, (moment, moment))


def _read(report: Path, said: str, seconds: float) -> Ran:
    try:
        cases = list(ET.parse(report).getroot().iter("testcase"))
    except (OSError, ET.ParseError):
        return Ran(0, (), f"pytest left no report:\n{said[-3000:]}", seconds)
    passed = 0
    failed: list[str] = []
    nonsense = why = ""
    for case in cases:
        name = f"{case.get('classname')}::{case.get('name')}"
        failure, error = case.find("failure"), case.find("error")
        if error is not None:
            nonsense = nonsense or f"{name}: not even begun, or not ended well: {error.text or error.get('message')}"
        elif failure is not None:
            text = f"{failure.get('message')}\n{failure.text}"
            word = next((one for one in _NONSENSE if f"{one}:" in text), "")
            if word:
                nonsense = nonsense or f"{name}: failed for another reason ({word}): {text}"
            else:
                failed.append(name)
                why = why or text
        elif case.find("skipped") is None:
            passed += 1
    if not cases:
        nonsense = nonsense or f"no such test:\n{said[-3000:]}"
    return Ran(passed, tuple(failed), nonsense, seconds, why)
