"""The test bed keeps its promises, and Slurm does what the job scripts of this project rely on."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterable
from pathlib import Path

import pytest

from clusters.machine import can_have_own_hostnames, can_limit_memory
from clusters.packages import INSTALL_SCRIPT, SLURM_PACKAGES, need_slurm
from clusters.slurm_cluster import SlurmCluster
from clusters.waiting import WaitTimeoutError, wait_until

pytestmark = [pytest.mark.slurm, pytest.mark.bed]

SLEEPER = "#!/bin/bash\nexec sleep 300\n"


def test_nodes_are_idle_at_the_start(slurm: SlurmCluster) -> None:
    assert slurm.node_states() == {"n1": "idle", "n2": "idle", "n3": "idle"}
    partitions = slurm.run(["sinfo", "--noheader", "--format=%P|%c|%m|%l|%D"]).stdout.splitlines()
    assert sorted(partitions) == ["short|4|8000|2:00|3", "work*|4|8000|1-00:00:00|3"]


def test_everything_listens_at_the_address_of_the_machines_name_alone(slurm: SlurmCluster) -> None:
    inodes = set()
    for pid in slurm.processes():
        for descriptor in Path(f"/proc/{pid}/fd").iterdir():
            target = str(descriptor.readlink())
            if target.startswith("socket:["):
                inodes.add(target[8:-1])
    listening = []
    for table in ("tcp", "tcp6"):
        for line in Path(f"/proc/net/{table}").read_text().splitlines()[1:]:
            fields = line.split()
            if fields[3] == "0A" and fields[9] in inodes:
                listening.append(fields[1].partition(":")[0])
    assert len(listening) == 5  # slurmctld, slurmdbd, three slurmd; MariaDB has no port
    own_address = socket.inet_aton(socket.gethostbyname(socket.gethostname()))
    assert {bytes.fromhex(address)[::-1] for address in listening} == {own_address}


def test_array_runs_to_its_end_and_accounting_knows_it(slurm: SlurmCluster) -> None:
    job = slurm.submit("#!/bin/bash\nsleep 1.5\n", "--array=0-5", "--cpus-per-task=2", "--mem=500")
    states = slurm.wait_for_states(job, "COMPLETED")
    assert sorted(states) == [f"{job}_{index}" for index in range(6)]

    def accounted() -> list[list[str]]:
        said = slurm.run(
            ["sacct", "--parsable2", "--noheader", f"--jobs={job}", "--format=JobID,State,AllocCPUS,MaxRSS"]
        ).stdout
        rows = [line.split("|") for line in said.splitlines()]
        done = [row for row in rows if row[0].endswith(".batch") and row[1] == "COMPLETED"]
        return rows if len(done) == 6 else []

    rows = slurm.wait_until(accounted, 20, f"sacct knows the six tasks of {job}")
    for task, state, cpus, max_rss in rows:
        assert (state, cpus) == ("COMPLETED", "2")
        assert bool(max_rss) == task.endswith(".batch"), "MaxRSS is on the batch step, and there alone"


def test_cancelled_array_ends(slurm: SlurmCluster) -> None:
    # Six of four CPUs each on three nodes: three run, three wait.
    job = slurm.submit(SLEEPER, "--array=0-5", "--cpus-per-task=4")

    def three_run() -> bool:
        return sorted(slurm.states(job).values()) == ["PENDING"] * 3 + ["RUNNING"] * 3

    slurm.wait_until(three_run, 20, "three tasks run and three wait")
    slurm.run(["scancel", job])
    slurm.wait_for_states(job, "CANCELLED", timeout_s=10)


def test_requeue_keeps_the_id_and_raises_the_restart_count(slurm: SlurmCluster, tmp_path: Path) -> None:
    log = tmp_path / "lives"
    script = f'#!/bin/bash\necho "$SLURM_JOB_ID ${{SLURM_RESTART_COUNT:-0}}" >>{log}\nexec sleep 300\n'
    job = slurm.submit(script, "--requeue")
    slurm.wait_until(log.exists, 20, "the job's first life")
    slurm.wait_for_states(job, "RUNNING")
    slurm.run(["scontrol", "requeue", job])
    slurm.let_requeued_job_start(job)
    slurm.wait_until(lambda: len(log.read_text().splitlines()) == 2, 30, "the job's second life")
    assert log.read_text().splitlines() == [f"{job} 0", f"{job} 1"]


def _run_sleeper(slurm: SlurmCluster, log: Path, *options: str) -> tuple[str, str, int]:
    """Submit a job that writes a line for each of its lives; return its id, node and process."""
    script = f'#!/bin/bash\necho "$SLURMD_NODENAME $$" >>{log}\nexec sleep 300\n'
    job = slurm.submit(script, *options)
    slurm.wait_until(lambda: log.exists() and log.read_text().endswith("\n"), 20, "the job runs")
    node, pid = log.read_text().split()
    slurm.wait_for_states(job, "RUNNING")
    return job, node, int(pid)


def test_job_of_a_node_declared_down_runs_elsewhere(slurm: SlurmCluster, tmp_path: Path) -> None:
    log = tmp_path / "lives"
    job, node, pid = _run_sleeper(slurm, log, "--requeue")
    slurm.kill_node(node)
    assert not _runs(pid), "a dead node's jobs are dead"
    slurm.declare_node_down(node)
    slurm.let_requeued_job_start(job)
    slurm.wait_until(lambda: len(log.read_text().splitlines()) == 2, 30, "the job's second life")
    assert log.read_text().split()[2] != node


def test_node_that_is_silent_is_down_by_itself_and_its_jobs_fail(slurm: SlurmCluster, tmp_path: Path) -> None:
    job, node, _ = _run_sleeper(slurm, tmp_path / "lives", "--no-requeue")
    slurm.kill_node(node)
    slurm.wait_for_states(job, "NODE_FAIL", timeout_s=90)
    assert slurm.node_states()[node] == "down*"
    slurm.start_node(node)
    assert slurm.node_states()[node] == "idle"


def test_jobs_outlive_a_daemon_that_is_started_again(slurm: SlurmCluster, tmp_path: Path) -> None:
    job, node, pid = _run_sleeper(slurm, tmp_path / "life")
    slurm.kill_node(node, jobs_too=False)
    assert _runs(pid)
    slurm.start_node(node)
    assert slurm.states(job) == {job: "RUNNING"}
    slurm.run(["scancel", job])
    slurm.wait_for_states(job, "CANCELLED", timeout_s=15)
    assert not _runs(pid)


@pytest.mark.parametrize("crash", [False, True])
def test_controller_comes_back_with_its_jobs(slurm: SlurmCluster, crash: bool) -> None:
    job = slurm.submit(SLEEPER)
    slurm.wait_for_states(job, "RUNNING")
    if crash:
        slurm.wait_until_state_is_saved(job)
    slurm.stop_controller(crash=crash)
    if not crash:
        refused = slurm.run(["squeue"], check=False)
        assert refused.returncode == 1
        assert "Unable to contact slurm controller" in refused.stderr
    slurm.start_controller()
    slurm.wait_for_states(job, "RUNNING")


def test_submission_that_timed_out_is_there_when_the_controller_answers_again(slurm: SlurmCluster) -> None:
    slurm.pause_controller()
    failed = slurm.run(["sbatch", "--parsable", "--job-name=in-doubt"], stdin=SLEEPER, check=False)
    slurm.resume_controller()
    assert (failed.returncode, failed.stdout) == (1, "")
    assert "Socket timed out on send/recv operation" in failed.stderr
    slurm.wait_until(lambda: slurm.run(["squeue", "--noheader", "--name=in-doubt"]).stdout, 30, "the job is there")


# What a batch directory may be called.
NAMES = (
    "with  two spaces ",
    "q'\"`x",
    "a\nb",
    "trailing newline\n",
    "Ünïcødé-測試",
    os.fsdecode(b"not utf-8: caf\xe9"),
    "$(touch x) $HOME;&|#!*?[a]",
    "-x",
    "~",
    "100%",
)
# Slurm 22.05 puts --chdir and a relative --output together and then replaces patterns in the whole; where there is a
# backslash it replaces nothing and takes the backslashes away.
PATTERN_NAMES = ("dir-%j-%A", "%4a", "a%%b", "%N")
BACKSLASH_NAMES = ("back\\slash", "a\\%jb")

HERE = {"here-0", "here-1"}
LOGS = {"logs/x-JOB_0.out", "logs/x-JOB_1.out"}


def _outcomes(
    slurm: SlurmCluster, parent: Path, names: Iterable[str], options: Callable[[Path], list[str]]
) -> dict[str, set[str]]:
    """Run an array of two in a directory of each name; return states and files, by name."""
    script = "#!/bin/bash\ntouch here-$SLURM_ARRAY_TASK_ID\necho said\n"
    jobs = {}
    for name in names:
        (parent / name / "logs").mkdir(parents=True)
        argv = ["sbatch", "--parsable", "--array=0-1", "--mem=100", *options(parent / name)]
        jobs[name] = slurm.run(argv, stdin=script).stdout.strip()
    assert sorted(path.name for path in parent.iterdir()) == sorted(jobs), "nothing was made beside them"
    outcomes = {}
    for name, job in jobs.items():
        states = slurm.wait_for_states(job, "COMPLETED", "FAILED")
        files = [path.relative_to(parent / name) for path in (parent / name).rglob("*") if path.is_file()]
        outcomes[name] = set(states.values()) | {str(path).replace(f"-{job}_", "-JOB_") for path in files}
    return outcomes


def test_relative_output_works_unless_the_directory_name_holds_a_pattern(slurm: SlurmCluster, tmp_path: Path) -> None:
    """Where it does, the job fails without having run and without a log: exit status 0:53 in the accounting."""

    def options(directory: Path) -> list[str]:
        return [f"--chdir={directory}", "--output=logs/x-%A_%a.out"]

    names = [*NAMES, *PATTERN_NAMES, *BACKSLASH_NAMES]
    assert _outcomes(slurm, tmp_path, names, options) == {
        name: {"COMPLETED"} | HERE | LOGS if name in NAMES else {"FAILED"} for name in names
    }


def test_full_output_path_with_doubled_percent_signs_works_but_for_backslashes(
    slurm: SlurmCluster, tmp_path: Path
) -> None:
    def options(directory: Path) -> list[str]:
        return [f"--chdir={directory}", f"--output={str(directory).replace('%', '%%')}/logs/x-%A_%a.out"]

    names = [*NAMES, *PATTERN_NAMES, *BACKSLASH_NAMES]
    assert _outcomes(slurm, tmp_path, names, options) == {
        name: {"FAILED"} if name in BACKSLASH_NAMES else {"COMPLETED"} | HERE | LOGS for name in names
    }


def test_output_that_is_not_named_goes_to_the_working_directory_whatever_its_name(
    slurm: SlurmCluster, tmp_path: Path
) -> None:
    def options(directory: Path) -> list[str]:
        return [f"--chdir={directory / 'logs'}"]

    names = [*NAMES, *PATTERN_NAMES, *BACKSLASH_NAMES]
    expected = {"COMPLETED", *(f"logs/{file}" for file in HERE), "logs/slurm-JOB_0.out", "logs/slurm-JOB_1.out"}
    assert _outcomes(slurm, tmp_path, names, options) == dict.fromkeys(names, expected)


def test_job_whose_directory_is_missing_runs_in_tmp(slurm: SlurmCluster, tmp_path: Path) -> None:
    """So a job script has to look where it is before it does anything."""
    log = tmp_path / "log"
    job = slurm.submit("#!/bin/bash\npwd\n", f"--chdir={tmp_path / 'gone'}", f"--output={log}")
    slurm.wait_for_states(job, "COMPLETED")
    said = log.read_text().splitlines()
    assert said[-1] == "/tmp"
    assert "couldn't chdir to" in said[0]


def test_without_accounting_jobs_run_and_sacct_refuses(slurm_without_accounting: SlurmCluster) -> None:
    job = slurm_without_accounting.submit("#!/bin/bash\n", "--array=0-3")
    slurm_without_accounting.wait_for_states(job, "COMPLETED")
    refused = slurm_without_accounting.run(["sacct", "-X"], check=False)
    assert refused.returncode == 1
    assert "Slurm accounting storage is disabled" in refused.stderr


def test_two_clusters_stand_side_by_side(slurm: SlurmCluster, slurm_without_accounting: SlurmCluster) -> None:
    job = slurm.submit(SLEEPER, "--job-name=one")
    slurm_without_accounting.submit(SLEEPER, "--job-name=other")
    names = ["squeue", "--noheader", "--format=%j"]
    slurm.wait_for_states(job, "RUNNING")
    assert slurm.run(names).stdout == "one\n"
    assert slurm_without_accounting.run(names).stdout == "other\n"


def test_environment_of_the_process_names_the_cluster(slurm_env: SlurmCluster) -> None:
    assert os.environ["SLURM_CONF"] == slurm_env.env["SLURM_CONF"]
    assert subprocess.run(["sinfo", "--noheader", "--format=%D"], check=True, capture_output=True).stdout


def test_short_lived_cluster_forgets_jobs_and_has_its_limits() -> None:
    need_slurm()
    with SlurmCluster(accounting=False, min_job_age_s=2, max_array_size=5) as slurm:
        job = slurm.submit("#!/bin/bash\n", "--array=0-4")
        slurm.wait_until(lambda: not slurm.states(job), 30, "the finished job is purged")
        refused = slurm.run(["sbatch", "--array=0-5"], stdin="#!/bin/bash\n", check=False)
        assert refused.returncode == 1
        assert "Invalid job array specification" in refused.stderr


def test_job_over_its_memory_is_killed_where_limits_are_enforced() -> None:
    need_slurm()
    if not can_limit_memory():
        pytest.skip("no cgroups of version 1 for memory")
    with SlurmCluster(accounting=False, memory_limits=True) as slurm:
        greedy = f"#!{sys.executable}\nblock = bytearray(200_000_000)\n"
        job = slurm.submit(greedy, "--mem=50")
        slurm.wait_for_states(job, "OUT_OF_MEMORY")


def test_nodes_have_names_of_their_own_when_asked_for(tmp_path: Path) -> None:
    need_slurm()
    if not can_have_own_hostnames():
        pytest.skip("no namespaces here (CAP_SYS_ADMIN)")
    with SlurmCluster(accounting=False, own_hostnames=True) as slurm:
        script = "#!/bin/bash\necho $SLURMD_NODENAME $(hostname) $(getent hosts $(hostname))\n"
        job = slurm.submit(script, "--array=0-2", "--exclusive", f"--output={tmp_path}/%a")
        slurm.wait_for_states(job, "COMPLETED")
    for task in range(3):
        node, hostname, address, *_ = (tmp_path / str(task)).read_text().split()
        assert node == hostname
        assert address == socket.gethostbyname(socket.gethostname())


def test_failed_start_shows_why_and_leaves_nothing() -> None:
    need_slurm()
    cluster = SlurmCluster(accounting=False, overrides={"SelectType": "select/nonsense"})
    with pytest.raises(RuntimeError, match="select/nonsense"):
        cluster.start()
    assert cluster.processes() == []
    with pytest.raises(RuntimeError, match="not running"):
        _ = cluster.base


def test_waiting_in_vain_shows_the_queue(slurm: SlurmCluster) -> None:
    job = slurm.submit(SLEEPER, "--job-name=in-vain")
    slurm.wait_for_states(job, "RUNNING")
    with pytest.raises(WaitTimeoutError, match="in-vain"):
        slurm.wait_for_states(job, "COMPLETED", timeout_s=0.2)


VICTIM = """
import json, sys
from clusters.slurm_cluster import SlurmCluster

