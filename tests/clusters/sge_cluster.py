"""A whole SGE on one machine: sge_qmaster and three virtual nodes, each an sge_execd with a name of its own.

Nothing of it is shared with another cluster, the machine's own SGE or an earlier run: ports are drawn at random,
everything else lies in one new directory. Debian's packages are used as they come, without systemd. It must run as
root: sge_execd starts jobs as their owners; the jobs of tests are root's.

SGE knows a node by the name to which the address resolves that it connects from. So each node gets a loopback
address of its own on the interface ``lo`` (taken away by ``stop``), and namespaces in which the machine has the
node's name and an /etc/hosts that gives the node's own address for the master: a connection to an address of one's
own comes from that address. sge_qmaster has an /etc/hosts with all of them. It listens at all addresses, as it can't
be told otherwise.
"""

from __future__ import annotations

import contextlib
import random
import re
import shutil
import signal
import socket
import subprocess
import xml.etree.ElementTree as ElementTree
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import ClassVar

from clusters import sge_config as config
from clusters.base_directory import make_directory, remove_dead_directories
from clusters.cluster import DAEMON_ENV, Cluster
from clusters.daemons import Daemon, DaemonError
from clusters.packages import program_path
from clusters.ports import free_ports
from clusters.waiting import WaitTimeoutError, wait_until

NODES = ("n1", "n2", "n3")
MASTER = "master"

_PREFIX = "crh-sge-"
_ADDRESSES = "addresses"
_START_S = 60.0


