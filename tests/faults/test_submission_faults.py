"""Promise: nothing is submitted twice, whatever sbatch and squeue say and whenever clients are killed.

Each trial is a batch of two classes in a directory of its own. Clients go on with it as ``submit`` does, one after
another or two at a time, while commands fail before or after acting, time out, print a banner, or end with their
client. In the end the faults stop, and one more client must leave every class with one live array.

CRH_BATCH_TRIALS asks for more trials, CRH_BATCH_SEED for others.
"""

from __future__ import annotations

import contextlib
import os
import random
import signal
from collections import Counter
from dataclasses import replace
from pathlib import Path

import jinja2  # noqa: F401 - clients are forks of this process, so what they would load is loaded once
import pytest

from crh_batch.engines import pilots
from crh_batch.engines.array import ArrayEngine
from crh_batch.engines.resume import resume
from crh_batch.errors import CrhBatchError
from crh_batch.ledger.batch import Batch
from crh_batch.ledger.settings import ItemClass, write_settings
from crh_batch.ledger.submissions import read_submissions
from crh_batch.profile import Profile
from crh_batch.schedulers.slurm import Slurm
from faults.lying_scheduler import Cluster, LyingHost
from unit.ledger.making import make_batch, make_item

TRIALS = int(os.environ.get("CRH_BATCH_TRIALS", "200"))
SEED = int(os.environ.get("CRH_BATCH_SEED", "1"))
MOST_COMMANDS = 6
FAULTY = 0.4


def _client(batch_directory: str, cluster: Cluster, seed: int, share: float, *, late: bool = False) -> int:
    """Start a client in a process of its own, as the shell does; return its process."""
    pid = os.fork()
    if pid:
        return pid
    with contextlib.suppress(BaseException):
        pilots.LATE_S = 0.0
        host = LyingHost(cluster, random.Random(seed), share, late=late)
        engine = ArrayEngine(Slurm(), host, Profile(max_threads=8, follow_ups=1))
        with contextlib.suppress(CrhBatchError):
            resume(Batch(batch_directory), engine, host, collect=False)
        os._exit(0)
    os._exit(70)


def _wait_for(pids: list[int]) -> None:
    for pid in pids:
        _, status = os.waitpid(pid, 0)
        killed = os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGKILL
        assert killed or os.WEXITSTATUS(status) == 0, f"a client has a fault: {status}"


def _problems(batch: Batch, cluster: Cluster, arrays: int) -> list[str]:
    """Return what must never be: a token with two jobs, a class with more live arrays than wanted."""
    found = []
    jobs = cluster.jobs()
    names = Counter(job["name"] for job in jobs)
    found += [f"{name} was submitted {number} times" for name, number in names.items() if number > 1]
    tokens = {one.token: one for one in read_submissions(batch.paths)}
    unknown = {name.removeprefix("crh-") for name in names} - set(tokens)
    found += [f"{token} is a job, and nobody knows of it" for token in unknown]
    live = Counter(tokens[job["name"][4:]].threads for job in jobs if job["state"] == "PENDING")
    found += [f"{number} live arrays of {threads} threads" for threads, number in live.items() if number > arrays]
    return found


@pytest.mark.timeout(600)
@pytest.mark.parametrize("keep_going", [False, True], ids=["one array a class", "with follow-ups"])
def test_nothing_is_submitted_twice_in_200_trials(place: Path, *, keep_going: bool) -> None:
    arrays = 2 if keep_going else 1
    killed = submitted = 0
    for trial in range(TRIALS // 2):
        chance = random.Random(f"{SEED} {keep_going} {trial}")
        root = place / f"trial{trial:03d}"
        root.mkdir()
        items = [make_item(number, threads=5 if number < 2 else 1) for number in range(5)]
        batch = make_batch(root, items, classes=[ItemClass(5, 0, 2), ItemClass(1, 2, 5)])
        write_settings(batch.paths, replace(batch.settings, keep_going=keep_going))
        cluster = Cluster(root / "cluster")
        for _ in range(chance.randint(1, MOST_COMMANDS)):
            at_a_time = chance.choice((1, 1, 2))
            seeds = [chance.randrange(1 << 30) for _ in range(at_a_time)]
            _wait_for([_client(batch.paths.directory, cluster, seed, FAULTY) for seed in seeds])
            what = f"seed {SEED}, trial {trial}"
            assert not _problems(batch, cluster, arrays), what
            if chance.random() < 0.3:
                cluster.end(chance)
        killed += not all((Path(batch.paths.names) / f"{name.name}.end").exists() for name in _custodies(batch))
        _wait_for([_client(batch.paths.directory, cluster, 1, 0.0)])
        assert not _problems(batch, cluster, arrays), what
        assert not any(one.is_open for one in read_submissions(batch.paths)), what
        live = Counter(
            one.threads
            for one in read_submissions(batch.paths)
            if f"crh-{one.token}" in {job["name"] for job in cluster.jobs() if job["state"] == "PENDING"}
        )
        assert live == {5: arrays, 1: arrays}, f"{what}: all is submitted in the end"
        submitted += len(cluster.jobs())
    print(f"{TRIALS // 2} trials: {submitted} jobs, none twice; clients were killed in {killed} of them")
    assert killed > TRIALS / 20, "the faults do happen"


def test_a_job_that_is_taken_in_late_has_the_token_of_the_one_that_was_sent_again(place: Path) -> None:
    """A busy controller says that there is no such job, and takes it in afterwards: there never are two submissions."""
    twice = 0
    for trial in range(max(10, TRIALS // 4)):
        chance = random.Random(f"{SEED} late {trial}")
        root = place / f"trial{trial:03d}"
        root.mkdir()
        batch = make_batch(root, [make_item(0), make_item(1)])
        cluster = Cluster(root / "cluster")
        for _ in range(3):
            _wait_for([_client(batch.paths.directory, cluster, chance.randrange(1 << 30), 0.7, late=True)])
        # Until all that was taken in has appeared, and once more.
        for _ in range(6):
            _wait_for([_client(batch.paths.directory, cluster, 1, 0.0)])
        jobs = cluster.jobs()
        live = [job["name"] for job in jobs if job["state"] == "PENDING"]
        assert len(live) == 1, f"seed {SEED}, trial {trial}: {jobs}"
        assert len({job["name"] for job in jobs}) == 1, f"seed {SEED}, trial {trial}: {jobs}"
        twice += len(jobs) > 1
    assert twice, "some are taken in twice"


def _custodies(batch: Batch) -> list[Path]:
    return [one for one in Path(batch.paths.names).glob("custody.*") if not one.name.endswith(".end")]
