"""Ctrl-C at a real terminal while dask drives a batch: it asks, and does what is answered."""

from __future__ import annotations

import contextlib
import json
import os
import pty
import select
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from conftest import Crh, wait_until
from crh_batch.demo import write_small_models
from crh_batch.ledger.batch import Batch, batches_of
from crh_batch.ledger.lost import open_claims
from gate import Gate

TOMODIRS = 3
CTRL_C = b"\x03"
QUESTION = "stop the workers [s], or leave them"
# Becomes the leader of a session whose terminal is the pty, as a shell in a window is, so that Ctrl-C is a signal.
ON_TERMINAL = (
    "import fcntl, os, sys, termios; fcntl.ioctl(0, termios.TIOCSCTTY, 0); os.execv(sys.argv[1], sys.argv[1:])"
)


class Terminal:
    """A user at a terminal who has started a driver."""

    def __init__(self, survey: Path) -> None:
        self._hand, screen = pty.openpty()
        argv = [sys.executable, "-c", ON_TERMINAL, sys.executable, "-m", "crh_batch"]
        argv += ["submit", "--engine", "dask", "--local", "-j", "1"]
        self.process = subprocess.Popen(
            argv, cwd=survey, stdin=screen, stdout=screen, stderr=screen, start_new_session=True
        )
        os.close(screen)
        self.text = ""

    def press(self, keys: bytes) -> None:
        os.write(self._hand, keys)

    def read_until(self, wanted: str, timeout_s: float = 120.0) -> None:
        """Read what appears until something wanted is there."""
        deadline = time.monotonic() + timeout_s
        while wanted not in self.text:
            ready, _, _ = select.select([self._hand], [], [], max(0.0, deadline - time.monotonic()))
            assert ready, f"{wanted!r} didn't appear:\n{self.text}"
            assert self._read(), f"{wanted!r} didn't appear, and the command ended:\n{self.text}"

    def read_to_end(self) -> int:
        """Read the rest; return the exit code."""
        while self._read():
            pass
        return self.process.wait(timeout=120)

    def _read(self) -> bool:
        # Linux: EIO when the last one who had the terminal open is gone.
        with contextlib.suppress(OSError):
            if some := os.read(self._hand, 65536):
                self.text += some.decode(errors="replace")
                return True
        return False

    def close(self) -> None:
        self.process.kill()
        self.process.wait()
        os.close(self._hand)


@pytest.fixture
def survey(tmp_path: Path, gate: Gate) -> Path:
    directory = tmp_path / "survey"
    write_small_models(directory, TOMODIRS, data=60, electrodes=16)
    (directory / "crh-batch.toml").write_text(f'scheduler = "local"\n{gate.profile}')
    return directory


@pytest.fixture
def asked(survey: Path, gate: Gate) -> Iterator[Terminal]:
    """A driver whose worker is at work, and which has been sent one Ctrl-C and has asked."""
    terminal = Terminal(survey)
    try:
        wait_until("a worker is at work", lambda: claims(survey), timeout_s=120)
        terminal.press(CTRL_C)
        terminal.read_until(QUESTION)
        yield terminal
    finally:
        gate.open()
        terminal.close()


def claims(survey: Path) -> int:
    directories = batches_of(str(survey))
    return len(list(open_claims(Batch(directories[-1])))) if directories else 0


def counts(crh: Crh, survey: Path) -> dict[str, int]:
    answer = json.loads(crh("status", "--json", cwd=survey, code=None).stdout)
    return {name: number for name, number in answer["counts"].items() if number}


@pytest.mark.parametrize("keys", [b"s\r", CTRL_C], ids=["s", "a second Ctrl-C"])
def test_ctrl_c_then_stop_ends_the_workers_and_what_they_run(
    asked: Terminal, keys: bytes, survey: Path, gate: Gate, crh: Crh
) -> None:
    asked.press(keys)
    assert asked.read_to_end() == 130, asked.text
    assert "the workers were told to stop" in asked.text and "Traceback" not in asked.text
    # Behind the closed gate nothing ends by itself.
    wait_until("what ran is ready again", lambda: counts(crh, survey) == {"ready": TOMODIRS}, timeout_s=120)
    gate.open()
    crh("submit", "--engine", "dask", "--local", "-j", "1", cwd=survey)
    assert counts(crh, survey) == {"done": TOMODIRS}


@pytest.mark.parametrize("keys", [b"l\r", b"\r"], ids=["l", "Enter"])
def test_ctrl_c_then_leave_lets_the_workers_finish(
    asked: Terminal, keys: bytes, survey: Path, gate: Gate, crh: Crh
) -> None:
    asked.press(keys)
    assert asked.read_to_end() == 130, asked.text
    assert "the workers go on by themselves" in asked.text and "Traceback" not in asked.text
    assert claims(survey) == 1, "what ran runs on"
    gate.open()
    crh("wait", "--timeout", "100", cwd=survey)
    assert counts(crh, survey) == {"done": TOMODIRS}
