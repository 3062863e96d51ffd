"""The other end of a connection, run by this Python and by the oldest one at hand."""

from __future__ import annotations

import glob
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator

import pytest

from unit.hosts.pipe_host import PipeHost


def _oldest() -> str:
    """Return a Python that is older than what crh-batch itself needs, and that the other end still takes."""
    named = [shutil.which(f"python3.{minor}") or "" for minor in (6, 7, 8)]
    installed = sorted(glob.glob(os.path.expanduser("~/.pyenv/versions/3.[678].*/bin/python")))
    for path in [*installed, *named]:
        if path and subprocess.run([path, "-c", ""], capture_output=True).returncode == 0:
            return path
    return ""


OLDEST = _oldest()


@pytest.fixture(
    params=[
        "this Python",
        pytest.param("the oldest", marks=pytest.mark.skipif(not OLDEST, reason="no Python 3.6 to 3.8 at hand")),
    ]
)
def far(request: pytest.FixtureRequest) -> Iterator[PipeHost]:
    host = PipeHost(python=sys.executable if request.param == "this Python" else OLDEST)
    yield host
    host.close()
