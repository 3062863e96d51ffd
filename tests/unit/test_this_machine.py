"""Commands on this machine: to their end or their time, without a shell, and without what a surrounding job left."""

from __future__ import annotations

import os
import sys

import pytest

from crh_batch.errors import HostError
from crh_batch.hosts.base import Completed
from crh_batch.hosts.this_machine import ThisMachine


def test_run_when_it_ends_then_status_and_both_outputs() -> None:
    argv = ["sh", "-c", "echo out; echo err >&2; exit 3"]
    assert ThisMachine().run(argv) == Completed(tuple(argv), 3, "out\n", "err\n")


def test_run_when_a_word_holds_what_a_shell_acts_on_then_it_is_one_word() -> None:
    word = "a b; $(touch x) *\n'\""
    assert ThisMachine().run(["printf", "%s", word]).stdout == word


def test_run_when_it_takes_too_long_then_it_is_ended_and_has_no_status() -> None:
    done = ThisMachine().run(["sh", "-c", "echo begun; exec sleep 600"], timeout_s=0.3)
    assert (done.exit_status, done.stdout) == (None, "begun\n")


def test_run_when_a_signal_ends_it_then_a_negative_status() -> None:
    assert ThisMachine().run(["sh", "-c", "kill -TERM $$"]).exit_status == -15


def test_run_when_it_reads_then_there_is_nothing_to_read() -> None:
    assert ThisMachine().run(["cat"]).stdout == ""


def test_run_when_outputs_are_no_text_then_they_are_read_all_the_same() -> None:
    assert ThisMachine().run(["printf", r"a\377b"]).stdout == "a\ufffdb"


def test_run_when_it_cannot_be_started_then_host_error() -> None:
    with pytest.raises(HostError, match="no-such-command: can't be started: No such file") as caught:
        ThisMachine().run(["no-such-command"])
    assert caught.value.exit_code == 3


def test_run_when_inside_a_job_then_its_variables_do_not_leak_into_a_nested_sbatch(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name in ("SLURM_JOB_ID", "SLURM_MEM_PER_NODE", "SLURM_CPUS_PER_TASK"):
        monkeypatch.setenv(name, "1")
    monkeypatch.setenv("SLURM_CONF", "/etc/slurm/slurm.conf")
    monkeypatch.setenv("SBATCH_ACCOUNT", "geo")
    code = "import os; print(sorted(name for name in os.environ if name.startswith(('SLURM', 'SBATCH'))))"
    assert ThisMachine().run([sys.executable, "-c", code]).stdout == "['SBATCH_ACCOUNT', 'SLURM_CONF']\n"
    assert os.environ["SLURM_JOB_ID"] == "1"


def test_has_when_asked_then_whether_it_is_on_path() -> None:
    assert ThisMachine().has("sh")
    assert not ThisMachine().has("no-such-command")