cluster = SlurmCluster(accounting=bool(int(sys.argv[1])))
cluster.start()
job = cluster.submit("#!/bin/bash\\ntrap '' TERM\\nsetsid sleep 301 & sleep 302\\n", "--array=0-2")
cluster.wait_for_states(job, "RUNNING")

def stray():
    return [pid for pid in cluster.processes() if b"sleep\\x00301" in open(f"/proc/{pid}/cmdline", "rb").read()]

cluster.wait_until(lambda: len(stray()) == 3, 10, "each task has its stray process")
print(json.dumps([str(cluster.base), cluster.processes()]), flush=True)
sys.stdin.read()
"""


@pytest.mark.parametrize("accounting", [0, 1])
def test_killed_test_process_takes_everything_along(accounting: int) -> None:
    """Not only its daemons: also slurmstepd and a job's programs, in whatever session they are."""
    need_slurm()
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    with subprocess.Popen(
        [sys.executable, "-c", VICTIM, str(accounting)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env=environment,
    ) as victim:
        assert victim.stdout is not None
        base, pids = json.loads(victim.stdout.readline())
        commands = {pid: Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode() for pid in pids}
        assert sum("sleep 301" in command for command in commands.values()) == 3
        assert sum("slurmstepd" in command for command in commands.values()) >= 3
        victim.send_signal(signal.SIGKILL)
    wait_until(lambda: not any(map(_runs, pids)), 10, f"none of these runs: {commands}")
    assert Path(base).exists(), "nobody was left to remove it"
    os.utime(Path(base) / "owner", (0, 0))
    with SlurmCluster(accounting=False) as successor:
        assert not Path(base).exists()
        assert successor.node_states()["n1"] == "idle"


def test_install_script_knows_the_same_packages() -> None:
    groups = INSTALL_SCRIPT.read_text()
    assert f'[slurm]="{" ".join(SLURM_PACKAGES)} strace"' in groups


def test_install_script_has_nothing_to_do_where_all_is_installed() -> None:
    need_slurm()
    done = subprocess.run([INSTALL_SCRIPT, "slurm"], capture_output=True, text=True, check=True)
    assert (done.stdout, done.stderr) == ("", "")


def _runs(pid: int) -> bool:
    try:
        stat = Path(f"/proc/{pid}/stat").read_text(errors="replace")
    except OSError:
        return False
    return stat.rpartition(")")[2].split()[0] not in "ZX"
