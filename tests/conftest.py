"""What all tests share: real programs, the command line as a user runs it, waiting with a deadline."""

from __future__ import annotations

import hashlib
import importlib.util
import os
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import hypothesis
import pytest

sys.path.insert(0, str(Path(__file__).parent))

# Machines are shared and busy: how long an example takes says nothing.
hypothesis.settings.register_profile("unhurried", deadline=None)
hypothesis.settings.load_profile("unhurried")

IN_CI = os.environ.get("CI") == "true"


def skip_or_fail(reason: str) -> None:
    """Skip a test whose surroundings are missing; in CI they must not be."""
    if IN_CI:
        pytest.fail(f"in CI this must not be missing: {reason}")
    pytest.skip(reason)


@pytest.fixture(scope="session")
def programs() -> Path:
    """The directory of the real CRMod_stable and CRTomo_stable, checked to start."""
    spec = importlib.util.find_spec("crtomo_bin_wrapper")
    if spec is None or not spec.submodule_search_locations:
        skip_or_fail("the package crtomo-bin-wrapper is not installed")
    assert spec is not None and spec.submodule_search_locations
    directory = Path(spec.submodule_search_locations[0]) / "binaries"
    done = subprocess.run([directory / "CRMod_stable"], cwd="/", capture_output=True, check=False)
    if done.returncode == 127:
        skip_or_fail("libgfortran5 is not installed")
    return directory


@pytest.fixture(autouse=True)
def _own_surroundings(monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory) -> None:
    """Keep the user's profile, scheduler and job variables out of the tests, and scratch directories in one place."""
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path_factory.mktemp("config")))
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path_factory.mktemp("state")))
    monkeypatch.setenv("PATH", f"{Path(sys.executable).parent}:{os.environ['PATH']}")
    for name in list(os.environ):
        if name.startswith(("SLURM_", "SGE_", "OMP_")):
            monkeypatch.delenv(name)


# Starts a command under another host name (root only): to it, processes of this machine are another machine's.
ON_ANOTHER_HOST = ("unshare", "--uts", "sh", "-c", 'hostname login1 && exec "$@"', "sh")

Crh = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture
def crh() -> Crh:
    """Run `crh-batch` as a user does: crh("run", "-j2", cwd=survey). Fails on a traceback, and on an unexpected code.

    ``code`` is the exit code that must come, None for any; 0 by default. ``local`` (default) makes sure that no
    scheduler of this machine is used. ``prefix`` is what the command is started by, such as ON_ANOTHER_HOST.
    """

    def run(
        *arguments: str | Path,
        cwd: Path,
        code: int | None = 0,
        local: bool = True,
        timeout_s: float = 120.0,
        env: dict[str, str] | None = None,
        prefix: Sequence[str] = (),
    ) -> subprocess.CompletedProcess[str]:
        surroundings = {**os.environ, **(env or {})}
        if local:
            (Path(surroundings["XDG_CONFIG_HOME"]) / "crh-batch").mkdir(parents=True, exist_ok=True)
            (Path(surroundings["XDG_CONFIG_HOME"]) / "crh-batch" / "profile.toml").write_text('scheduler = "local"\n')
        done = subprocess.run(
            [*prefix, sys.executable, "-m", "crh_batch", *(os.fspath(argument) for argument in arguments)],
            cwd=cwd,
            env=surroundings,
            capture_output=True,
            text=True,
            errors="surrogateescape",
            timeout=timeout_s,
            check=False,
        )
        said = f"{arguments}: exit {done.returncode}\n--- stdout\n{done.stdout}\n--- stderr\n{done.stderr}"
        assert "Traceback" not in done.stderr, said
        assert code is None or done.returncode == code, said
        return done

    return run


def wait_until(what: str, predicate: Callable[[], object], *, timeout_s: float = 30.0, pause_s: float = 0.02) -> object:
    """Wait for something to become true and return it; fail with ``what`` after a deadline."""
    deadline = time.monotonic() + timeout_s
    while True:
        answer = predicate()
        if answer:
            return answer
        if time.monotonic() > deadline:
            pytest.fail(f"not within {timeout_s} s: {what} (last: {answer!r})")
        time.sleep(pause_s)


def tree_sums(directory: Path, skip: Sequence[str] = ()) -> dict[str, str]:
    """Return the sha256 of every file below a directory, by relative path; links are not followed."""
    return {
        str(path.relative_to(directory)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(directory.rglob("*"))
        if path.is_file() and not path.is_symlink() and not any(part in skip for part in path.parts)
    }
