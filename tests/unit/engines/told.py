"""A host that says what a test tells it to; it may only say what Slurm was seen to say (tests/recorded/slurm)."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from crh_batch.errors import HostError
from crh_batch.hosts.base import Completed, SameFiles

Answer = Completed | Callable[[tuple[str, ...]], Completed]


def said(stdout: str = "", stderr: str = "", exit_status: int | None = 0) -> Completed:
    """A command's end."""
    return Completed((), exit_status, stdout, stderr)


# tests/recorded/slurm/squeue-controller-silent, sbatch-controller-silent, sacct-name-accounting-off.
SQUEUE_SILENT = said("", "slurm_load_jobs error: Socket timed out on send/recv operation\n", 1)
SBATCH_SILENT = said("", "sbatch: error: Batch job submission failed: Socket timed out on send/recv operation\n", 1)
SACCT_OFF = said("", "Slurm accounting storage is disabled\n", 1)


class ToldHost(SameFiles):
    """Remembers what it was asked, and answers by the command's name; what it has no answer for can't be started."""

    def __init__(self, **answers: Answer) -> None:
        self.answers = answers
        self.asked: list[tuple[str, ...]] = []

    def has(self, program: str) -> bool:
        return program in self.answers

    def run(self, argv: Sequence[str], *, timeout_s: float = 60.0) -> Completed:
        self.asked.append(tuple(argv))
        answer = self.answers.get(argv[0])
        if answer is None:
            raise HostError(f"{argv[0]}: can't be started: No such file or directory", "Is it on PATH?", "here")
        return answer(tuple(argv)) if callable(answer) else answer

    def commands(self) -> list[str]:
        """The names of the commands, in order."""
        return [argv[0] for argv in self.asked]
