"""What runs on the other side of an SSH connection: takes requests, one line of JSON each, and answers in the same way.

It is sent as text (other_end.py) and started by ``python3 -c``, so it and the modules remote_*.py use the standard
library of Python 3.6 and later alone, and nothing else of crh_batch. argv and paths come as data: no shell of the
other side ever reads them. While a request takes its time, an empty line now and then says that this side lives.

A command that was begun is not ended when the connection goes: an sbatch that was cut off may have submitted.
"""

# ruff: noqa: UP006, UP035 - Python 3.6 has no dict[str, Any].
from __future__ import annotations

import errno
import json
import os
import shutil
import signal
import subprocess
import sys
import threading
from typing import Any, Callable, Dict

from crh_batch.hosts import remote_files, remote_ledger, remote_unpack
from crh_batch.hosts.remote_durable import as_path, as_text

Request = Dict[str, Any]
Answer = Dict[str, Any]

_BLOCK = 1 << 18
_IDLE_SIGN_S = 300.0


def run(request: Request) -> Answer:
    """Run an argv to its end, or to its time's."""
    environment = {name: text for name, text in os.environ.items() if _is_kept(name)}
    done = subprocess.Popen(
        [as_path(word) for word in request["argv"]],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=environment,
        cwd=as_path(request["cwd"]) if request.get("cwd") else None,
        start_new_session=True,
    )
    try:
        out, complaints = done.communicate(timeout=request["timeout_s"])
        status = done.returncode
    except subprocess.TimeoutExpired:
        try:
            os.killpg(done.pid, signal.SIGKILL)
        except OSError:
            # It has ended just now, or runs as somebody else. An error here would say that it never began.
            pass
        status = None
        try:
            out, complaints = done.communicate(timeout=5)
        except subprocess.TimeoutExpired as error:
            # Something that left its group still holds the pipes.
            out, complaints = error.output or b"", b""
    return {"status": status, "stdout": out.decode(errors="replace"), "stderr": complaints.decode(errors="replace")}


def _is_kept(name: str) -> bool:
    """Return whether a variable is no remnant of a surrounding job, which a nested sbatch would inherit."""
    return not name.startswith("SLURM_") or name == "SLURM_CONF"


def has(request: Request) -> Answer:
    """Say whether a program is on PATH."""
    return {"has": shutil.which(request["program"]) is not None}


def facts(request: Request) -> Answer:
    """Say what this side is."""
    home = os.path.expanduser("~")
    scratch = os.environ.get("SCRATCH", "")
    stages = os.path.join(scratch, "crh-batch") if os.path.isabs(scratch) else os.path.join(home, "crh-batch-stages")
    return {
        "home": as_text(os.fsencode(home)),
        "python": sys.version.split()[0],
        "host": os.uname().nodename,
        "machine": os.uname().machine,
        "user": str(os.getuid()),
        "stages": as_text(os.fsencode(stages)),
    }


def ping(request: Request) -> Answer:
    """Say that this side is there."""
    return {}


REQUESTS: Dict[str, Callable[[Request], Answer]] = {
    "run": run,
    "has": has,
    "facts": facts,
    "ping": ping,
    "digest": remote_files.digest,
    "list": remote_files.listing,
    "exists": remote_files.exists,
    "make_directories": remote_files.make_directories,
    "write": remote_files.write,
    "begun": remote_files.begun,
    "publish": remote_files.publish,
    "links": remote_files.links,
    "space": remote_files.space,
    "remove": remote_files.remove,
    "unpack": remote_unpack.unpack,
    "names": remote_ledger.names,
    "sizes": remote_ledger.sizes,
    "tails": remote_ledger.tails,
    "win": remote_ledger.win,
}

# What may be asked once more when nobody knows whether it was done.
REPEATABLE = frozenset(REQUESTS) - {"run"}


class Answers:
    """Writes answers, and signs of life: often while there is none yet, seldom while nothing is asked.

    Without the seldom ones this side would not learn for hours that a laptop has gone: who only listens hears nothing.
    """

    def __init__(self, stream: Any, sign_of_life_s: float) -> None:
        self._stream = stream
        self._lock = threading.Lock()
        self._is_busy = threading.Event()
        self._sign_of_life_s = sign_of_life_s
        threading.Thread(target=self._live, daemon=True).start()

    def begin(self) -> None:
        """Take note that a request is being worked on."""
        self._is_busy.set()

    def say(self, answer: Answer, data: bytes = b"") -> None:
        """Write an answer, or a part of one with the bytes that it announces."""
        with self._lock:
            self._stream.write(json.dumps(answer).encode() + b"\n" + data)
            self._stream.flush()

    def end(self, answer: Answer) -> None:
        """Write an answer that is the last one to a request."""
        self._is_busy.clear()
        self.say(answer)

    def _live(self) -> None:
        pause = threading.Event()
        while True:
            was_busy = self._is_busy.wait(_IDLE_SIGN_S)
            if was_busy:
                pause.wait(self._sign_of_life_s)
            if was_busy == self._is_busy.is_set():
                try:
                    with self._lock:
                        self._stream.write(b"\n")
                        self._stream.flush()
                except (OSError, ValueError):
                    return


def _send(request: Request, answers: Answers) -> Answer:
    """Send the ``length`` bytes of a file from ``offset`` on, as parts that each announce their ``bytes``."""
    path = as_path(request["path"])
    left = request["length"]
    with open(path, "rb") as stream:
        stream.seek(request["offset"])
        while left > 0:
            block = stream.read(min(left, _BLOCK))
            if not block:
                break
            answers.say({"bytes": len(block)}, block)
            left -= len(block)
    return {"sent": request["length"] - left}


def _receive(request: Request, requests: Any, answers: Answers) -> Answer:
    """Take a file's bytes; after a failure nothing that comes over this connection is a request any more."""
    try:
        return remote_files.receive(request, requests, answers.say)
    except Exception as error:
        answers.end(_error(error, request))
        while requests.read1(_BLOCK):
            pass
        sys.exit()


def _error(error: Exception, request: Request) -> Answer:
    if not isinstance(error, OSError):
        return {"error": repr(error), "path": "", "code": ""}
    # A write that fails names no file; what was asked for tells at least which filesystem it is.
    path = error.filename if error.filename is not None else as_path(_about(request))
    return {
        "error": error.strerror or str(error),
        "path": as_text(os.fsencode(path)) if isinstance(path, (str, bytes)) else "",
        "code": errno.errorcode.get(error.errno or 0, ""),
    }


def _about(request: Request) -> str:
    return next((request[key] for key in ("top", "path", "directory") if isinstance(request.get(key), str)), "")


def main(mark: str, sign_of_life_s: float) -> None:
    """Answer requests until the input closes.

    Args:
        mark: said first, and alone on its line: whatever the user's login scripts print comes before it.
        sign_of_life_s: how often an empty line is written while an answer takes its time.
    """
    requests = sys.stdin.buffer
    sys.stdout.buffer.write(mark.encode() + b"\n")
    sys.stdout.buffer.flush()
    answers = Answers(sys.stdout.buffer, sign_of_life_s)
    while True:
        line = requests.readline()
        if not line.endswith(b"\n"):
            return
        answers.begin()
        request = json.loads(line.decode())
        try:
            if request["do"] == "receive":
                answer = _receive(request, requests, answers)
            elif request["do"] == "send":
                answer = _send(request, answers)
            else:
                answer = REQUESTS[request["do"]](request)
        except Exception as error:
            answer = _error(error, request)
        try:
            answers.end(answer)
        except OSError:
            # Nobody listens any more. What comes from them now was cut off.
            return
