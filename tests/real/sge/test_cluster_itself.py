"""The test bed keeps its promises, and SGE does what the job script of this project relies on."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from clusters.sge_cluster import NODES, SgeCluster
from conftest import wait_until

pytestmark = [pytest.mark.sge, pytest.mark.bed]

SLEEPER = "#!/bin/bash\nexec sleep 300\n"
# Says which signals it gets, and has a child in a session of its own, as programs of a pilot are, that does so too.
LISTENER = """
import os, signal, sys, time
if os.fork() == 0:
    os.setsid()
    name = "child"
else:
    name = "job"
said = open(os.path.join(sys.argv[1], name), "a", buffering=1)
for number in (signal.SIGUSR1, signal.SIGUSR2, signal.SIGTERM):
    signal.signal(number, lambda number, frame: said.write(signal.Signals(number).name + "\\n"))
said.write("listens\\n")
while True:
    time.sleep(0.1)
"""


@pytest.fixture
def heard() -> Iterator[Path]:
    """A directory in which jobs of any account may write."""
    directory = Path(tempfile.mkdtemp(dir="/tmp"))
    directory.chmod(0o777)
    yield directory
    shutil.rmtree(directory)


def test_nodes_take_jobs_under_their_own_names(sge: SgeCluster, heard: Path) -> None:
    assert sge.node_states() == dict.fromkeys(NODES, "")
    job = sge.submit(f"#!/bin/bash\nhostname >{heard}/$SGE_TASK_ID\n", "-t", "1-3", "-pe", "smp", "4")
    sge.wait_for_end(job)
    assert {path.read_text().strip() for path in heard.iterdir()} == set(NODES)


def test_nothing_of_the_tests_environment_reaches_jobs(sge: SgeCluster, heard: Path) -> None:
    job = sge.submit(f"#!/bin/bash\nenv >{heard}/env\n")
    sge.wait_for_end(job)
    assert "PYTEST" not in (heard / "env").read_text()


def test_two_clusters_do_not_know_each_other(sge: SgeCluster) -> None:
    job = sge.submit(SLEEPER)
    with SgeCluster() as other:
        assert other.states() == {}
        assert other.base != sge.base
        base = other.base
        pids = other.processes()
    assert not base.exists()
    assert not [pid for pid in pids if Path(f"/proc/{pid}/exe").exists()]
    assert job in sge.states(job), "the first one goes on"


def test_tasks_of_a_dead_node_are_put_back(sge: SgeCluster) -> None:
    job = sge.submit(SLEEPER, "-t", "1-3", "-pe", "smp", "4", "-r", "y")
    sge.wait_for_states(job, "r")
    sge.lose_node("n2")
    sge.wait_until(lambda: sorted(sge.states(job).values()) == ["Rr", "r", "r"], 30, "the third one runs again")


def test_silent_node_is_missed_and_comes_back(sge: SgeCluster) -> None:
    sge.kill_node("n3")
    sge.wait_until(lambda: "u" in sge.node_states()["n3"], 60, "the master misses the node")
    sge.start_node("n3")


def test_jobs_outlive_the_master(sge: SgeCluster) -> None:
    job = sge.submit(SLEEPER)
    sge.wait_for_states(job, "r")
    sge.stop_controller()
    assert sge.run(["qstat"], check=False).returncode != 0
    sge.start_controller()
    assert list(sge.states(job).values()) == ["r"]


def listen(sge: SgeCluster, heard: Path, user: str, *options: str) -> str:
    """Start a job of a user that says what signals it gets; return its id as soon as it listens."""
    script = heard / "listen.py"
    script.write_text(LISTENER)
    place = heard / user
    place.mkdir()
    place.chmod(0o777)
    as_user = ["setpriv", f"--reuid={user}", "--clear-groups"] if user != "root" else []
    argv = [*as_user, "qsub", "-terse", "-S", "/bin/bash", "-o", "/dev/null", "-j", "y", "-wd", "/tmp", *options]
    # The Python of the tests may lie in root's own directories.
    job = sge.run(argv, stdin=f"#!/bin/bash\nexec /usr/bin/env python3 {script} {place}\n", env=_plain()).stdout.strip()
    sge.wait_until(lambda: (place / "child").exists() and (place / "job").exists(), 30, "the job listens")
    return job


def _plain() -> dict[str, str]:
    return {"PATH": "/usr/local/bin:/usr/bin:/bin", "HOME": "/tmp"}


def words(heard: Path, user: str, name: str) -> list[str]:
    return (heard / user / name).read_text().split()


def test_qdel_of_a_notified_job_says_usr2_first(sge: SgeCluster, heard: Path) -> None:
    job = listen(sge, heard, "root", "-notify")
    sge.run(["qdel", job])
    sge.wait_until(lambda: "SIGUSR2" in words(heard, "root", "job"), 10, "it is told")
    assert set(sge.states(job).values()) <= {"dr", "dt"}, "and lives for the time of notice"


def test_time_limit_of_a_notified_job_says_usr2_first(sge: SgeCluster, heard: Path) -> None:
    job = listen(sge, heard, "root", "-notify", "-l", "h_rt=3")
    sge.wait_until(lambda: "SIGUSR2" in words(heard, "root", "job"), 20, "it is told")
    sge.wait_for_end(job)


def test_soft_time_limit_says_usr1(sge: SgeCluster, heard: Path) -> None:
    listen(sge, heard, "root", "-notify", "-l", "h_rt=600,s_rt=2")
    sge.wait_until(lambda: "SIGUSR1" in words(heard, "root", "job"), 20, "it is warned")


def test_signals_reach_all_processes_of_an_ordinary_users_job(sge: SgeCluster, heard: Path) -> None:
    """Sessions and process groups don't matter: SGE finds them by a group of its own (not for root's jobs)."""
    job = listen(sge, heard, "nobody", "-notify", "-l", "h_rt=600,s_rt=2")
    sge.wait_until(lambda: "SIGUSR1" in words(heard, "nobody", "child"), 20, "the child is warned too")
    sge.run(["qdel", job])
    sge.wait_until(lambda: "SIGUSR2" in words(heard, "nobody", "child"), 20, "the child is told too")


@pytest.mark.parametrize(
    "name", ["with space", 'it\'s "quoted"', "grüße", "-rf", "%j %a", "a:b,c=d", "`x`;y&", "*?[a]"]
)
def test_directory_given_as_an_argument_is_taken_as_it_is(sge: SgeCluster, tmp_path: Path, name: str) -> None:
    directory = tmp_path / name
    directory.mkdir()
    job = sge.run(
        ["qsub", "-terse", "-S", "/bin/bash", "-N", "crh-x", "-j", "y", "-wd", str(directory)],
        stdin='#!/bin/bash\nprintf %s "$PWD"\n',
    ).stdout.strip()
    sge.wait_for_end(job)
    assert (directory / f"crh-x.o{job}").read_text() == str(directory)


@pytest.mark.parametrize("name", ["$HOME", "$(touch x)$JOB_ID", "new\nline"])
def test_directory_that_sge_changes_makes_the_job_wait_in_error(sge: SgeCluster, tmp_path: Path, name: str) -> None:
    directory = tmp_path / name
    directory.mkdir()
    job = sge.submit("#!/bin/bash\n", "-wd", str(directory))
    sge.wait_for_states(job, "Eqw")


def test_cluster_of_a_killed_test_ends_with_it() -> None:
    tests = Path(__file__).parents[2]
    code = (
        f"import os, sys; sys.path.insert(0, {str(tests)!r})\n"
        "from clusters.sge_cluster import SgeCluster\n"
        "cluster = SgeCluster(); cluster.start(); print(*cluster.processes(), flush=True); os.kill(os.getpid(), 9)\n"
    )
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, env=os.environ)
    pids = said.stdout.split()
    assert len(pids) == 8, said.stderr

    def gone() -> bool:
        return not any(Path(f"/proc/{pid}/exe").exists() for pid in pids)

    wait_until("all its processes are gone", gone, timeout_s=20)
