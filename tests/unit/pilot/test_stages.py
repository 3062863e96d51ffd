"""One attempt, with shell scripts for programs: what runs, what counts, what is packed."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from crh_batch.errors import DataError
from crh_batch.ledger.batch import Batch
from crh_batch.ledger.names import Failure
from crh_batch.pilot import stages
from crh_batch.pilot.guard import Guard
from crh_batch.pilot.stages import Attempt, Result
from unit.ledger.making import make_batch, make_item, write_files

MODEL: dict[str, Any] = {
    "stage": "modelling",
    "program": "CRMod",
    "judge": "exit_status",
    "directory": "exe",
    "inputs": ["exe/crmod.cfg", "rho/rho.dat"],
    "make_dirs": ["exe", "mod"],
    "result": "mod/volt.dat",
    "inv_dirs": [],
}
INVERT: dict[str, Any] = {
    "stage": "inversion",
    "program": "CRTomo",
    "judge": "exit_status",
    "directory": "exe",
    "inputs": ["exe/crtomo.cfg"],
    "make_dirs": ["exe", "inv"],
    "result": None,
    "inv_dirs": ["inv"],
}
INPUTS = {"exe/crmod.cfg": b"cfg\n", "rho/rho.dat": b"rho\n", "exe/crtomo.cfg": b"cfg2\n", "inv/inv.ctr": b"old\n"}


class Bench:
    """A tomodir of a batch whose programs are shell scripts."""

    def __init__(self, root: Path, guard: Guard) -> None:
        self.root = root
        self.guard = guard
        self.stages_seen: list[str] = []
        self.scratch = root / "scratch"

    def run(
        self, model: str | None, invert: str | None = None, *, ended_by: Failure | None = None, omp_threads: int = 1
    ) -> tuple[Attempt, Result]:
        batch = self.batch(model, invert, omp_threads=omp_threads)
        attempt = stages.prepare(batch, batch.items[0], 1, str(self.scratch))
        if ended_by is not None:
            attempt.end(ended_by)
        return attempt, stages.run(batch, attempt, self.guard, lambda one: self.stages_seen.append(one.stage))

    def batch(
        self,
        model: str | None,
        invert: str | None = None,
        *,
        omp_threads: int = 1,
        container: tuple[str, ...] = (),
    ) -> Batch:
        listed = [MODEL, INVERT] if invert is not None else [MODEL]
        programs = {
            "CRMod": {"file": "CRMod-1", "sha256": "sum of CRMod"},
            "CRTomo": {"file": "CRTomo-2", "sha256": "sum of CRTomo"},
        }
        items = [make_item(0, threads=omp_threads, stages=listed)]
        batch = make_batch(self.root, items, programs=programs, container=container)
        for file, script in (("CRMod-1", model), ("CRTomo-2", invert)):
            if script is not None:
                path = Path(batch.paths.programs, file)
                path.write_text(f"#!/bin/sh\n{script}\n")
                path.chmod(0o755)
        write_files(self.root / "td0", INPUTS)
        return batch


@pytest.fixture
def bench(tmp_path: Path, guard: Guard) -> Bench:
    return Bench(tmp_path, guard)


def packed(result: Result) -> dict[str, bytes]:
    return {one.name: Path(one.path).read_bytes() if one.path else one.content for one in result.files}


def provenance(result: Result) -> dict[str, Any]:
    data: dict[str, Any] = json.loads(packed(result)["exe/crh.json"])
    return data


def test_run_when_both_stages_are_good_then_their_outputs_are_packed_and_the_last_file_is_named(bench: Bench) -> None:
    _, result = bench.run("echo volt > ../mod/volt.dat; echo said", "cat ../mod/volt.dat > ../inv/inv.ctr")
    assert (result.failure, result.error) == (None, "")
    files = packed(result)
    assert sorted(files) == ["exe/crh.json", "exe/crh.modelling.out", "inv/inv.ctr", "mod/volt.dat"]
    assert files["inv/inv.ctr"] == b"volt\n", "the inversion reads what the modelling made, and no old result"
    assert files["exe/crh.modelling.out"] == b"said\n"
    assert result.event["finish"] == "inv/inv.ctr"
    assert [stage["outcome"] for stage in result.event["stages"]] == ["done", "done"]
    assert [one[0] for one in result.event["inputs"]] == ["exe/crmod.cfg", "exe/crtomo.cfg", "rho/rho.dat"]
    assert bench.stages_seen == ["modelling", "inversion"]


def test_run_when_only_a_modelling_is_due_then_its_result_is_the_last_file(bench: Bench) -> None:
    _, result = bench.run("echo 1 > ../mod/volt.dat")
    assert result.event["finish"] == "mod/volt.dat"


def test_run_when_the_first_stage_fails_then_the_second_does_not_run_and_its_output_is_kept(bench: Bench) -> None:
    _, result = bench.run("echo why >&2; exit 3", "echo never > ../inv/inv.ctr")
    assert result.failure is not None
    assert result.event["failure"] == result.failure.value
    assert "finish" not in result.event
    assert bench.stages_seen == ["modelling"]
    assert packed(result)["exe/crh.modelling.err"] == b"why\n"
    assert "inv/inv.ctr" not in packed(result)


def test_run_when_a_signal_ends_a_program_then_it_is_a_crash(bench: Bench) -> None:
    _, result = bench.run("ulimit -c 0; kill -SEGV $$")
    assert result.failure is Failure.CRASH
    assert result.event["stages"][0]["exit_status"] == -11


@pytest.mark.parametrize(("stopping", "failure"), [(True, Failure.WALLTIME), (False, Failure.CRASH)])
def test_run_when_sigterm_ends_a_program_then_the_end_of_the_job_is_no_fault_of_its(
    bench: Bench, stopping: bool, failure: Failure
) -> None:
    """A scheduler signals the programs together with the pilot."""
    batch = bench.batch("kill -TERM $$", "echo never > ../inv/inv.ctr")
    attempt = stages.prepare(batch, batch.items[0], 1, str(bench.scratch))
    result = stages.run(batch, attempt, bench.guard, lambda one: None, lambda: stopping)
    assert result.failure is failure
    assert [stage["outcome"] for stage in result.event["stages"]] == [failure.value]


def test_run_when_the_program_is_missing_then_it_is_the_programs_failure(bench: Bench) -> None:
    _, result = bench.run(None)
    assert result.failure is Failure.PROGRAM
    assert "CRMod-1: can't be started: No such file" in result.error
    assert bench.stages_seen == []


@pytest.mark.parametrize("why", [Failure.WALLTIME, Failure.CANCELLED])
def test_run_when_it_was_ended_before_it_began_then_nothing_runs(bench: Bench, why: Failure) -> None:
    _, result = bench.run("echo never > ../mod/volt.dat", ended_by=why)
    assert result.failure is why
    assert bench.stages_seen == []
    assert sorted(packed(result)) == ["exe/crh.json"]


@pytest.mark.timeout(30)
@pytest.mark.parametrize("why", [Failure.WALLTIME, Failure.CANCELLED])
def test_run_when_a_program_is_ended_then_it_is_not_its_own_fault(bench: Bench, why: Failure) -> None:
    batch = bench.batch("exec sleep 600", "echo never")
    attempt = stages.prepare(batch, batch.items[0], 1, str(bench.scratch))
    result = stages.run(batch, attempt, bench.guard, lambda one: one.end(why))
    assert result.failure is why
    assert len(result.event["stages"]) == 1


@pytest.mark.timeout(30)
def test_run_when_it_takes_too_long_then_the_reason_for_the_user_is_kept(bench: Bench) -> None:
    batch = bench.batch("exec sleep 600")
    attempt = stages.prepare(batch, batch.items[0], 1, str(bench.scratch))
    result = stages.run(batch, attempt, bench.guard, lambda one: one.end(Failure.TOO_LONG, "needs more than a job"))
    assert (result.failure, result.error) == (Failure.TOO_LONG, "needs more than a job")
    assert result.event["stages"][0]["outcome"] == "toolong"


def test_run_when_somebody_kills_the_program_then_it_is_a_crash_and_not_memory(bench: Bench) -> None:
    """The kernel's count of what it killed for want of memory stays the same."""
    _, result = bench.run("kill -KILL $$")
    assert result.failure is Failure.CRASH
    assert "9 (SIGKILL)" in result.error


