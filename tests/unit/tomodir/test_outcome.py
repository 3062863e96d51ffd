from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import Any

import pytest

from crh_batch.tomodir.outcome import JUDGES, Exit, Outcome, judge_crmod, judge_crtomo, judge_exit_status

MODELLING = {"name": "modelling", "result": "mod/volt.dat", "inv_dirs": []}
INVERSION = {"name": "inversion", "result": None, "inv_dirs": ["inv"]}
GOOD = Exit(0, "Note: The following floating-point exceptions are signalling: IEEE_DIVIDE_BY_ZERO\nSTOP 0\n")
GAVE_UP = Exit(0, "STOP -1\n")
VERSION = "master cb89ccd2c4341b9b08bbe7bb08f5aea0d60916ee"

# As CRTomo_stable wrote it when a difference inversion lacked a file.
RUNTIME_ERROR = """\
At line 860 of file rall.f90 (unit = 11)
Fortran runtime error: Cannot open file 'd0': No such file or directory

Error termination. Backtrace:
#0  0x7fb1614218c2 in ???
#8  0x7fb16114c249 in __libc_start_call_main
\tat ../sysdeps/nptl/libc_start_call_main.h:58
#11  0xffffffffffffffff in ???
"""
SEGFAULT = """\

Program received signal SIGSEGV: Segmentation fault - invalid memory reference.

Backtrace for this error:
#0  0x7f2be74218c2 in ???
#3  0x565354cb105e in ???
\tat ./signal/../sysdeps/unix/sysv/linux/x86_64/libc_sigaction.c:0
"""


def error_dat(subject: str, number: int, text: str, crtomo: bool = True) -> bytes:
    first = b" CRTomo PID         8982  exited abnormally\n" if crtomo else b""
    return first + f"{subject:<80}{number:3}2\n {text:<255}\n".encode()


def test_judges_when_looked_up_then_they_have_these_names() -> None:
    assert dict(JUDGES) == {"crmod": judge_crmod, "crtomo": judge_crtomo, "exit_status": judge_exit_status}


def test_modelling_when_volt_is_whole_then_it_is_ok(modelled: Path) -> None:
    assert judge_crmod(str(modelled), GOOD, MODELLING) == Outcome(True)


def test_modelling_when_it_writes_no_volt_then_stop_0_is_enough(tomodir: Path) -> None:
    assert judge_crmod(str(tomodir), GOOD, {"result": None}).ok
    assert not judge_crmod(str(tomodir), GAVE_UP, {"result": None}).ok


def test_inversion_when_finished_then_it_is_ok_and_tells_iteration_rms_and_version(finished: Path) -> None:
    assert judge_crtomo(str(finished), GOOD, INVERSION) == Outcome(True, "", "", 1, 5.545, VERSION)


def test_status_when_0_after_stop_minus_1_then_it_is_a_failure_of_the_input(finished: Path) -> None:
    """The programs exit with 0 for every error that they find themselves; cr_hydra took it for success."""
    (finished / "exe" / "error.dat").write_bytes(error_dat("", 28, "FE matrix indefinite"))
    found = judge_crtomo(str(finished), GAVE_UP, INVERSION)
    assert (found.ok, found.failure, found.error) == (False, "input", "FE matrix indefinite")
    assert (found.iterations, found.rms, found.version) == (1, 5.545, VERSION)


def test_modelling_when_it_gave_up_then_error_dat_says_why(tomodir: Path) -> None:
    said = error_dat("../mod/pot/pot58.dat", 1, "Error opening", crtomo=False)
    (tomodir / "exe" / "error.dat").write_bytes(said)
    found = judge_crmod(str(tomodir), GAVE_UP, MODELLING)
    assert (found.failure, found.error) == ("input", "Error opening: ../mod/pot/pot58.dat")


def test_modelling_when_it_stops_with_minus_2_then_it_is_a_failure_of_the_input(tomodir: Path) -> None:
    (tomodir / "exe" / "error.dat").write_bytes(error_dat("crmod.cfg", 2, "End of File encountered", crtomo=False))
    found = judge_crmod(str(tomodir), Exit(0, "STOP -2\n"), MODELLING)
    assert (found.failure, found.error) == ("input", "End of File encountered: crmod.cfg")


@pytest.mark.parametrize("said", [None, b"", b"\0\0\0\n"])
def test_error_dat_when_it_says_nothing_then_stop_and_what_is_missing_are_told(
    tomodir: Path, said: bytes | None
) -> None:
    if said is not None:
        (tomodir / "exe" / "error.dat").write_bytes(said)
    found = judge_crtomo(str(tomodir), GAVE_UP, INVERSION)
    assert found.failure == "input"
    assert found.error == "STOP -1\ninv/inv.ctr does not say that the inversion has finished"


def test_error_dat_when_it_holds_nul_bytes_then_they_are_dropped(tomodir: Path) -> None:
    (tomodir / "exe" / "error.dat").write_bytes(b"\0" + error_dat("", 28, "FE matrix indefinite\0\0", crtomo=False)[1:])
    assert judge_crtomo(str(tomodir), GAVE_UP, INVERSION).error == "FE matrix indefinite"


