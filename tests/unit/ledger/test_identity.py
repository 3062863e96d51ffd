"""Who lives: dead only on proof."""

from __future__ import annotations

import dataclasses
import os
import shutil
import signal
import subprocess
from pathlib import Path

import pytest

from crh_batch.ledger.identity import Verdict, Who, login_name, start_ticks, this_process, verdict_here


def test_verdict_when_it_is_this_process_then_alive() -> None:
    assert verdict_here(this_process()) is Verdict.ALIVE


def test_verdict_when_the_pid_was_used_again_then_dead() -> None:
    """Same number, another start time."""
    me = this_process()
    assert verdict_here(dataclasses.replace(me, started=me.started - 1)) is Verdict.DEAD


def test_verdict_when_no_such_process_exists_then_dead() -> None:
    child = subprocess.Popen(["true"])
    child.wait()
    assert verdict_here(dataclasses.replace(this_process(), pid=child.pid)) is Verdict.DEAD


def test_verdict_when_the_machine_was_booted_since_then_dead() -> None:
    assert verdict_here(dataclasses.replace(this_process(), boot_id="another")) is Verdict.DEAD


def test_verdict_when_it_is_of_another_machine_then_unknown() -> None:
    other = dataclasses.replace(this_process(), host="another", boot_id="another", pid=1, started=1)
    assert verdict_here(other) is Verdict.UNKNOWN


def test_verdict_when_it_is_of_another_pid_namespace_then_unknown() -> None:
    """A container on this machine, with its host name: its numbers mean nothing here."""
    me = this_process()
    assert verdict_here(dataclasses.replace(me, namespace="pid:[1]", started=1)) is Verdict.UNKNOWN


def test_verdict_when_host_or_boot_are_not_known_then_unknown() -> None:
    who = dataclasses.replace(this_process(), started=1)
    assert verdict_here(dataclasses.replace(who, host="")) is Verdict.UNKNOWN
    assert verdict_here(dataclasses.replace(who, boot_id="")) is Verdict.UNKNOWN


def test_verdict_when_the_start_time_is_not_known_then_unknown_while_the_pid_is_in_use() -> None:
    me = this_process()
    assert verdict_here(dataclasses.replace(me, started=0)) is Verdict.UNKNOWN
    child = subprocess.Popen(["true"])
    child.wait()
    assert verdict_here(dataclasses.replace(me, pid=child.pid, started=0)) is Verdict.DEAD


def test_verdict_when_the_pid_is_missing_then_unknown() -> None:
    assert verdict_here(dataclasses.replace(this_process(), pid=0, started=0)) is Verdict.UNKNOWN


def test_verdict_when_it_is_a_zombie_then_dead() -> None:
    """It has ended, and only its parent hasn't noticed."""
    child = subprocess.Popen(["sleep", "60"])
    started = start_ticks(child.pid)
    assert started is not None
    who = dataclasses.replace(this_process(), pid=child.pid, started=started)
    assert verdict_here(who) is Verdict.ALIVE
    child.kill()
    os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)
    assert Path(f"/proc/{child.pid}/stat").exists()
    assert start_ticks(child.pid) is None
    assert verdict_here(who) is Verdict.DEAD
    child.wait()


def test_verdict_when_it_is_stopped_then_alive() -> None:
    """Whoever is only stopped may go on."""
    child = subprocess.Popen(["sleep", "60"])
    try:
        child.send_signal(signal.SIGSTOP)
        os.waitid(os.P_PID, child.pid, os.WSTOPPED | os.WNOWAIT)
        who = dataclasses.replace(this_process(), pid=child.pid, started=start_ticks(child.pid) or 0)
        assert verdict_here(who) is Verdict.ALIVE
    finally:
        child.kill()
        child.wait()


def test_start_ticks_when_the_commands_name_holds_blanks_and_parentheses_then_it_is_read_all_the_same(
    tmp_path: Path,
) -> None:
    program = tmp_path / "a) Z 1 (b"
    shutil.copy(shutil.which("sleep") or "", program)
    odd, plain = subprocess.Popen([program, "60"]), subprocess.Popen(["sleep", "60"])
    try:
        one, other = start_ticks(odd.pid), start_ticks(plain.pid)
        assert one is not None and other is not None
        assert 0 <= other - one < 500, "started one after the other"
    finally:
        for child in (odd, plain):
            child.kill()
            child.wait()


def test_who_when_written_and_read_then_the_same() -> None:
    me = this_process()
    assert Who.from_json(me.to_json()) == me
    assert me.pid == os.getpid()


@pytest.mark.parametrize("data", [None, 5, [], "x", {}, {"host": 5, "pid": "7", "started": None, "boot_id": ["x"]}])
def test_who_when_read_from_anything_then_it_is_never_provably_dead(data: object) -> None:
    who = Who.from_json(data)
    assert (who.host, who.boot_id, who.pid, who.started) == ("", "", 0, 0)
    assert verdict_here(who) is Verdict.UNKNOWN
    assert str(who) == "somebody on an unknown host, process 0"


def test_login_name_when_the_user_has_none_then_the_number(monkeypatch: pytest.MonkeyPatch) -> None:
    def nobody() -> str:
        raise KeyError("uid not found")

    monkeypatch.setattr("getpass.getuser", nobody)
    monkeypatch.setattr("os.getuid", lambda: 4321)
    assert login_name() == "uid4321"


def test_verdict_when_proc_hides_processes_of_other_users_then_unknown(monkeypatch: pytest.MonkeyPatch) -> None:
    """Mounted with hidepid, /proc shows nothing of them, and kill(2) says that they are there."""
    me = this_process()

    def kill(pid: int, number: int) -> None:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr("crh_batch.ledger.identity.os.kill", kill)
    monkeypatch.setattr("crh_batch.ledger.identity.start_ticks", lambda pid: None)
    monkeypatch.setattr("crh_batch.ledger.identity.os.path.exists", lambda path: False)
    assert verdict_here(me) is Verdict.UNKNOWN
