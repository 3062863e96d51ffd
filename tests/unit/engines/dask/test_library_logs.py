"""What dask and its libraries log never reaches the user of a driver."""

from __future__ import annotations

import subprocess
import sys

SCRIPT = """\
import logging, sys
import crh_batch.engines.dask.driver
from crh_batch.engines.dask.library_logs import silence_libraries

def speak():
    for name in ("tornado.application", "distributed.client", "distributed.comm.tcp", "bokeh.server", "asyncio"):
        logging.getLogger(name).error("%s speaks", name)

speak()
print("silence", file=sys.stderr)
silence_libraries()
speak()
"""


def test_libraries_that_would_log_errors_say_nothing_once_they_are_silenced() -> None:
    said = subprocess.run([sys.executable, "-c", SCRIPT], capture_output=True, text=True, check=True).stderr
    before, after = said.split("silence\n")
    assert "tornado.application speaks" in before and "distributed.client speaks" in before, "they do speak"
    assert after == ""
