"""The machine that the client runs on."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Sequence

from crh_batch.errors import HostError
from crh_batch.hosts.base import Completed, SameFiles


class ThisMachine(SameFiles):
    """Runs commands here."""

    def has(self, program: str) -> bool:
        """Return whether a program is on PATH."""
        return shutil.which(program) is not None

    def run(self, argv: Sequence[str], *, timeout_s: float = 60.0) -> Completed:
        """Run a command to its end; a command that takes longer than ``timeout_s`` is killed.

        Raises:
            HostError: it can't be started.
        """
        try:
            done = subprocess.run(
                list(argv),
                stdin=subprocess.DEVNULL,
                capture_output=True,
                timeout=timeout_s,
                env=_environment(),
                check=False,
            )
        except subprocess.TimeoutExpired as error:
            return Completed(tuple(argv), None, _text(error.stdout), _text(error.stderr))
        except OSError as error:
            raise HostError(f"{argv[0]}: can't be started: {error.strerror}", "Is it on PATH?", "here") from error
        return Completed(tuple(argv), done.returncode, _text(done.stdout), _text(done.stderr))


def _environment() -> dict[str, str]:
    """Return the environment without what a surrounding job left in it: a nested sbatch would inherit it."""
    kept = {"SLURM_CONF"}
    return {key: value for key, value in os.environ.items() if not key.startswith("SLURM_") or key in kept}


def _text(data: bytes | None) -> str:
    return (data or b"").decode(errors="replace")
