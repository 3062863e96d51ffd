"""A limit on virtual memory, such as SGE's h_vmem: the pilot's threads take little of it."""

from __future__ import annotations

import subprocess
import sys

import pytest

# Starts six threads that use malloc, and prints how much the process has mapped, in kB.
THREADS = """
import resource, sys, threading
if sys.argv[1] == "limited":
    resource.setrlimit(resource.RLIMIT_AS, (1 << 30, 1 << 30))
from crh_batch.pilot import virtual_memory
virtual_memory.spare()
over = threading.Event()
here = threading.Barrier(7)
def use():
    kept = [bytes(100_000) for _ in range(3)]
    here.wait()
    over.wait()
for _ in range(6):
    threading.Thread(target=use).start()
here.wait()
print(next(line.split()[1] for line in open("/proc/self/status") if line.startswith("VmSize")))
over.set()
"""


def mapped_mb(how: str) -> float:
    argv = [sys.executable, "-c", THREADS, how]
    return int(subprocess.run(argv, capture_output=True, text=True, check=True).stdout) / 1024


@pytest.mark.skipif(sys.platform != "linux", reason="the C library's arenas")
def test_spare_when_there_is_a_limit_then_threads_map_little() -> None:
    free, limited = mapped_mb("free"), mapped_mb("limited")
    # Six stacks of 8 MB become 1 MB each; arenas of 64 MB come on top where there are any.
    assert limited < free - 40, (limited, free)
