"""Promises P2 to P5 on a real network filesystem with stale caches: one commit each, and no state goes back."""

from __future__ import annotations

import shutil
import subprocess
import time
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path

import pytest

from conftest import ON_ANOTHER_HOST, Crh, tree_sums, wait_until
from crh_batch.demo import write_small_models
from crh_batch.ledger.batch import batches_of
from crh_batch.ledger.names import StateName
from faults.surveys import RESULT, Survey, crh_argv, names_in, problems_of, write_tool
from faults.watching import Watcher

pytestmark = pytest.mark.glusterfs

PILOTS = 3
END_WITHIN_S = 200


def undisturbed(root: Path, paths: Sequence[str], beside: Path, programs: Path) -> Survey:
    """Run each tomodir once by the program alone, on a local disk, and say what must come out."""

    def run(path: str) -> str:
        subprocess.run([programs / "CRMod_stable"], cwd=beside / path / "exe", capture_output=True, check=True)
        return tree_sums(beside / path)[RESULT]

    inputs = {path: tree_sums(beside / path) for path in paths}
    with ThreadPoolExecutor(2) as pool:
        results = dict(zip(paths, pool.map(run, paths)))
    return Survey(root, tuple(paths), inputs, results)


def gated(local: Path, programs: Path) -> tuple[Path, Path, Path]:
    """Return a profile whose CRMod waits for a file, that file, and the directory where each run shows itself."""
    gate, begun, profile = local / "gate", local / "begun", local / "profile.toml"
    begun.mkdir()
    waits = f'mktemp "{begun}/XXXXXX" >/dev/null; while [ ! -e "{gate}" ]; do sleep 0.02; done'
    waits = f'if [ ! -e "{gate}" ]; then {waits}; fi'
    tool = write_tool(local / "gated-crmod", f'{waits}\nexec "{programs}/CRMod_stable"')
    profile.write_text(f'scheduler = "local"\ncrmod = "{tool}"\n')
    return profile, gate, begun


@pytest.mark.parametrize("count", [120, pytest.param(500, marks=[pytest.mark.long, pytest.mark.timeout(1200)])])
def test_pilots_on_two_nodes_and_clients_on_three_race(
    nodes: tuple[Path, Path, Path], tmp_path: Path, programs: Path, crh: Crh, count: int
) -> None:
    """Three pilots on each of two nodes begin as the batch is made; a third node collects while they run.

    Witnesses: the names, the sessions' records, each tomodir's exe/crh.json, and results compared byte by byte with
    those of a run by hand; meanwhile the states are read from every node.
    """
    one, two, three = (node / "survey" for node in nodes)
    paths = write_small_models(one, count, data=60, electrodes=16)
    survey = undisturbed(three, paths, shutil.copytree(one, tmp_path / "beside"), programs)
    profile, gate, begun = gated(tmp_path, programs)
    crh("submit", "-j", "1", "--profile", profile, cwd=one, timeout_s=END_WITHIN_S)
    (directory,) = batches_of(str(one))
    batch_id = Path(directory).name
    with ExitStack() as stack:
        watchers = [stack.enter_context(Watcher(node / ".crh-batch" / batch_id)) for node in (one, two, three)]
        argv = crh_argv("pilot", batch_id, "-j", "1")
        places = [(one, ())] * (PILOTS - 1) + [(two, ON_ANOTHER_HOST)] * PILOTS
        pilots = [
            subprocess.Popen([*prefix, *argv], cwd=cwd, stderr=subprocess.PIPE, text=True) for cwd, prefix in places
        ]
        # None has a start: each has its first tomodir when all begin.
        wait_until("all pilots have begun", lambda: len(list(begun.iterdir())) == 2 * PILOTS, timeout_s=120)
        gate.touch()
        began = time.monotonic()
        while any(pilot.poll() is None for pilot in pilots):
            crh("collect", cwd=three, code=None, timeout_s=END_WITHIN_S)
        for pilot in pilots:
            said = pilot.communicate(timeout=END_WITHIN_S)[1]
            assert pilot.returncode == 0, said
        crh("wait", cwd=three, timeout_s=END_WITHIN_S)
        crh("collect", cwd=three, timeout_s=END_WITHIN_S)
    took_s = time.monotonic() - began

    assert [line for watcher in watchers for line in watcher.went_back] == []
    assert problems_of(survey, once=True) == []
    names = [named for named in names_in(three) if named.mark == "done"]
    by_session = Counter(named.token for named in names)
    looks = [watcher.looks for watcher in watchers]
    print(f"{count} tomodirs in {took_s:.1f} s; done by session {sorted(by_session.values())}; looks {looks}")
    assert len(by_session) == 2 * PILOTS
    assert all(watcher.seen[StateName.RUNNING] for watcher in watchers)
