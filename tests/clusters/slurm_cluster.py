"""A whole Slurm on one machine: munged, MariaDB, slurmdbd, slurmctld and three virtual nodes.

Nothing of it is shared with another cluster, the machine's own Slurm or an earlier run: ports are drawn at random,
everything else lies in one new directory. The daemons listen at the address of the machine's own name alone, which is
loopback on Debian and the container's own address in a container. Debian's packages are used as they come, with no
configuration in /etc and without systemd. It must run as root, since slurmd starts jobs as their owners; the jobs of
tests are root's.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import ClassVar

from clusters.base_directory import make_directory, remove_dead_directories
from clusters.cluster import DAEMON_ENV, Cluster
from clusters.daemons import Daemon, DaemonError
from clusters.packages import program_path
from clusters.ports import free_ports
from clusters.slurm_config import CGROUP_MOUNTPOINT, Places, SlurmSettings, cgroup_conf, slurm_conf, slurmdbd_conf
from clusters.waiting import WaitTimeoutError, wait_until

NODES = ("n1", "n2", "n3")

_PREFIX = "crh-slurm-"

_START_S = 60.0


class SlurmCluster(Cluster):
    """A Slurm of one's own; also usable in a ``with`` statement.

    Partitions are ``work`` (the default) and ``short`` (a time limit of 2 minutes at most), each of all nodes;
    a node has 4 CPUs and 8000 MB, whatever the machine has. A job that asks for no memory gets 1000 MB a CPU.

    Args:
        accounting: with MariaDB and slurmdbd, so that sacct answers; takes 3 s more to start.
        min_job_age_s: how long squeue knows a finished job.
        kill_wait_s: between SIGTERM and SIGKILL at the time limit.
        max_array_size: one more than the highest array index.
        slurmd_timeout_s: how long a node may be silent before it is down.
        memory_limits: whether a job is killed that uses more memory than it asked for (OUT_OF_MEMORY); see
            ``can_limit_memory``, and one such cluster at a time, for the names of its cgroups are fixed.
        overrides: further lines of slurm.conf, or other values for those it has.
        own_hostnames: whether each node's jobs see the node's name as the machine's, as on a real cluster. It takes
            namespaces (``can_have_own_hostnames``); what a test mounts after the start is then not seen by jobs.
        base: the directory to live in, new and with a short path; one below /tmp if not given.
    """

    scheduler = "slurm"
    reaches_nodes = True
    says: ClassVar[Mapping[str, str]] = {
        "partition": "Slurm knows none of this name",
        "constraint": "Invalid feature specification",
        "down": "scontrol failed",
    }
    requeue_directive = "#SBATCH --requeue"

    def __init__(
        self,
        accounting: bool = True,
        *,
        min_job_age_s: int = 20,
        kill_wait_s: int = 5,
        max_array_size: int = 1001,
        slurmd_timeout_s: int = 10,
        memory_limits: bool = False,
        overrides: Mapping[str, str] | None = None,
        own_hostnames: bool = False,
        base: Path | None = None,
    ) -> None:
        super().__init__()
        self.accounting = accounting
        self.settings = SlurmSettings(
            accounting=accounting,
            min_job_age_s=min_job_age_s,
            kill_wait_s=kill_wait_s,
            max_array_size=max_array_size,
            slurmd_timeout_s=slurmd_timeout_s,
            memory_limits=memory_limits,
            overrides=dict(overrides or {}),
        )
        self.own_hostnames = own_hostnames
        self._base = base
        self._places: Places | None = None
        self._paused = False

    # ---- life

    def start(self) -> None:
        """See Cluster."""
        remove_dead_directories(_PREFIX)
        try:
            self._prepare()
            self._start_munge()
            if self.accounting:
                self._start_accounting()
            self._start_slurm()
        except BaseException as error:
            logs = self.last_words() if self._places is not None else ""
            self.stop()
            if isinstance(error, (DaemonError, WaitTimeoutError, subprocess.SubprocessError)):
                raise DaemonError(f"the Slurm cluster did not start: {error}\n{logs}") from error
            raise

    def stop(self) -> None:
        """See Cluster; the database goes last, though nothing of it is kept."""
        self._close_daemons()
        if self.settings.memory_limits:
            _remove_cgroups()
        if self._places is not None:
            shutil.rmtree(self._places.base)
            self._places = None

    # ---- use

    @property
    def base(self) -> Path:
        """See Cluster."""
        return self._where.base

    @property
    def env(self) -> dict[str, str]:
        """See Cluster."""
        return {"SLURM_CONF": str(self._where.slurm_conf)}

    @property
    def described_by(self) -> Sequence[Sequence[str]]:
        """See Cluster."""
        return (["squeue", "--states=all", "--array"], ["sinfo", "--Node", "--long"])

    def submit(self, script: str, *options: str) -> str:
        """Submit a script given as text and return the job id.

        Args:
            script: with its ``#!`` line.
            options: of sbatch; unless ``--output`` is among them the job's output goes nowhere.
        """
        output = [] if any(option.startswith(("--output", "-o")) for option in options) else ["--output=/dev/null"]
        answer = self.run(["sbatch", "--parsable", *output, *options], stdin=script).stdout
        return answer.strip().splitlines()[-1].split(";")[0]

    def states(self, job_id: str) -> dict[str, str]:
        """Return the state of a job or of each task of an array, by its id, from squeue; {} when it was purged."""
        said = self.run(
            ["squeue", "--noheader", "--array", "--states=all", f"--jobs={job_id}", "--format=%i|%T"], check=False
        )
        if said.returncode != 0 and "Invalid job id specified" not in said.stderr:
            raise AssertionError(f"squeue ended with {said.returncode}: {said.stderr}")
        return dict(line.split("|", 1) for line in said.stdout.split())

    def wait_for_states(self, job_id: str, *wanted: str, timeout_s: float = 30.0) -> dict[str, str]:
        """Wait until every task of a job is in one of the ``wanted`` states, and return them all."""

        def states_if_reached() -> dict[str, str]:
            states = self.states(job_id)
            return states if states and set(states.values()) <= set(wanted) else {}

        return self.wait_until(states_if_reached, timeout_s, f"job {job_id} is {' or '.join(wanted)}")

    def wait_for_end(self, job_id: str, *, timeout_s: float = 30.0) -> None:
        """See Cluster."""

        def ended() -> bool:
            return not set(self.states(job_id).values()) & {"RUNNING", "PENDING", "COMPLETING"}

        self.wait_until(ended, timeout_s, f"job {job_id} has ended")

    def cancel(self, job_id: str, task: int | None = None) -> None:
        """See Cluster."""
        self.run(["scancel", job_id if task is None else f"{job_id}_{task}"])

    def cores_of(self, job_id: str) -> set[str]:
        """See Cluster."""
        argv = ["sacct", "--noheader", "--parsable2", "-X", f"--jobs={job_id}", "--format=AllocCPUS"]
        return set(self.run(argv).stdout.split())

    # ---- faults

    def node_states(self) -> dict[str, str]:
        """Return the nodes' states as sinfo says them, by name; ``*`` at the end: does not answer."""
        said = self.run(["sinfo", "--noheader", "--Node", "--partition=work", "--format=%N %T"]).stdout
        return dict(line.split() for line in said.splitlines())

    def lose_node(self, name: str) -> None:
        """See Cluster."""
        jobs = self.run(["squeue", "--noheader", f"--nodelist={name}", "--format=%F"]).stdout.split()
        self.kill_node(name)
        self.declare_node_down(name)
        for job_id in dict.fromkeys(jobs):
            self.let_requeued_job_start(job_id)

    def node_of(self, job_id: str) -> str:
        """See Cluster."""
        said = self.run(["squeue", "--noheader", "--states=R", f"--jobs={job_id}", "--format=%N"], check=False).stdout
        return next(iter(said.split()), "")

    def requeue(self, job_id: str, task: int) -> None:
        """See Cluster."""
        self.run(["scontrol", "requeue", f"{job_id}_{task}"])
        self.let_requeued_job_start(job_id)

    def kill_node(self, name: str, *, jobs_too: bool = True) -> None:
        """Kill a node: slurmd and, unless ``jobs_too`` is false, every job on it, all with SIGKILL.

        The controller takes note by itself, but late: 30 s were seen with a ``slurmd_timeout_s`` of 10. Quicker
        ways are ``declare_node_down`` and ``start_node``.
        """
        self._killed.add(name)
        if jobs_too:
            self._daemons[name].kill_all()
        else:
            self._daemons[name].kill_alone()

    def declare_node_down(self, name: str) -> None:
        """Tell the controller that a node is down, as an administrator would; its jobs end or are requeued."""
        self.run(["scontrol", "update", f"nodename={name}", "state=down", "reason=declared"])

    def let_requeued_job_start(self, job_id: str) -> None:
        """Let a job that was requeued start at once, instead of after the two minutes that Slurm holds it back."""
        self.wait_for_states(job_id, "PENDING")
        # slurmd compares in whole seconds and takes a second life within the second of the first one's end for the
        # first ("already killed, do not launch batch job"): such a job fails (seen with 22.05.8).
        time.sleep(1.5)
        self.run(["scontrol", "update", f"jobid={job_id}", "starttime=now"])

    def start_node(self, name: str, *, timeout_s: float = 30.0) -> None:
        """Bring a node back and wait until it takes jobs.

        That jobs were lost by a node that was away for a moment only, the controller notes up to 50 s later (seen).
        """
        self._daemons[name].start()
        self._killed.discard(name)
        self._wait_for_nodes([name], timeout_s)

    def stop_controller(self, *, crash: bool = False) -> None:
        """End slurmctld in order, or kill it. Clients then try for 9 s before they say that they can't reach it.

        What a killed one had accepted within the last seconds is forgotten, unless ``wait_until_state_is_saved``.
        """
        self._stop("slurmctld", crash)

    def wait_until_state_is_saved(self, job_id: str) -> None:
        """Wait until slurmctld has written all it knows now, some seconds behind.

        Args:
            job_id: a job that is not finished; it is given the priority it has, as a change that has to be saved.
        """
        state = self.base / "state" / "job_state"
        saved_ns = state.stat().st_mtime_ns if state.exists() else 0
        self.run(["scontrol", "update", f"jobid={job_id}", "nice=0"])
        self.wait_until(lambda: state.exists() and state.stat().st_mtime_ns > saved_ns, 30, "slurmctld saves its state")

    def start_controller(self) -> None:
        """Start slurmctld (again) and wait until it answers and has its nodes; 5 s."""
        self._daemons["slurmctld"].start()
        self._killed.discard("slurmctld")
        self._wait_for_controller()
        self._wait_for_nodes([name for name in NODES if name not in self._killed], 30.0)

    def pause_controller(self) -> None:
        """Stop slurmctld as a busy site does: it takes connections but does not answer.

        Clients give up after some MessageTimeouts, and what they had sent is carried out after ``resume_controller``:
        an sbatch that failed has then submitted all the same.
        """
        self._daemons["slurmctld"].signal(signal.SIGSTOP)
        self._paused = True

    def resume_controller(self) -> None:
        """Let a paused slurmctld go on."""
        self._daemons["slurmctld"].signal(signal.SIGCONT)
        self._paused = False

    def stop_accounting(self, *, crash: bool = False) -> None:
        """End slurmdbd: jobs run on, sacct can't answer."""
        self._stop("slurmdbd", crash)

    def start_accounting(self) -> None:
        """Start slurmdbd again and wait until it answers."""
        self._daemons["slurmdbd"].start()
        self._killed.discard("slurmdbd")
        self._wait_for_accounting()

    def _stop(self, name: str, crash: bool) -> None:
        self._killed.add(name)
        daemon = self._daemons[name]
        if crash:
            daemon.kill_alone()
        else:
            daemon.signal(signal.SIGTERM)
            wait_until(lambda: daemon.pid is None, 30, f"{name} ends")

    def tidy(self) -> None:
        """See Cluster; the nodes are idle then."""
        if self._paused:
            self.resume_controller()
        if "slurmdbd" in self._killed:
            self.start_accounting()
        if "slurmctld" in self._killed:
            self.start_controller()
        for name in NODES:
            if name in self._killed:
                self.start_node(name)
        running = ["squeue", "--noheader", "--format=%i"]
        if self.run(running).stdout:
            self.run(["scancel", "--full", "--user=root"], check=False)
            # A job whose program ignores SIGTERM is killed after KillWait.
            self.wait_until(lambda: not self.run(running).stdout, self.settings.kill_wait_s + 30, "no job is left")
        if any(state != "idle" for state in self.node_states().values()):
            self._resume_nodes()
            self._wait_for_nodes(NODES, 30.0)

    # ---- beginnings

    @property
    def _where(self) -> Places:
        if self._places is None:
            raise RuntimeError("the Slurm cluster is not running")
        return self._places

    def _prepare(self) -> None:
        base = make_directory(_PREFIX, self._base)
        hostname = socket.gethostname()
        try:
            address = socket.gethostbyname(hostname)
        except OSError as error:
            raise DaemonError(f"this machine's own name, {hostname}, can't be resolved: {error}") from error
        slurmctld_port, slurmdbd_port, *node_ports = free_ports(2 + len(NODES), address)
        self._places = Places(
            base=base,
            hostname=hostname.partition(".")[0],
            address=address,
            slurmctld_port=slurmctld_port,
            slurmdbd_port=slurmdbd_port,
            node_ports=dict(zip(NODES, node_ports, strict=True)),
        )
        base.chmod(0o711)  # munged wants its socket to be reachable for all, though only root uses it here
        for name in ("etc", "log", "state"):
            (base / name).mkdir()
        self._where.slurm_conf.write_text(slurm_conf(self.settings, self._places))
        if self.settings.memory_limits:
            self._where.slurm_conf.with_name("cgroup.conf").write_text(cgroup_conf())

    def _daemon(self, name: str, *argv: str, env: Mapping[str, str] | None = None, hostname: str = "") -> Daemon:
        program = program_path(argv[0])
        if program is None:
            raise DaemonError(f"{argv[0]} is not installed")
        daemon = Daemon(
            name,
            [program, *argv[1:]],
            env={**DAEMON_ENV, **self.env, **(env or {})},
            directory=self.base,
            log=self.base / "log" / f"{name}.out",
            hostname=hostname,
            hosts=self.base / "etc" / "hosts" if hostname else None,
        )
        self._daemons[name] = daemon
        daemon.start()
        return daemon

    def _start_munge(self) -> None:
        key = self.base / "etc" / "munge.key"
        key.touch(mode=0o600)
        key.write_bytes(secrets.token_bytes(1024))
        munge_socket = self._where.munge_socket
        self._daemon(
            "munged",
            "munged",
            "--foreground",
            f"--socket={munge_socket}",
            f"--key-file={key}",
            f"--pid-file={self.base / 'munged.pid'}",
            f"--log-file={self.base / 'log' / 'munged.log'}",
            f"--seed-file={self.base / 'munged.seed'}",
        )
        self._wait_until_started(munge_socket.exists, "munged makes its socket")

    def _start_accounting(self) -> None:
        data = self.base / "mariadb"
        options = [
            f"--datadir={data}",
            "--user=root",
            "--skip-log-bin",
            "--skip-name-resolve",
            # The data need not survive anything: no waiting for the disk.
            "--innodb-flush-method=nosync",
            "--innodb-flush-log-at-trx-commit=0",
            "--innodb-doublewrite=0",
            "--innodb-buffer-pool-size=32M",
            "--innodb-log-file-size=8M",
        ]
        with (self.base / "log" / "mariadb-install-db.out").open("wb") as log:
            subprocess.run(
                [
                    str(program_path("mariadb-install-db")),
                    "--no-defaults",
                    "--auth-root-authentication-method=socket",
                    "--skip-test-db",
                    *options,
                ],
                env=DAEMON_ENV,
                cwd=self.base,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                timeout=_START_S,
                check=True,
            )
        self._daemon(
            "mariadbd",
            "mariadbd",
            "--no-defaults",
            "--skip-networking",
            f"--socket={self._where.database_socket}",
            f"--pid-file={self.base / 'mariadbd.pid'}",
            *options,
        )
        self._wait_until_started(lambda: _accepts(self._where.database_socket), "MariaDB answers")
        conf = self.base / "etc" / "slurmdbd.conf"
        conf.touch(mode=0o600)  # slurmdbd refuses any other
        conf.write_text(slurmdbd_conf(self._where))
        # The client library takes the socket's path for "localhost" from the environment only.
        self._daemon("slurmdbd", "slurmdbd", "-D", env={"MYSQL_UNIX_PORT": str(self._where.database_socket)})
        add = ["sacctmgr", "--immediate", "add", "cluster", self.settings.cluster_name]
        self._wait_for_accounting()
        self._wait_until_started(lambda: self.run(add, check=False).returncode == 0, "the cluster is known to slurmdbd")

    def _start_slurm(self) -> None:
        (self.base / "etc" / "hosts").write_text(
            "127.0.0.1 localhost\n" + f"{self._where.address} {self._where.hostname} {' '.join(NODES)}\n"
        )
        self._daemon("slurmctld", "slurmctld", "-D")
        for name in NODES:
            self._daemon(name, "slurmd", "-D", "-N", name, hostname=name if self.own_hostnames else "")
        self._wait_for_controller()
        self._wait_for_nodes(NODES, _START_S)

    def _wait_until_started(self, predicate: Callable[[], bool], what: str) -> None:
        """Wait during the start: no Slurm to be described yet, but daemons that may have died."""

        def watched() -> bool:
            self.check()
            return predicate()

        wait_until(watched, _START_S, what)

    def _wait_for_accounting(self) -> None:
        address = (self._where.address, self._where.slurmdbd_port)
        self._wait_until_started(lambda: _accepts(address), "slurmdbd answers")

    def _wait_for_controller(self) -> None:
        address = (self._where.address, self._where.slurmctld_port)
        self._wait_until_started(lambda: _accepts(address), "slurmctld answers")

    def _wait_for_nodes(self, names: Sequence[str], timeout_s: float) -> None:
        def up() -> bool:
            states = self.node_states()
            return all(states.get(name) in ("idle", "mixed", "allocated") for name in names)

        self.wait_until(up, timeout_s, f"{', '.join(names)} take jobs")

    def _resume_nodes(self) -> None:
        for name, state in self.node_states().items():
            if state.startswith(("drain", "down", "fail")):
                self.run(["scontrol", "update", f"nodename={name}", "state=resume"], check=False)


def _accepts(address: Path | tuple[str, int]) -> bool:
    """Return whether somebody listens there."""
    family = socket.AF_UNIX if isinstance(address, Path) else socket.AF_INET
    with socket.socket(family) as probe:
        probe.settimeout(5)
        try:
            probe.connect(str(address) if isinstance(address, Path) else address)
        except OSError:
            return False
    return True


def _remove_cgroups() -> None:
    for name in NODES:
        for controller in CGROUP_MOUNTPOINT.glob(f"*/slurm_{name}"):
            for directory, _, _ in os.walk(controller, topdown=False):
                with contextlib.suppress(OSError):  # RACE: the kernel may not have let go of the last process yet
                    Path(directory).rmdir()
