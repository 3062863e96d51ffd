"""The process between a test and one daemon: it answers for all that comes of it, and outlives nobody.

A daemon that a test starts has to go when the test goes, also when that was killed with SIGKILL and could not
clean up. So have the processes that the daemon started and let go, such as slurmstepd and the programs of its
jobs; these would become children of init and could not be told from foreign ones afterwards. Hence this process:

- it is a "child subreaper" (prctl(2)): whatever is orphaned below it becomes its child, and so stays findable;
- it ends everything below it and itself when its standard input closes, or when its parent is another than at
  the start. Both, since a fork of the test process may hold the pipe open;
- its daemon has PR_SET_PDEATHSIG, so that a supervisor that is killed itself takes the daemon along. What the
  daemon let go is left then: nobody should kill a supervisor.

It talks in lines. A command is one word, and its answer is one line:

=============  ===========================================================================================
``start``      start the daemon; ``running PID``
``status``     ``running PID``, or ``ended STATUS`` (as in ``subprocess``: negative for a signal)
``signal N``   send N to the daemon alone; ``sent``
``kill``       SIGKILL to the daemon alone, wait for its end; ``ended STATUS``. What it let go lives on
``clear``      SIGKILL to everything below; ``cleared``
=============  ===========================================================================================

Run as ``python -I supervisor.py DESCRIPTION``, a JSON object with argv, env, cwd, log, parent (its pid), and
optionally hostname and hosts: then the daemon gets UTS and mount namespaces of its own, in which the machine has
that name and /etc/hosts is that file. It uses the standard library alone and starts in 30 ms.
"""

from __future__ import annotations

import ctypes
import json
import os
import select
import signal
import sys
import time
from pathlib import Path
from typing import Any

_PR_SET_PDEATHSIG = 1
_PR_SET_CHILD_SUBREAPER = 36
_CLONE_NEWNS = 0x00020000
_CLONE_NEWUTS = 0x04000000
_MS_BIND = 0x1000
_MS_REC = 0x4000
_MS_SLAVE = 0x80000
_TICK_S = 0.25

_libc = ctypes.CDLL(None, use_errno=True)


def _check(result: int, what: str) -> None:
    if result != 0:
        error = ctypes.get_errno()
        raise OSError(error, f"{what}: {os.strerror(error)}")


def enter_own_names(hostname: str, hosts: str) -> None:
    """Give this process and its children a host name and an /etc/hosts of their own.

    Raises:
        OSError: the kernel or the container does not allow it.
    """
    _check(_libc.unshare(_CLONE_NEWUTS | _CLONE_NEWNS), "unshare")
    # Slave: what is mounted outside later is still seen here (if it is shared there); nothing gets out.
    _check(_libc.mount(None, b"/", None, _MS_REC | _MS_SLAVE, None), "mount --make-rslave /")
    _check(_libc.mount(os.fsencode(hosts), b"/etc/hosts", None, _MS_BIND, None), "bind /etc/hosts")
    os_name = hostname.encode()
    _check(_libc.sethostname(os_name, len(os_name)), "sethostname")


def descendants(root: int) -> list[int]:
    """Return the processes below ``root``, zombies not counted, from one look at /proc."""
    children: dict[int, list[int]] = {}
    dead: set[int] = set()
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        try:
            # The name, in brackets, may hold anything; what follows the last bracket is regular.
            state, parent = (entry / "stat").read_text(errors="replace").rpartition(")")[2].split()[:2]
        except OSError:
            continue  # RACE: it ended between the listing and the look
        children.setdefault(int(parent), []).append(int(entry.name))
        if state in "ZX":
            dead.add(int(entry.name))
    found: list[int] = []
    waiting = [root]
    while waiting:
        below = children.get(waiting.pop(), [])
        found += below
        waiting += below
    return [pid for pid in found if pid not in dead]


class Supervisor:
    """One daemon, its orphans, and what its end was."""

    def __init__(self, description: dict[str, Any]) -> None:
        self.argv: list[str] = description["argv"]
        self.env: dict[str, str] = description["env"]
        self.cwd: str = description["cwd"]
        self.log: str = description["log"]
        self.pid = 0
        self.ended: int | None = None

    def start(self) -> str:
        """Start the daemon unless it runs."""
        self.reap()
        if self.pid and self.ended is None:
            return self.status()
        supervisor = os.getpid()
        self.ended = None
        self.pid = os.fork()
        if self.pid == 0:
            self._become_daemon(supervisor)
        return self.status()

    def _become_daemon(self, supervisor: int) -> None:
        try:
            _libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
            if os.getppid() != supervisor:
                os._exit(125)  # RACE: the supervisor ended before prctl
            os.setsid()
            log = os.open(self.log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
            os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
            os.dup2(log, 1)
            os.dup2(log, 2)
            os.closerange(3, 256)
            os.umask(0o022)
            os.chdir(self.cwd)
            os.execve(self.argv[0], self.argv, self.env)
        except OSError as error:
            os.write(2, f"{self.argv[0]}: {error}\n".encode())
        finally:
            os._exit(126)

    def reap(self) -> None:
        """Take note of what ended; orphans are reaped as well, as init would do."""
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if pid == 0:
                return
            if pid == self.pid:
                self.ended = os.waitstatus_to_exitcode(status)

    def status(self) -> str:
        """Say how the daemon is."""
        self.reap()
        if not self.pid:
            return "ended 0"
        return f"running {self.pid}" if self.ended is None else f"ended {self.ended}"

    def signal(self, number: int) -> str:
        """Signal the daemon alone; its pid can't be another's, since only ``reap`` gives it back."""
        self.reap()
        if self.pid and self.ended is None:
            os.kill(self.pid, number)
        return "sent"

    def kill(self) -> str:
        """Kill the daemon alone."""
        self.signal(signal.SIGKILL)
        while self.status().startswith("running"):
            time.sleep(0.005)
        return self.status()

    def clear(self) -> str:
        """Kill everything below, again and again, since what is being killed may still be forking."""
        while True:
            below = descendants(os.getpid())
            if not below:
                self.reap()
                return "cleared"
            for pid in below:
                try:
                    os.kill(pid, signal.SIGKILL)
                except ProcessLookupError:
                    pass
            time.sleep(0.005)
            self.reap()

    def obey(self, command: str) -> str:
        """Carry out one line."""
        word, _, argument = command.partition(" ")
        if word == "start":
            return self.start()
        if word == "status":
            return self.status()
        if word == "signal":
            return self.signal(int(argument))
        if word == "kill":
            return self.kill()
        if word == "clear":
            return self.clear()
        return f"unknown command {word!r}"


def main() -> None:
    """Serve commands until standard input closes or the parent is gone."""
    description = json.loads(sys.argv[1])
    _check(_libc.prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0), "prctl(PR_SET_CHILD_SUBREAPER)")
    if description.get("hostname"):
        enter_own_names(description["hostname"], description["hosts"])
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)  # it goes when its parent goes, not before
    supervisor = Supervisor(description)
    unread = b""
    try:
        while os.getppid() == description["parent"]:
            if not select.select([0], [], [], _TICK_S)[0]:
                supervisor.reap()
                continue
            received = os.read(0, 65536)
            if not received:
                break
            *lines, unread = (unread + received).split(b"\n")
            for line in lines:
                os.write(1, supervisor.obey(line.decode()).encode() + b"\n")
    except BrokenPipeError:
        pass  # nobody reads answers any more
    finally:
        supervisor.clear()


if __name__ == "__main__":
    main()
