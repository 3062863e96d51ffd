"""A GlusterFS of three mounts for the tests of this folder: each mount is a node with caches of its own."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from clusters.glusterfs import GlusterFs
from clusters.packages import need_glusterfs

pytest.register_assert_rewrite("faults.surveys")


@pytest.fixture(scope="session")
def glusterfs() -> Iterator[GlusterFs]:
    need_glusterfs()
    with GlusterFs(mounts=3) as filesystem:
        yield filesystem
        filesystem.check()


@pytest.fixture
def nodes(glusterfs: GlusterFs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[Path, Path, Path]]:
    """A new directory, as each of three nodes sees it; what still runs for it afterwards is ended."""
    from faults.surveys import end_processes_of

    scratch = tmp_path / "scratch"
    scratch.mkdir()
    monkeypatch.setenv("TMPDIR", str(scratch))
    name = os.path.basename(tempfile.mkdtemp(dir=glusterfs.mounts[0]))
    first, second, third = (mount / name for mount in glusterfs.mounts)
    yield first, second, third
    for place in (first, second, third, scratch):
        end_processes_of(place)
