"""A time-lapse chain on several nodes: in order, each step from the last one's result, wherever that was made."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from clusters.cluster import Cluster
from conftest import Crh, tree_sums, wait_until
from crh_batch.demo import write_time_lapse
from crh_batch.ledger.batch import Batch, batches_of
from crh_batch.ledger.names import claim_mark
from crh_batch.ledger.session import SessionHeader, holder_of, read_events, read_header

OURS = ("crh.json", "crh.modelling.out", "crh.modelling.err", "crh.inversion.out", "crh.inversion.err")
STEPS = 5


@pytest.fixture
def survey(tmp_path: Path, programs: Path) -> Path:
    """A chain whose CRTomo waits in each step for a file ``gate-<step>``."""
    root = tmp_path / "survey"
    write_time_lapse(root, STEPS)
    script = tmp_path / "gated-crtomo"
    script.write_text(
        '#!/bin/bash\nstep=$(basename "$(dirname "$PWD")")\n'
        f'while [ ! -e {tmp_path}/gate-"$step" ]; do sleep 0.05; done\nexec {programs}/CRTomo_stable\n'
    )
    script.chmod(0o755)
    (root / "crh-batch.toml").write_text(f'crtomo = "{script}"\nwarn_s = 30\ntime_minutes = 10\n')
    return root


def results_in(tomodir: Path) -> dict[str, str]:
    return tree_sums(tomodir, skip=(*OURS, "run.ctr", "crtomo.pid", "crmod.pid"))


def by_hand(root: Path, programs: Path) -> list[dict[str, str]]:
    """Run the programs in the tomodirs themselves, one after another; return the sums of all files."""
    paths = write_time_lapse(root, STEPS)
    for path in paths:
        for program in ("CRMod_stable", "CRTomo_stable"):
            surroundings = {**os.environ, "OMP_NUM_THREADS": "1"}
            subprocess.run(
                [programs / program], cwd=root / path / "exe", env=surroundings, capture_output=True, check=True
            )
    return [results_in(root / path) for path in paths]


def counts(crh: Crh, root: Path) -> dict[str, int]:
    said = json.loads(crh("status", "--json", cwd=root, local=False, code=None).stdout)
    return {name: number for name, number in said["counts"].items() if number}


def runner_of(batch: Batch, item_id: int, attempt: int) -> SessionHeader | None:
    """Return the session that has claimed an attempt."""
    token = holder_of(batch.paths.name(item_id, claim_mark(attempt)))
    return read_header(batch.paths, token) if token else None


def wait_for_runner(cluster: Cluster, batch: Batch, item_id: int, attempt: int) -> SessionHeader:
    found: Any = wait_until(
        f"somebody has claimed number {item_id}, attempt {attempt}",
        lambda: runner_of(batch, item_id, attempt),
        timeout_s=60,
        pause_s=0.2,
    )
    assert isinstance(found, SessionHeader)
    return found


def submit_another_pilot(cluster: Cluster, batch: Batch, node: str) -> str:
    """Start one more pilot on a node, as a user does who has a job of his own; return the job's id."""
    script = Path(batch.paths.directory, f"pilot-on-{node}.sh")
    script.write_text(f"#!/bin/bash\nexec {sys.executable} -I -S pilot.pyz . --cores 1\n")
    argv = ["sbatch", "--parsable", f"--nodelist={node}", f"--chdir={batch.paths.directory}", "--array=0", str(script)]
    return cluster.run(argv).stdout.strip()


@pytest.mark.slurm
def test_chain_when_pilots_end_under_way_then_it_runs_in_order_on_three_nodes(
    slurm_env: Cluster, survey: Path, tmp_path: Path, programs: Path, crh: Crh
) -> None:
    """A chain of five that three nodes share.

    1. A pilot on each of three nodes; one of them runs time0, the others have nothing to do and stay.
    2. The first one's job is cancelled in time1, the second one's in time2: others take these up, from the packs.
    3. The results are those of five runs by hand, one after another.
    """
    crh("submit", cwd=survey, local=False)
    batch = Batch(batches_of(str(survey))[-1])
    ids = {item.path: item.item_id for item in batch.items}
    assert [ids[f"time{number}"] for number in range(STEPS)] == list(range(STEPS))
    first = wait_for_runner(slurm_env, batch, 0, 1)
    nodes = {"n1", "n2", "n3"}
    node_of = {first.job.job_id: slurm_env.node_of(first.job.job_id)}
    for node in sorted(nodes - set(node_of.values())):
        node_of[submit_another_pilot(slurm_env, batch, node)] = node
    assert set(node_of.values()) == nodes

    def pilots() -> int:
        return len(list(Path(batch.paths.sessions).glob("slurm-*.crh")))

    wait_until("a pilot on each node", lambda: pilots() == 3, timeout_s=60, pause_s=0.2)
    assert counts(crh, survey) == {"running": 1, "waiting": 4}
    (tmp_path / "gate-time0").touch()
    for step in (1, 2):
        running = wait_for_runner(slurm_env, batch, step, 1)
        slurm_env.cancel(running.job.job_id)
        again = wait_for_runner(slurm_env, batch, step, 2)
        assert again.job.job_id != running.job.job_id
        (tmp_path / f"gate-time{step}").touch()
    for step in (3, 4):
        (tmp_path / f"gate-time{step}").touch()
    crh("wait", "--timeout", "90", cwd=survey, local=False)

    when = []
    used = set()
    for number in range(STEPS):
        token = holder_of(batch.paths.name(number, "done")) or ""
        header = read_header(batch.paths, token)
        assert header is not None
        used.add(node_of[header.job.job_id])
        events = [one for one in read_events(batch.paths, token) if one.get("id") == number]
        claimed = max(one["time"] for one in events if one["event"] == "claim")
        when.append((claimed, next(one["time"] for one in events if one["event"] == "done")))
    assert used == nodes
    assert all(later[0] > earlier[1] for earlier, later in zip(when, when[1:])), when
    assert not (survey / "time0/inv/rho02.modl").exists(), "results went from pack to node, nothing was collected"
    crh("collect", cwd=survey, local=False)
    assert [results_in(survey / f"time{number}") for number in range(STEPS)] == by_hand(tmp_path / "hand", programs)