def test_run_when_the_kernel_has_killed_something_meanwhile_then_it_is_memory(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    counts = iter(range(3, 9))
    monkeypatch.setattr("crh_batch.pilot.memory_killer._count", lambda: next(counts))
    _, result = bench.run("kill -KILL $$")
    assert result.failure is Failure.MEMORY


def test_run_when_a_container_is_given_then_its_words_stand_before_the_programs_path(bench: Bench) -> None:
    """No shell in between: the words stay apart, and whole."""
    batch = bench.batch('echo "$INSIDE" > ../mod/volt.dat', container=("env", "INSIDE=a b $(c)"))
    attempt = stages.prepare(batch, batch.items[0], 1, str(bench.scratch))
    stages.run(batch, attempt, bench.guard, lambda one: None)
    assert Path(attempt.copy, "mod/volt.dat").read_text() == "a b $(c)\n"


def test_run_when_the_container_is_missing_then_it_is_named_and_it_is_the_programs_failure(bench: Bench) -> None:
    batch = bench.batch("echo never", container=("no-such-apptainer", "exec"))
    attempt = stages.prepare(batch, batch.items[0], 1, str(bench.scratch))
    result = stages.run(batch, attempt, bench.guard, lambda one: None)
    assert result.failure is Failure.PROGRAM
    assert "no-such-apptainer: can't be started" in result.error


def test_run_when_it_runs_then_programs_get_their_threads_and_a_private_directory(bench: Bench) -> None:
    attempt, result = bench.run("echo $OMP_NUM_THREADS > ../mod/volt.dat; pwd", omp_threads=6)
    files = packed(result)
    assert files["mod/volt.dat"] == b"6\n"
    assert files["exe/crh.modelling.out"].decode().strip() == os.path.join(attempt.copy, "exe")
    assert attempt.copy.startswith(str(bench.scratch))
    stages.discard(attempt)
    assert os.listdir(bench.scratch) == []


def test_run_when_an_input_is_changed_by_the_program_then_provenance_names_it(bench: Bench) -> None:
    _, result = bench.run("echo changed > ../rho/rho.dat; echo 1 > ../mod/volt.dat")
    assert sorted(packed(result)) == ["exe/crh.json", "mod/volt.dat"]
    assert provenance(result)["inputs_changed_by_program"] == ["rho/rho.dat"]
    assert (bench.root / "td0/rho/rho.dat").read_bytes() == b"rho\n"


def test_run_when_it_is_over_then_provenance_says_what_made_the_result(bench: Bench) -> None:
    _, result = bench.run("echo 1 > ../mod/volt.dat", "echo 1 > ../inv/inv.ctr")
    data = provenance(result)
    assert (data["schema"], data["id"], data["attempt"]) == (1, 0, 1)
    assert data["stages"]["modelling"]["sha256"] == "sum of CRMod"
    assert data["stages"]["inversion"]["sha256"] == "sum of CRTomo"
    # sha256sum of "cfg\n" and of "rho\n".
    assert data["stages"]["modelling"]["inputs"] == {
        "exe/crmod.cfg": "4d523dee6bc8c17a3e283570526d8d6ed3d1edda07c53e94c55e491bbf780337",
        "rho/rho.dat": "65321ed696d97a6307d1056857d0924527b2db20ac6120787d4d58812b9edc3a",
    }
    assert list(data["stages"]["inversion"]["inputs"]) == ["exe/crtomo.cfg"]


def test_prepare_when_an_input_is_gone_then_the_attempt_failed_before_its_start(bench: Bench) -> None:
    batch = bench.batch("true")
    (bench.root / "td0/rho/rho.dat").unlink()
    with pytest.raises(DataError) as caught:
        stages.prepare(batch, batch.items[0], 1, str(bench.scratch))
    result = stages.failed_before_start(batch.items[0], 1, caught.value)
    assert result.failure is Failure.INPUT
    assert "rho/rho.dat: is gone" in result.error
    assert (result.event["id"], result.event["attempt"], result.event["failure"]) == (0, 1, "input")
    assert result.files == []
