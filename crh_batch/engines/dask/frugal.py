"""Little virtual memory for processes with dask in them, where there is a limit on it: SGE's h_vmem.

Measured with numpy 2.4: `import distributed` brings numpy, and with it OpenBLAS, which maps 40 MB for each core of the
node. On a node of 64 cores that is ten times what a worker asks for.
"""

from __future__ import annotations

import os

from crh_batch.pilot import virtual_memory


def be_frugal() -> None:
    """Keep small what is to come; to be called before dask is imported. Programs have an environment of their own."""
    os.environ["OPENBLAS_NUM_THREADS"] = "1"
    virtual_memory.spare()