def test_error_dat_when_its_number_is_beyond_the_table_then_its_text_is_not_shown(tomodir: Path) -> None:
    """Seen with 113: the text is a piece of the program's memory."""
    said = error_dat("Number of capacitances does not match", 113, "@../mod/pot/pot.dat boundary.dat", crtomo=False)
    (tomodir / "exe" / "error.dat").write_bytes(said)
    assert judge_crmod(str(tomodir), GAVE_UP, MODELLING).error == "Number of capacitances does not match"


def test_runtime_error_when_status_2_then_its_lines_are_told(tomodir: Path) -> None:
    found = judge_crtomo(str(tomodir), Exit(2, RUNTIME_ERROR), INVERSION)
    assert found.failure == "input"
    assert found.error == (
        "At line 860 of file rall.f90 (unit = 11)\n"
        "Fortran runtime error: Cannot open file 'd0': No such file or directory"
    )


@pytest.mark.parametrize("status", [-signal.SIGSEGV, 128 + signal.SIGSEGV])
def test_signal_when_it_ended_the_program_then_it_is_a_crash(tomodir: Path, status: int) -> None:
    found = judge_crtomo(str(tomodir), Exit(status, SEGFAULT), INVERSION)
    assert found.failure == "crash"
    assert found.error.splitlines() == [
        "ended by signal 11 (SIGSEGV)",
        "Program received signal SIGSEGV: Segmentation fault - invalid memory reference.",
    ]


@pytest.mark.parametrize("status", [-15, 143, -24, -6, -63])
def test_signal_when_any_other_then_it_is_a_crash(tomodir: Path, status: int) -> None:
    assert judge_crmod(str(tomodir), Exit(status, ""), MODELLING).failure == "crash"


@pytest.mark.parametrize("status", [-9, 137])
def test_signal_when_kill_then_memory_ran_out(tomodir: Path, status: int) -> None:
    assert judge_crtomo(str(tomodir), Exit(status, ""), INVERSION).failure == "memory"


@pytest.mark.parametrize(
    ("status", "stderr"),
    [
        (1, "Operating system error: Cannot allocate memory\nMemory allocation failed\n"),
        (1, "In file 'inv.f90', around line 359: Error allocating 123456 bytes\nError termination.\n"),
        (1, "Fortran runtime error: Allocation would exceed memory limit\n"),
        (-6, "terminate called after throwing an instance of 'std::bad_alloc'\n"),
    ],
)
def test_allocation_when_it_fails_then_memory_ran_out(tomodir: Path, status: int, stderr: str) -> None:
    found = judge_crtomo(str(tomodir), Exit(status, stderr), INVERSION)
    assert found.failure == "memory"
    assert found.error.splitlines()[0] == stderr.splitlines()[0]


@pytest.mark.parametrize(("is_limited", "failure"), [(True, "memory"), (False, "crash")])
def test_threads_when_none_can_be_made_then_memory_if_it_is_limited(
    tomodir: Path, is_limited: bool, failure: str
) -> None:
    """CRMod 2.5D with OMP_NUM_THREADS=5 under an h_vmem of 80 MB (seen)."""
    ended = Exit(1, "libgomp: Thread creation failed: Resource temporarily unavailable\n", is_limited=is_limited)
    assert judge_crmod(str(tomodir), ended, MODELLING).failure == failure


@pytest.mark.parametrize(
    ("subject", "number", "text", "failure"),
    [
        ("allocation problem sens", 94, "Magnitude <= 0 allocation problem sens", "memory"),
        ("allocation problem a", 0, "", "memory"),
        ("allocation problem a and hpot", 97, "Out of memory", "memory"),
        ("Error memory allocation data space", 94, "Magnitude <= 0", "input"),
        ("allocation problem b", 28, "FE matrix indefinite", "input"),
        (" ", 94, "Magnitude <= 0", "input"),
        ("../inv/rho01.mag", 4, "Error writing", "crash"),
        ("../mod/volt.dat", 1, "Error opening", "input"),
    ],
)
def test_error_dat_when_a_number_has_two_meanings_then_the_right_one_is_taken(
    tomodir: Path, subject: str, number: int, text: str, failure: str
) -> None:
    """Numbers 94 and 0 were seen under a limit of memory, and 94 for a measured magnitude below 0."""
    (tomodir / "exe" / "error.dat").write_bytes(error_dat(subject, number, text))
    assert judge_crtomo(str(tomodir), GAVE_UP, INVERSION).failure == failure


@pytest.mark.parametrize(
    ("status", "stderr"),
    [
        (127, "CRTomo: error while loading shared libraries: libgfortran.so.5: cannot open shared object file"),
        (127, ""),
        (126, "bash: ./CRTomo: Permission denied"),
        (1, "./CRTomo: /lib64/libc.so.6: version `GLIBC_2.34' not found (required by ./CRTomo)"),
        (2, "sh: cannot execute binary file: Exec format error"),
    ],
)
def test_program_when_it_cannot_start_then_the_program_is_to_blame(tomodir: Path, status: int, stderr: str) -> None:
    found = judge_crtomo(str(tomodir), Exit(status, stderr), INVERSION)
    assert found.failure == "program"
    assert found.error


