"""The line to the cluster breaks at random bytes of sending and fetching: the same commands again bring all to its end.

CRH_BATCH_SEED asks for other places.
"""

from __future__ import annotations

import os
import random
import zlib
from collections import Counter
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import pytest

from clusters.cutting_proxy import CuttingProxy
from clusters.remote_cluster import Laptop, LoginNode
from conftest import tree_sums, wait_until
from crh_batch.demo import write_small_models
from crh_batch.ledger.batch import Batch, batches_of
from crh_batch.ledger.submissions import read_submissions

SEED = int(os.environ.get("CRH_BATCH_SEED", "1"))
MB = 1_000_000
# A line is slower than its ends: what it has brought they have taken.
LINE_BYTES_PER_S = 20 * MB
COMMANDS = (("--on", "levante", "submit"), ("wait",), ("collect",))
# So much more than the least may go over the line.
MOST_AGAIN = 1.1
# The batch itself, and files that say when and how long a tomodir ran.
NOT_RESULTS = (".crh-batch", "crh.json", "crmod.pid", "crh.modelling.out")
BIG_RESULT = "mod/pot/pot0001.dat"
# CRMod as it is, and beside it a result that can't be made smaller, the same each time.
MODELLING = """#!/usr/bin/env python3
import os, random, subprocess, sys
done = subprocess.run([{program!r}, *sys.argv[1:]])
os.makedirs(os.path.dirname("../{big}"), exist_ok=True)
with open("../{big}", "wb") as stream:
    # As large as it is in binary what the input has in hexadecimal.
    stream.write(random.Random(open("../rho/rho.dat").read()).randbytes(os.path.getsize("../grid/elem.dat") // 2))
sys.exit(done.returncode)
"""


def write_survey(directory: Path, size: int) -> Path:
    """Make a survey of two tomodirs with an input each that can't be made much smaller."""
    for number, path in enumerate(write_small_models(directory, 2, data=60, electrodes=16)):
        with (directory / path / "grid" / "elem.dat").open("a") as stream:
            stream.write(random.Random(number).randbytes(size).hex())
    return directory


class Line:
    """A laptop that comes to its login node over a line that may break.

    Attributes:
        failed: how many commands failed so far.
        ends: how many bytes had gone when submit, wait and collect were over.
    """

    def __init__(self, login: LoginNode, laptop: Laptop, proxy: CuttingProxy) -> None:
        self.laptop = laptop
        self.proxy = proxy
        self.failed = 0
        self.ends: list[int] = []
        laptop.set_way(login, port=proxy.port)

    def until_well(self, *arguments: str, cwd: Path) -> None:
        """Repeat a command until it ends well; each time that it doesn't it says in one message that the line broke."""
        while True:
            said = self.laptop.crh(*arguments, cwd=cwd, code=None)
            if said.code == 0:
                self.ends.append(self.proxy.went)
                return
            assert said.code == 3, said
            assert said.err.count("crh-batch: ") == 1, said
            self.failed += 1

    def killed_after(self, count: int, *arguments: str, cwd: Path) -> None:
        """Start a command and kill it when so many more bytes have gone over the line."""
        goal = self.proxy.went + count
        process = self.laptop.start(*arguments, cwd=cwd)
        wait_until("so many bytes went", lambda: self.proxy.went >= goal or process.poll() is not None, pause_s=0.001)
        process.kill()
        process.communicate()

    def round_trip(self, survey: Path) -> None:
        """Submit, wait and collect."""
        for command in COMMANDS:
            self.until_well(*command, cwd=survey)


@pytest.fixture
def laptop(slurm_login: LoginNode, make_laptop: Callable[..., Laptop], programs: Path, tmp_path: Path) -> Laptop:
    """A laptop whose login node has a CRMod with large results."""
    program = tmp_path / "CRMod_with_more"
    program.write_text(MODELLING.format(program=str(programs / "CRMod_stable"), big=BIG_RESULT))
    program.chmod(0o755)
    laptop = make_laptop(slurm_login)
    laptop.set_profile("levante", f'crmod = "{program}"\n')
    return laptop


