"""The line breaks while the scheduler takes a job: whether it was taken is found out, and it is never given twice.

Behind a jump host, as many clusters are.
"""

from __future__ import annotations

import json
import shlex
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from clusters.cluster import Cluster
from clusters.remote_cluster import Laptop, LoginNode
from crh_batch.demo import write_small_models
from crh_batch.ledger.batch import Batch, batches_of
from crh_batch.ledger.submissions import read_submissions
from gate import Gate

COMMANDS = {"slurm": "sbatch", "sge": "qsub"}
# The scheduler's command, which at its first call ends the ssh session that it runs in before it can answer.
CUTTING = """#!/bin/bash
submit() {{ echo submitted >> {log}; {command} "$@"; }}
mkdir {first} 2> /dev/null || {{ submit "$@"; exit; }}
{when_cut}
process=$$
until [[ $(cat /proc/$process/comm) == sshd* ]]; do
    process=$(sed -n 's/^PPid:[[:space:]]*//p' /proc/$process/status)
    [ $process -gt 1 ] || exit 70
done
kill -KILL $process
"""


@pytest.mark.parametrize("way", ["mounted", "staged"])
@pytest.mark.parametrize("cut", ["before", "after"])
def test_job_is_given_once_when_nobody_heard_the_answer(
    slurm_mostly: Cluster,
    make_login: Callable[..., LoginNode],
    make_laptop: Callable[..., Laptop],
    gate: Gate,
    tmp_path: Path,
    cut: str,
    way: str,
) -> None:
    login, jump = make_login(slurm_mostly, "levante"), make_login(None, "jump")
    laptop = make_laptop(login, jump)
    laptop.set_way(login, more="  ProxyJump jump\n")
    roots = f"roots = [{json.dumps(laptop.roots)}]\n" if way == "mounted" else ""
    laptop.set_profile("levante", roots + gate.profile)
    survey = laptop.real / "survey"
    write_small_models(survey, 3, data=60, electrodes=16)
    log = cut_at_submission(login, COMMANDS[slurm_mostly.scheduler], tmp_path / "cutting", cut)

    said = laptop.crh("--on", "levante", "submit", cwd=survey, code=3)
    assert said.err.count("crh-batch: ") == 1 and "levante" in said.err, said
    laptop.crh("submit", cwd=survey)
    assert log.read_text().split() == ["submitted"]
    gate.open()
    laptop.crh("wait", cwd=survey)
    laptop.crh("collect", cwd=survey)
    assert log.read_text().split() == ["submitted"]
    (directory,) = batches_of(str(survey))
    batch = Batch(directory)
    assert [one.job_id != "" for one in read_submissions(batch.paths)] == [True]
    assert len(list(Path(batch.paths.names).glob("*/*.claim.*"))) == 3
    assert len(list(survey.glob("*/*/mod/volt.dat"))) == 3
    assert "Accepted publickey" in jump.server.log.read_text()


def cut_at_submission(login: LoginNode, name: str, directory: Path, cut: str) -> Path:
    """Let the first submission on a login node end the session.

    Args:
        login: where.
        name: the scheduler's command.
        directory: for what is needed; doesn't exist.
        cut: "before" or "after" the scheduler has taken the job.

    Returns:
        A file with one line for each call that the scheduler has seen.
    """
    directory.mkdir()
    found = shutil.which(name, path="/usr/bin:/bin")
    assert found is not None
    log = directory / "submitted"
    program = directory / name
    program.write_text(
        CUTTING.format(
            log=shlex.quote(str(log)),
            first=shlex.quote(str(directory / "first")),
            command=found,
            when_cut='submit "$@"' if cut == "after" else "",
        )
    )
    program.chmod(0o755)
    login.set_programs(program, without=[name])
    return log