class SgeCluster(Cluster):
    """An SGE of one's own; also usable in a ``with`` statement.

    Queues are ``work`` and ``short`` (a time limit of 2 minutes), each of all nodes; a node has 4 slots and 8000 MB of
    h_vmem, whatever the machine has. The parallel environment ``smp`` gives all slots on one node.

    Args:
        settings: what differs from the usual.
        base: the directory to live in, new and with a short path; one below /tmp if not given.
    """

    scheduler = "sge"
    reaches_nodes = False  # they have names of their own
    says: ClassVar[Mapping[str, str]] = {
        "partition": "SGE knows no queue of this name",
        "constraint": 'unknown resource "bigmem"',
        "down": "qconf failed",
    }

    def __init__(self, settings: config.SgeSettings | None = None, *, base: Path | None = None) -> None:
        super().__init__()
        self.settings = settings or config.SgeSettings()
        self._wanted_base = base
        self._base: Path | None = None
        self._addresses: dict[str, str] = {}
        self._ports: list[int] = []
        self._paused = False

    # ---- life

    def start(self) -> None:
        """See Cluster; 5 s."""
        remove_dead_directories(_PREFIX, _take_back_addresses)
        try:
            self._prepare()
            self._fill_spool()
            self._start_master()
            self._start_nodes()
        except BaseException as error:
            logs = self.last_words() if self._base is not None else ""
            self.stop()
            if isinstance(error, (AssertionError, DaemonError, WaitTimeoutError, subprocess.SubprocessError)):
                raise DaemonError(f"the SGE cluster did not start: {error}\n{logs}") from error
            raise

    def stop(self) -> None:
        """See Cluster."""
        self._close_daemons()
        for address in self._addresses.values():
            subprocess.run(_ip("del", address), capture_output=True, check=False)
        self._addresses.clear()
        if self._base is not None:
            shutil.rmtree(self._base)
            self._base = None

    @property
    def base(self) -> Path:
        """See Cluster."""
        if self._base is None:
            raise RuntimeError("the SGE cluster is not running")
        return self._base

    @property
    def root(self) -> Path:
        """SGE_ROOT."""
        return self.base / "root"

    @property
    def env(self) -> dict[str, str]:
        """See Cluster."""
        return {
            "SGE_ROOT": str(self.root),
            "SGE_CELL": "default",
            "SGE_QMASTER_PORT": str(self._ports[0]),
            "SGE_EXECD_PORT": str(self._ports[1]),
        }

    @property
    def described_by(self) -> Sequence[Sequence[str]]:
        """See Cluster."""
        return (["qstat", "-f", "-u", "*"], ["qhost"])

    def logs(self) -> list[Path]:
        """See Cluster."""
        return [*super().logs(), *sorted(self.root.glob("**/messages"))]

    # ---- use

    def submit(self, script: str, *options: str) -> str:
        """Submit a script given as text and return the job id.

        Args:
            script: with its ``#!`` line.
            options: of qsub; unless ``-o`` is among them the job's output goes nowhere.
        """
        output = [] if "-o" in options else ["-o", "/dev/null", "-e", "/dev/null"]
        answer = self.run(["qsub", "-terse", "-S", "/bin/bash", *output, *options], stdin=script).stdout
        return answer.strip().splitlines()[-1].split(".")[0]

    def states(self, job_id: str = "") -> dict[str, str]:
        """Return the states of a job's tasks, or of all jobs', as qstat spells them; what has ended is not in it."""
        said = self.run(["qstat", "-u", "*", "-g", "d", "-xml"]).stdout
        states = {}
        for job in ElementTree.fromstring(said).iter("job_list"):
            number, task = job.findtext("JB_job_number", ""), job.findtext("tasks", "")
            if job_id in ("", number):
                states[f"{number}.{task}" if task else number] = job.findtext("state", "")
        return states

    def wait_for_states(self, job_id: str, *wanted: str, timeout_s: float = 30.0) -> dict[str, str]:
        """Wait until every task of a job is in one of the ``wanted`` states, and return them all."""

        def states_if_reached() -> dict[str, str]:
            states = self.states(job_id)
            return states if states and set(states.values()) <= set(wanted) else {}

        return self.wait_until(states_if_reached, timeout_s, f"job {job_id} is {' or '.join(wanted)}")

    def wait_for_end(self, job_id: str, *, timeout_s: float = 30.0) -> None:
        """See Cluster."""
        self.wait_until(lambda: not self.states(job_id), timeout_s, f"job {job_id} has ended")

    def cancel(self, job_id: str, task: int | None = None) -> None:
        """See Cluster."""
        done = self.run(["qdel", job_id if task is None else f"{job_id}.{task + 1}"], check=False)
        assert done.returncode == 0 or "does not exist" in done.stdout, done

    def cores_of(self, job_id: str) -> set[str]:
        """See Cluster."""
        said = self.run(["qacct", "-j", job_id], check=False).stdout
        return set(re.findall(r"^slots\s+(\d+)", said, re.MULTILINE))

    def node_of(self, job_id: str) -> str:
        """See Cluster."""
        said = self.run(["qstat", "-u", "*", "-s", "r", "-xml"]).stdout
        for job in ElementTree.fromstring(said).iter("job_list"):
            if job.findtext("JB_job_number") == job_id:
                return job.findtext("queue_name", "").partition("@")[2]
        return ""

    # ---- faults

    def node_states(self) -> dict[str, str]:
        """Return the states of the queue ``work`` by node, as qstat spells them: "" is well, "au" unknown."""
        said = self.run(["qstat", "-f", "-q", "work", "-xml"]).stdout
        states = {}
        for instance in ElementTree.fromstring(said).iter("Queue-List"):
            states[instance.findtext("name", "").partition("@")[2]] = instance.findtext("state", "")
        return states

    def requeue(self, job_id: str, task: int) -> None:
        """See Cluster."""
        self.run(["qmod", "-rj", f"{job_id}.{task + 1}"])

    def lose_node(self, name: str) -> None:
        """See Cluster: a node that comes back says which jobs it has lost, and those with -r y are put back."""
        self.kill_node(name)
        self._daemons[name].start()
        self._killed.discard(name)

    def kill_node(self, name: str) -> None:
        """Kill a node: sge_execd, its shepherds and every job on it, all with SIGKILL.

        The master takes note after ``max_unheard_s``; jobs with ``-r y`` are then put back.
        """
        self._killed.add(name)
        self._daemons[name].kill_all()

    def start_node(self, name: str, *, timeout_s: float = 30.0) -> None:
        """Bring a node back and wait until it takes jobs."""
        self._daemons[name].start()
        self._killed.discard(name)
        self._wait_for_nodes([name], timeout_s)

    def stop_controller(self) -> None:
        """End sge_qmaster in order; clients then say at once that they can't reach it."""
        self._killed.add(MASTER)
        daemon = self._daemons[MASTER]
        daemon.signal(signal.SIGTERM)
        wait_until(lambda: daemon.pid is None, 30, "sge_qmaster ends")

    def start_controller(self) -> None:
        """Start sge_qmaster (again) and wait until it answers and has its nodes."""
        self._daemons[MASTER].start()
        self._killed.discard(MASTER)
        self._wait_for_master()
        alive = [name for name in NODES if name not in self._killed]
        for name in alive:
            # By itself, an sge_execd looks for a new master after half a minute. Its jobs live on meanwhile.
            self._daemons[name].kill_alone()
            self._daemons[name].start()
        self._wait_for_nodes(alive, 60.0)

    def pause_controller(self) -> None:
        """Stop sge_qmaster as a busy site does: it takes connections but does not answer; clients wait for 60 s."""
        self._daemons[MASTER].signal(signal.SIGSTOP)
        self._paused = True

    def resume_controller(self) -> None:
        """Let a paused sge_qmaster go on."""
        self._daemons[MASTER].signal(signal.SIGCONT)
        self._paused = False

    def tidy(self) -> None:
        """See Cluster."""
        if self._paused:
            self.resume_controller()
        if MASTER in self._killed:
            self.start_controller()
        for name in NODES:
            if name in self._killed:
                self.start_node(name)
        if self.states():
            self.run(["qdel", "-u", "*"], check=False)
            with contextlib.suppress(WaitTimeoutError):
                self.wait_until(lambda: not self.states(), 5, "no job is left")
        if self.states():
            # What was notified has 10 s, and an sge_execd that was started anew learns late how old jobs end.
            for name in NODES:
                self.lose_node(name)
            self.run(["qdel", "-f", "-u", "*"], check=False)
            self.wait_until(lambda: not self.states(), 20, "no job is left")
        if any(self.node_states().values()):
            self.run(["qmod", "-c", "*"], check=False)
            self._wait_for_nodes(NODES, 30.0)

    # ---- beginnings

    def _prepare(self) -> None:
        base = make_directory(_PREFIX, self._wanted_base)
        self._base = base
        base.chmod(0o755)  # clients and jobs of any account read SGE_ROOT
        for name in ("etc/conf", "log", "root/default/common", "root/qmaster/job_scripts", "root/spool"):
            (base / name).mkdir(parents=True)
        (self.root / "util").symlink_to("/usr/share/gridengine/util")
        # The master, and one for each node.
        self._ports = free_ports(1 + len(NODES))
        self._addresses = _free_addresses(len(NODES))
        (base / _ADDRESSES).write_text("\n".join(self._addresses.values()))
        for address in self._addresses.values():
            subprocess.run(_ip("add", address), capture_output=True, check=True)
        hostname = socket.gethostname()
        own = socket.gethostbyname(hostname)
        # A name and what its address resolves to must be one for SGE, and on Debian they often aren't.
        names = [hostname, *([] if hostname == "localhost" else ["localhost"])]
        with contextlib.suppress(OSError):
            canonical, others, _ = socket.gethostbyaddr(own)
            names += [name for name in (canonical, *others) if name not in names]
        common = self.root / "default" / "common"
        (common / "act_qmaster").write_text(f"{hostname}\n")
        (common / "host_aliases").write_text(f"{' '.join(names)}\n")
        (common / "bootstrap").write_text(config.bootstrap(self.root))
        nodes = "".join(f"{address} {name}\n" for name, address in self._addresses.items())
        (base / "etc" / MASTER).write_text(f"{own} {' '.join(names)}\n{nodes}")
        for name, address in self._addresses.items():
            # The first line of an address is what it resolves to.
            (base / "etc" / name).write_text(f"{address} {name}\n{address} {' '.join(names)}\n")

    def _fill_spool(self) -> None:
        common = self.root / "default" / "common"
        settings = self.base / "etc" / "global"
        settings.write_text(config.global_configuration(self.settings, self.root))
        complexes = self.base / "etc" / "centry"
        shutil.copytree(config.RESOURCES / "centry", complexes)
        (complexes / "h_vmem").write_text(config.consumable_memory())
        self._spool("spoolinit", "classic", "libspoolc", f"{common};{self.root / 'qmaster'}", "init")
        self._spool("spooldefaults", "configuration", settings)
        self._spool("spooldefaults", "complexes", complexes)
        self._spool("spooldefaults", "usersets", config.RESOURCES / "usersets")
        self._spool("spooldefaults", "managers", "root")

    def _spool(self, program: str, *arguments: str | Path) -> None:
        self.run([config.BINARIES / program, *arguments], env=DAEMON_ENV)

    def _daemon(self, name: str, program: str, hostname: str, execd_port: int) -> Daemon:
        daemon = Daemon(
            name,
            [str(config.BINARIES / program)],
            # SGE_ND: stay in the foreground.
            env={**DAEMON_ENV, **self.env, "SGE_EXECD_PORT": str(execd_port), "SGE_ND": "1"},
            directory=self.base,
            log=self.base / "log" / f"{name}.out",
            hostname=hostname,
            hosts=self.base / "etc" / name,
        )
        self._daemons[name] = daemon
        daemon.start()
        return daemon

    def _start_master(self) -> None:
        self._daemon(MASTER, "sge_qmaster", socket.gethostname(), self._ports[1])
        self._wait_for_master()
        self._configure("-Msconf", "sconf", config.scheduler_configuration())
        # Submitting and asking is allowed from here, and from within jobs.
        self._as_master("qconf", "-as", ",".join([socket.gethostname(), *NODES]))
        self._as_master("qconf", "-ah", ",".join(NODES))
        first_gid = random.SystemRandom().randrange(100_000, 10_000_000)
        for number, name in enumerate(NODES):
            self._configure("-Ae", f"host-{name}", config.execution_host(name))
            # The configuration of a host is called as the file is.
            self._configure(
                "-Aconf", f"conf/{name}", config.local_configuration(first_gid + config.GIDS_PER_NODE * number)
            )
        for name, rule in ((config.PARALLEL_ENVIRONMENT, "$pe_slots"), ("make", "$round_robin")):
            self._configure("-Ap", f"pe-{name}", config.parallel_environment(name, rule))
        self._configure("-Ahgrp", "hgrp", config.host_group("@allhosts", NODES))
        for name, max_s in (("work", 0), ("short", config.SHORT_QUEUE_MAX_S)):
            self._configure("-Aq", f"queue-{name}", config.queue(name, "@allhosts", self.settings, max_s=max_s))

    def _start_nodes(self) -> None:
        for name, port in zip(NODES, self._ports[1:], strict=True):
            self._daemon(name, "sge_execd", name, port)
        self._wait_for_nodes(NODES, _START_S)

    def _configure(self, option: str, name: str, content: str) -> None:
        path = self.base / "etc" / name
        path.write_text(content)
        self._as_master("qconf", option, str(path))

    def _as_master(self, *argv: str) -> None:
        """Run a command where the nodes' names resolve."""
        pid = self._daemons[MASTER].pid
        # The command's own file is what it is outside; only names differ in there.
        self.run([program_path("nsenter") or "nsenter", f"--target={pid}", "--mount", "--uts", "--", *argv])

    def _wait_for_master(self) -> None:
        def answers() -> bool:
            self.check()
            return self.run(["qconf", "-sh"], check=False, timeout_s=20).returncode == 0

        wait_until(answers, _START_S, "sge_qmaster answers")

    def _wait_for_nodes(self, names: Sequence[str], timeout_s: float) -> None:
        def up() -> bool:
            states = self.node_states()
            return all(states.get(name) == "" for name in names)

        self.wait_until(up, timeout_s, f"{', '.join(names)} take jobs")


def _ip(verb: str, address: str) -> list[str]:
    return [program_path("ip") or "ip", "address", verb, f"{address}/32", "dev", "lo"]


def _take_back_addresses(base: Path) -> None:
    """Take the addresses off ``lo`` that a cluster had whose test was killed."""
    with contextlib.suppress(OSError):
        for address in (base / _ADDRESSES).read_text().split():
            subprocess.run(_ip("del", address), capture_output=True, check=False)


def _free_addresses(count: int) -> dict[str, str]:
    """Return loopback addresses that hardly any other program uses, by the nodes' names."""
    generator = random.SystemRandom()
    net = f"127.{generator.randrange(64, 255)}.{generator.randrange(1, 255)}"
    return {name: f"{net}.{number}" for name, number in zip(NODES[:count], range(11, 11 + count), strict=True)}
