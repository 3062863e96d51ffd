"""What a node offers to a pilot, looked at by `crh-batch profile test`: programs, scratch, cores, memory."""

from __future__ import annotations

import contextlib
import os
import re
import resource
import shutil
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from typing import Any

from crh_batch.ledger import durable
from crh_batch.pilot.program import program_environment

# A program that can't read its input ends at once; one behind a container may take a while to begin.
_PROGRAM_S = 40.0
_SCRATCH_BYTES = 8 << 20
_NETWORK = ("nfs", "nfs4", "lustre", "gpfs", "beegfs", "ceph", "fuse.glusterfs", "cifs", "smb3", "afs", "9p", "pvfs2")


def python_facts() -> dict[str, Any]:
    """Return which Python the pilot runs on."""
    return {"executable": sys.executable, "version": ".".join(map(str, sys.version_info[:3]))}


def core_facts(asked: int, environment: Mapping[str, str]) -> dict[str, Any]:
    """Return the cores that this process may use, beside those that were asked for."""
    given = {
        key: environment[key] for key in ("SLURM_CPUS_PER_TASK", "NSLOTS", "OMP_NUM_THREADS") if key in environment
    }
    return {
        "asked": asked,
        "usable": len(os.sched_getaffinity(0)),
        "node": os.cpu_count() or 0,
        "environment": given,
    }


def memory_facts(asked_mb: int) -> dict[str, Any]:
    """Return the limits that the kernel holds this process to, in bytes, by where they are set."""
    limits = {}
    # SGE's h_vmem. RLIMIT_RSS, which Slurm may set, has had no effect since Linux 2.4 (getrlimit(2)).
    soft, _ = resource.getrlimit(resource.RLIMIT_AS)
    if soft != resource.RLIM_INFINITY:
        limits["RLIMIT_AS"] = soft
    group = _cgroup_limit()
    if group is not None:
        limits["cgroup"] = group
    return {"asked_mb": asked_mb, "limits": limits}


def _cgroup_limit() -> int | None:
    """Return the lowest memory limit of this process's control groups, of version 1 or 2 (cgroups(7)); None if none."""
    found = []
    with contextlib.suppress(OSError), open("/proc/self/cgroup", encoding="utf-8") as stream:
        for line in stream:
            _, controllers, path = line.rstrip("\n").split(":", 2)
            if controllers in ("", "memory"):
                top = "/sys/fs/cgroup/memory" if controllers else "/sys/fs/cgroup"
                found += _limits_upwards(top, path, "memory.limit_in_bytes" if controllers else "memory.max")
    return min(found, default=None)


def _limits_upwards(top: str, path: str, name: str) -> list[int]:
    found = []
    parts = [part for part in path.split("/") if part]
    for count in range(len(parts) + 1):
        with contextlib.suppress(OSError, ValueError), open(os.path.join(top, *parts[:count], name)) as stream:
            limit = int(stream.read())
            # Version 1 writes "no limit" as a huge number.
            if limit < 1 << 60:
                found.append(limit)
    return found


def scratch_facts(base: str, word: str) -> dict[str, Any]:
    """Try the place for private directories: make one, write to it, look at room and kind.

    Args:
        base: as the profile says it, with variables of the node.
        word: makes the directory's name unique.
    """
    place = os.path.expandvars(base)
    facts: dict[str, Any] = {"asked": base, "path": place, "error": ""}
    directory = os.path.join(place, f"crh-batch-trial-{word}")
    try:
        if "$" in place:
            raise OSError(0, "a variable in it is not set on this node")
        os.makedirs(directory, mode=0o700)
        facts["write_mb_s"] = _write_speed(os.path.join(directory, "probe"))
        room = os.statvfs(directory)
        facts["free_bytes"] = room.f_bavail * room.f_frsize
        facts["free_inodes"] = room.f_favail
        kind = durable.filesystem_type(os.stat(directory).st_dev)
        facts["filesystem"] = kind
        facts["is_network"] = kind in _NETWORK
    except OSError as error:
        facts["error"] = error.strerror or str(error)
    finally:
        shutil.rmtree(directory, ignore_errors=True)
    return facts


def _write_speed(path: str) -> float:
    began = time.monotonic()
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        durable.write_all(descriptor, os.urandom(1 << 20) * (_SCRATCH_BYTES >> 20))
        durable.sync(descriptor)
    finally:
        os.close(descriptor)
    return round(_SCRATCH_BYTES / (1 << 20) / max(time.monotonic() - began, 1e-6), 1)


def program_facts(name: str, path: str, container: Sequence[str], threads: int, place: str) -> dict[str, Any]:
    """Start CRMod or CRTomo in an empty directory, where it finds no input and ends, and see whether it began.

    Args:
        container: words before the path.
        threads: for OMP_NUM_THREADS.
        place: where the empty directory is made.
    """
    facts: dict[str, Any] = {"name": name, "path": path, "error": "", "missing": [], "omp_threads": None}
    directory = os.path.join(place, f"crh-batch-trial-{durable.random_word()}")
    try:
        os.makedirs(directory, mode=0o700)
        done = subprocess.run(
            [*container, path],
            cwd=directory,
            env=program_environment(threads),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=_PROGRAM_S,
            check=False,
        )
    except subprocess.TimeoutExpired:
        facts["error"] = f"did not end within {_PROGRAM_S:.0f} s"
        return facts
    except OSError as error:
        facts["error"] = f"can't be started: {error.strerror or error}"
        return facts
    finally:
        shutil.rmtree(directory, ignore_errors=True)
    said = done.stdout.decode(errors="replace")
    words = (done.stderr.decode(errors="replace") or said).strip()
    threads_said = re.search(r"OpenMP max threads:\s*(\d+)", said)
    facts["exit_status"] = done.returncode
    facts["omp_threads"] = int(threads_said.group(1)) if threads_said else None
    if "Process_ID" not in said:
        # Both programs say their process id before anything else; without it they did not come so far.
        facts["error"] = (words.splitlines() or [f"ended with {done.returncode} and said nothing"])[-1][:500]
        facts["missing"] = _missing_libraries(path, container)
    return facts


def _missing_libraries(path: str, container: Sequence[str]) -> list[str]:
    try:
        done = subprocess.run(
            [*container, "ldd", path], stdin=subprocess.DEVNULL, capture_output=True, timeout=20, check=False
        )
    except (OSError, subprocess.SubprocessError):
        return []
    return re.findall(r"^\s*(\S+) => not found", done.stdout.decode(errors="replace"), re.MULTILINE)
