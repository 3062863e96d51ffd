"""The files of the control groups that this process is in.

Sources: Documentation/admin-guide/cgroup-v2.rst, cgroup-v1/memory.rst, cgroups(7).
"""

from __future__ import annotations

import contextlib
import os


def own_files(
    version_2: str, memory_version_1: str, *, root: str = "/sys/fs/cgroup", groups: str = "/proc/self/cgroup"
) -> list[str]:
    """Return where files of this process's own group lie, those that exist.

    Args:
        version_2: the file's name where there is one hierarchy.
        memory_version_1: its name in the hierarchy of the memory controller.
    """
    found = []
    with contextlib.suppress(OSError), open(groups, encoding="utf-8", errors="surrogateescape") as stream:
        for line in stream:
            _, controllers, path = line.rstrip("\n").split(":", 2)
            if not controllers:
                found.append(f"{root}{path.rstrip('/')}/{version_2}")
            elif "memory" in controllers.split(","):
                found.append(f"{root}/memory{path.rstrip('/')}/{memory_version_1}")
    return [path for path in found if os.path.exists(path)]
