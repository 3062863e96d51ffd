"""What runs on the other side of an SSH connection: takes requests, one line of JSON each, and answers in the same way.

It is sent as text and started by ``python3 -c``, so it uses the standard library of Python 3.6 and later alone and
imports nothing of crh_batch. argv and paths come as data: no shell of the other side ever reads them.

A command that was begun is not ended when the connection goes: an sbatch that was cut off may have submitted.
"""

# ruff: noqa: UP006, UP035 - Python 3.6 has no dict[str, Any].
from __future__ import annotations

import hashlib
import json
import os
import shutil
import stat
import subprocess
import sys
from typing import Any, Dict

Request = Dict[str, Any]


def run(request: Request) -> Dict[str, Any]:
    """Run an argv to its end, or to its time's."""
    environment = {name: text for name, text in os.environ.items() if _is_kept(name)}
    try:
        done = subprocess.Popen(
            request["argv"],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=environment,
            cwd=request.get("cwd") or None,
            start_new_session=True,
        )
    except OSError as error:
        return {"error": error.strerror or str(error)}
    try:
        out, complaints = done.communicate(timeout=request["timeout_s"])
        status = done.returncode
    except subprocess.TimeoutExpired:
        os.killpg(done.pid, 9)
        out, complaints = done.communicate()
        status = None
    return {"status": status, "stdout": out.decode(errors="replace"), "stderr": complaints.decode(errors="replace")}


def _is_kept(name: str) -> bool:
    """Return whether a variable is no remnant of a surrounding job, which a nested sbatch would inherit."""
    return not name.startswith("SLURM_") or name == "SLURM_CONF"


def has(request: Request) -> Dict[str, Any]:
    """Say whether a program is on PATH."""
    return {"has": shutil.which(request["program"]) is not None}


def digest(request: Request) -> Dict[str, Any]:
    """Say how long a file is and the sha256 of its first ``length`` bytes (all if None); -1 if there is no file."""
    left = request.get("length")
    found = hashlib.sha256()
    try:
        with open(request["path"], "rb") as stream:
            size = os.fstat(stream.fileno()).st_size
            left = size if left is None else left
            while left > 0:
                block = stream.read(min(left, 1 << 20))
                if not block:
                    break
                found.update(block)
                left -= len(block)
    except FileNotFoundError:
        return {"size": -1, "sha256": ""}
    except OSError as error:
        return {"error": error.strerror or str(error)}
    return {"size": size, "sha256": found.hexdigest()}


def listing(request: Request) -> Dict[str, Any]:
    """List a directory: names with size, time of change in ns, and kind."""
    entries = []
    try:
        with os.scandir(request["path"]) as found:
            for entry in found:
                try:
                    facts = entry.stat(follow_symlinks=False)
                except FileNotFoundError:
                    continue
                kind = "d" if stat.S_ISDIR(facts.st_mode) else "f" if stat.S_ISREG(facts.st_mode) else "o"
                entries.append([entry.name, facts.st_size, facts.st_mtime_ns, kind])
    except FileNotFoundError:
        return {"entries": None}
    except OSError as error:
        return {"error": error.strerror or str(error)}
    return {"entries": sorted(entries)}


def publish(request: Request) -> Dict[str, Any]:
    """Make a received file durable and give it its name."""
    try:
        descriptor = os.open(request["part"], os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
        os.replace(request["part"], request["path"])
        descriptor = os.open(os.path.dirname(request["path"]) or ".", os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
    except OSError as error:
        return {"error": error.strerror or str(error)}
    return {}


def facts(request: Request) -> Dict[str, Any]:
    """Say what this side is."""
    return {
        "home": os.path.expanduser("~"),
        "python": sys.version.split()[0],
        "host": os.uname().nodename,
        "user": str(os.getuid()),
    }


def main() -> None:
    """Answer requests until the input closes."""
    requests, answers = sys.stdin.buffer, sys.stdout.buffer
    # Whatever the user's login scripts print comes before this line.
    answers.write(MARK.encode() + b"\n")  # type: ignore[name-defined]  # noqa: F821 - put in front by ssh.py
    answers.flush()
    known = {"run": run, "has": has, "digest": digest, "list": listing, "publish": publish, "facts": facts}
    while True:
        line = requests.readline()
        if not line:
            return
        request = json.loads(line.decode())
        try:
            answer = known[request["do"]](request)
        except Exception as error:
            answer = {"error": repr(error)}
        answers.write(json.dumps(answer).encode() + b"\n")
        answers.flush()


if __name__ == "__main__":
    main()
