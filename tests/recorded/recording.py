"""What the recorders of all schedulers share: a neutral machine, and cases as files of what was asked and answered."""

from __future__ import annotations

import ctypes
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parent))

from clusters import supervisor  # noqa: E402
from clusters.cluster import Cluster  # noqa: E402

SURVEY = Path("/srv/survey")


class Recorder:
    """Runs commands on one cluster and writes down what they said.

    Args:
        cases: the directory of the cases.
        version: the scheduler's, kept beside each.
        only: the names of those to be written; all if empty.
        seen: the names of all, gathered here.
    """

    def __init__(self, cluster: Cluster, cases: Path, version: str, only: set[str], seen: set[str]) -> None:
        self._cases = cases
        self._version = version
        self._only = only
        self._seen = seen
        # Nothing of the recording machine's environment but what every command needs.
        self._base = cluster.base
        self._env = {"PATH": "/usr/bin:/bin", "HOME": "/root", "LANG": "C.UTF-8", "TZ": "UTC", **cluster.env}

    def record(self, case: str, argv: list[str], stdin: str = "") -> str:
        """Run a command, keep it under the name of ``case``, and return its standard output."""
        assert case not in self._seen, f"two cases are called {case}"
        self._seen.add(case)
        done = subprocess.run(
            argv, cwd=SURVEY, env=self._env, input=stdin.encode(), capture_output=True, timeout=300, check=False
        )
        if not self._only or case in self._only:
            folder = self._cases / case
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir(parents=True)
            (folder / "argv.json").write_text(json.dumps(argv, indent=1) + "\n")
            (folder / "exit_status").write_text(f"{done.returncode}\n")
            (folder / "stdout").write_bytes(without(self._base, done.stdout))
            (folder / "stderr").write_bytes(without(self._base, done.stderr))
            (folder / "version").write_text(self._version)
            print(f"{case}: {done.returncode}", flush=True)
        return done.stdout.decode()


def without(base: Path, said: bytes) -> bytes:
    """Return what a command said, with the cluster's own directory called BASE: no path of a machine is kept."""
    return said.replace(os.fsencode(base), b"BASE")


@contextmanager
def neutral_machine() -> Iterator[None]:
    """Be on a machine called ``login`` whose /srv is empty, for the rest of this process."""
    with tempfile.NamedTemporaryFile("w", suffix=".hosts") as hosts:
        hosts.write("127.0.0.1 localhost login\n")
        hosts.flush()
        supervisor.enter_own_names("login", hosts.name)
        libc = ctypes.CDLL(None, use_errno=True)
        if libc.mount(b"tmpfs", b"/srv", b"tmpfs", 0, None) != 0:
            raise OSError(ctypes.get_errno(), "mount tmpfs on /srv")
        SURVEY.mkdir()
        os.environ["TZ"] = "UTC"
        yield


def drop_what_is_no_case(cases: Path, only: set[str], seen: set[str]) -> None:
    """Remove cases that nothing records any more; end the program if one was asked for that there isn't."""
    for folder in cases.iterdir():
        if folder.name not in seen:
            print(f"{folder.name}: no case any more")
            shutil.rmtree(folder)
    unknown = only - seen
    if unknown:
        sys.exit(f"no such case: {', '.join(sorted(unknown))}")
