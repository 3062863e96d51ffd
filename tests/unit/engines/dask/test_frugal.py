"""What dask brings along takes little virtual memory, however many cores the node has."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

IMPORTING = """
import os, resource, sys
resource.setrlimit(resource.RLIMIT_AS, (1 << 30, 1 << 30))
if sys.argv[1] == "frugal":
    from crh_batch.engines.dask.frugal import be_frugal
    be_frugal()
import distributed, numpy
print(len(os.listdir("/proc/self/task")))
"""


def threads_after_import(how: str) -> int:
    # More threads than the machine has cores are not started by OpenBLAS, so this can't ask for 64.
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("OPENBLAS_", "OMP_"))}
    argv = [sys.executable, "-c", IMPORTING, how]
    return int(subprocess.run(argv, env=environment, capture_output=True, text=True, check=True).stdout)


@pytest.mark.skipif((os.cpu_count() or 1) < 2, reason="OpenBLAS starts no thread on one core")
def test_be_frugal_when_dask_is_imported_then_no_thread_for_each_core_comes_along() -> None:
    assert threads_after_import("as it is") > 1, "else this test shows nothing"
    assert threads_after_import("frugal") == 1