def check_each_ran_once(survey: Path) -> Batch:
    """One batch, one submission, one claim for each tomodir."""
    (directory,) = batches_of(str(survey))
    batch = Batch(directory)
    assert len(read_submissions(batch.paths)) == 1
    claims = Counter(path.name.split(".")[0] for path in Path(batch.paths.names).glob("*/*.claim.*"))
    assert list(claims.values()) == [1, 1]
    return batch


def bytes_of(survey: Path) -> int:
    """Return how many bytes of data there are to send and to fetch: large inputs packed, packs and sessions."""
    batch = check_each_ran_once(survey)
    up = sum(
        len(zlib.compress(path.read_bytes(), 1))
        for path in (*survey.glob("*/*/grid/elem.dat"), Path(batch.paths.pilot))
    )
    return up + sum(
        path.stat().st_size for place in ("sessions", "packs") for path in Path(batch.paths.directory, place).iterdir()
    )


@pytest.mark.parametrize(("cuts", "size"), [(8, 2 * MB), pytest.param(50, 12 * MB, marks=pytest.mark.long)])
@pytest.mark.timeout(600)
def test_line_that_breaks_costs_little_and_loses_nothing(
    slurm_login: LoginNode, laptop: Laptop, cuts: int, size: int
) -> None:
    untroubled, troubled = (write_survey(laptop.real / name, size) for name in ("untroubled", "troubled"))
    with CuttingProxy(slurm_login.server.port, bytes_per_s=LINE_BYTES_PER_S) as proxy:
        Line(slurm_login, laptop, proxy).round_trip(untroubled)
        least = proxy.went
    expected = tree_sums(untroubled, skip=NOT_RESULTS)
    assert (untroubled / "00000" / "td00001" / BIG_RESULT).stat().st_size >= size
    data = bytes_of(untroubled)
    print(f"{data} bytes of data; without cuts {least} go, {least / data:.3f} times the data")

    places = sorted(random.Random(SEED).sample(range(int(0.98 * least)), cuts))
    with CuttingProxy(slurm_login.server.port, bytes_per_s=LINE_BYTES_PER_S) as proxy:
        proxy.cut_after(places[0], *(after - before for before, after in pairwise(places)))
        line = Line(slurm_login, laptop, proxy)
        line.round_trip(troubled)
        print(f"{cuts} cuts, {line.failed} commands failed: {proxy.went} bytes, {proxy.went / data:.3f} times the data")
        assert proxy.connections > cuts
        assert proxy.went <= MOST_AGAIN * data

    assert tree_sums(troubled, skip=NOT_RESULTS) == expected
    check_each_ran_once(troubled)


@pytest.mark.parametrize(("kills", "size"), [(2, 2 * MB), pytest.param(12, 6 * MB, marks=pytest.mark.long)])
@pytest.mark.timeout(600)
def test_client_killed_while_it_sends_or_fetches_goes_on(
    slurm_login: LoginNode, laptop: Laptop, kills: int, size: int
) -> None:
    untroubled, troubled = (write_survey(laptop.real / name, size) for name in ("untroubled", "troubled"))
    with CuttingProxy(slurm_login.server.port, bytes_per_s=LINE_BYTES_PER_S) as proxy:
        line = Line(slurm_login, laptop, proxy)
        line.round_trip(untroubled)
        lengths = [line.ends[0], line.ends[1] - line.ends[0], line.ends[2] - line.ends[1]]
        chance = random.Random(SEED)
        for command, length in zip(COMMANDS, lengths):
            for _ in range(kills):
                # What has arrived doesn't go again, so each gets on by a part of the way.
                line.killed_after(chance.randrange(length // (kills + 1) * 2), *command, cwd=troubled)
            line.until_well(*command, cwd=troubled)
        assert line.failed == 0
    assert tree_sums(troubled, skip=NOT_RESULTS) == tree_sums(untroubled, skip=NOT_RESULTS)
    check_each_ran_once(troubled)