@pytest.mark.parametrize(
    "stderr",
    [
        "Fortran runtime error: No space left on device\n",
        "libgomp: Thread creation failed: Resource temporarily unavailable\n",
        "Fortran runtime error: Stale file handle\n",
    ],
)
def test_machine_when_it_is_to_blame_then_it_is_a_crash_that_may_be_tried_again(tomodir: Path, stderr: str) -> None:
    assert judge_crtomo(str(tomodir), Exit(2, stderr), INVERSION).failure == "crash"


def test_results_when_missing_after_a_good_end_then_it_is_a_crash(tomodir: Path) -> None:
    """A full disk, say: STOP 0 is no proof of results."""
    found = judge_crmod(str(tomodir), GOOD, MODELLING)
    assert (found.ok, found.failure) == (False, "crash")
    assert "mod/volt.dat is missing" in found.error
    found = judge_crtomo(str(tomodir), GOOD, INVERSION)
    assert (found.ok, found.failure) == (False, "crash")
    assert "inv/inv.ctr" in found.error


def test_volt_when_cut_short_after_a_good_end_then_it_is_no_success(modelled: Path) -> None:
    (modelled / "mod" / "volt.dat").write_text("3\n10002 30004 1 0\n")
    found = judge_crmod(str(modelled), GOOD, MODELLING)
    assert (found.ok, found.error) == (False, "the program ended well, but mod/volt.dat is cut short: 1 of 3 lines")


def test_stderr_when_lost_then_the_results_decide(finished: Path, tmp_path: Path) -> None:
    assert judge_crtomo(str(finished), Exit(0, ""), INVERSION).ok
    assert judge_crmod(str(finished), Exit(0, ""), MODELLING).ok


def test_stderr_when_lost_and_error_dat_is_there_then_it_is_a_failure(modelled: Path) -> None:
    """Seen: with no ../mod/sens/ CRMod writes a whole volt.dat and then gives up."""
    said = error_dat("../mod/sens/sens01.dat", 1, "Error opening", crtomo=False)
    (modelled / "exe" / "error.dat").write_bytes(said)
    assert judge_crmod(str(modelled), Exit(0, ""), MODELLING).error == "Error opening: ../mod/sens/sens01.dat"


def test_stderr_when_lost_and_no_result_is_due_then_it_is_no_success(tomodir: Path) -> None:
    assert not judge_crmod(str(tomodir), Exit(0, ""), {"result": None}).ok


def test_silent_end_when_nothing_is_there_then_it_is_a_failure_of_the_input(tomodir: Path) -> None:
    """Seen with regularisation 16: status 0, nothing on stderr, no error.dat."""
    found = judge_crtomo(str(tomodir), Exit(0, ""), INVERSION)
    assert (found.ok, found.failure) == (False, "input")


def test_data_sets_when_several_then_the_last_ones_mark_counts(finished: Path) -> None:
    two = {"inv_dirs": ["inv0", "inv"]}
    (finished / "inv0").mkdir()
    (finished / "inv0" / "inv.ctr").write_text(" IT   9    1.0\n")
    found = judge_crtomo(str(finished), GOOD, two)
    assert (found.ok, found.iterations) == (True, 1)
    found = judge_crtomo(str(finished), GOOD, {"inv_dirs": ["inv", "inv0"]})
    assert (found.ok, found.iterations) == (False, 9)
    # the second one was not begun: the first one tells how far it came
    found = judge_crtomo(str(finished), GOOD, {"inv_dirs": ["inv", "inv1"]})
    assert (found.ok, found.iterations) == (False, 1)


def test_other_program_when_judged_by_status_then_0_is_good(tmp_path: Path) -> None:
    judged = {
        status: judge_exit_status(str(tmp_path), Exit(status, "why\n"), {}) for status in (0, 1, 255, -11, -9, 127)
    }
    assert {status: (found.ok, found.failure) for status, found in judged.items()} == {
        0: (True, ""),
        1: (False, "input"),
        255: (False, "input"),
        -11: (False, "crash"),
        -9: (False, "memory"),
        127: (False, "program"),
    }
    assert judged[1].error == "why"


@pytest.mark.parametrize("judge", list(JUDGES.values()))
@pytest.mark.parametrize("spec", [{}, {"result": 5, "inv_dirs": None}, {"result": "\0", "inv_dirs": ["\0"]}])
@pytest.mark.parametrize("status", [0, 2, -11])
def test_judge_when_directory_and_spec_are_nonsense_then_it_still_judges(
    tmp_path: Path, judge: Any, spec: dict[str, Any], status: int
) -> None:
    os.mkfifo(tmp_path / "exe")
    found = judge(str(tmp_path), Exit(status, "\0\x1b[0m\n" * 100), spec)
    assert found.ok == (found.failure == "")
    assert len(found.error.splitlines()) <= 3
    assert found.error.replace("\n", "").isprintable()
