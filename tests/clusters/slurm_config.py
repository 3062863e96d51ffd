"""The configuration files of a Slurm cluster for tests, as pure text."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

CPUS_PER_NODE = 4
MEMORY_PER_NODE_MB = 8000
DEFAULT_MEMORY_PER_CPU_MB = 1000
SHORT_PARTITION_MAX_MIN = 2
CGROUP_MOUNTPOINT = Path("/sys/fs/cgroup")


@dataclass(frozen=True)
class SlurmSettings:
    """What differs between the clusters that tests ask for."""

    cluster_name: str = "testbed"
    accounting: bool = True
    """With slurmdbd and MariaDB, so that sacct answers."""
    min_job_age_s: int = 20
    """How long squeue knows a finished job. Sites have 300."""
    kill_wait_s: int = 5
    """Between SIGTERM and SIGKILL. Sites have 30."""
    max_array_size: int = 1001
    """One more than the highest array index; Slurm's own default."""
    slurmd_timeout_s: int = 10
    """After how long a silent node is down."""
    memory_limits: bool = False
    """Kill what uses more memory than it asked for, by cgroups."""
    overrides: Mapping[str, str] = field(default_factory=dict)
    """Lines of slurm.conf, by key, in place of what is written here or beside it."""


@dataclass(frozen=True)
class Places:
    """Where one cluster lives: its directory, its ports, its address."""

    base: Path
    hostname: str
    """The machine's name, as the daemons see it."""
    address: str
    """What that name resolves to; all daemons listen there."""
    slurmctld_port: int
    slurmdbd_port: int
    node_ports: Mapping[str, int]

    @property
    def munge_socket(self) -> Path:
        return self.base / "munge.socket"

    @property
    def database_socket(self) -> Path:
        return self.base / "mariadb.socket"

    @property
    def slurm_conf(self) -> Path:
        return self.base / "etc" / "slurm.conf"


def slurm_conf(settings: SlurmSettings, places: Places) -> str:
    """Return slurm.conf.

    Quick where sites are slow: a job is looked at when it comes, another as soon as one ends. As sites are where it
    matters to a client: memory is counted and has a default per CPU, jobs are requeued when their node dies, job
    comments are not stored in the accounting.
    """
    base = places.base
    lines: dict[str, str] = {
        "ClusterName": settings.cluster_name,
        "SlurmctldHost": f"{places.hostname}({places.address})",
        "SlurmctldPort": str(places.slurmctld_port),
        "SlurmUser": "root",
        "SlurmdUser": "root",
        "AuthType": "auth/munge",
        "AuthInfo": f"socket={places.munge_socket}",
        "CredType": "cred/munge",
        # Listen at the address of the host's name, which is loopback, and not at all addresses.
        "CommunicationParameters": "NoInAddrAny,NoCtldInAddrAny",
        "StateSaveLocation": str(base / "state"),
        "SlurmdSpoolDir": str(base / "spool-%n"),
        "SlurmctldPidFile": str(base / "slurmctld.pid"),
        "SlurmdPidFile": str(base / "slurmd-%n.pid"),
        "SlurmctldLogFile": str(base / "log" / "slurmctld.log"),
        "SlurmdLogFile": str(base / "log" / "slurmd-%n.log"),
        "SlurmctldDebug": "verbose",
        "SlurmdDebug": "verbose",
        "SlurmdParameters": "config_overrides",
        "ProctrackType": "proctrack/linuxproc",
        "TaskPlugin": "task/none",
        "SwitchType": "switch/none",
        "MpiDefault": "none",
        "JobAcctGatherType": "jobacct_gather/linux",
        "JobAcctGatherFrequency": "task=1",
        "SelectType": "select/cons_tres",
        "SelectTypeParameters": "CR_Core_Memory",
        "DefMemPerCPU": str(DEFAULT_MEMORY_PER_CPU_MB),
        "SchedulerType": "sched/backfill",
        "SchedulerParameters": "batch_sched_delay=0,sched_interval=1,sched_min_interval=50000,bf_interval=2",
        "MaxArraySize": str(settings.max_array_size),
        "MinJobAge": str(settings.min_job_age_s),
        "KillWait": str(settings.kill_wait_s),
        "SlurmdTimeout": str(settings.slurmd_timeout_s),
        "MessageTimeout": "10",
        "CompleteWait": "0",
        "ReturnToService": "2",
        "PropagateResourceLimits": "NONE",
    }
    if settings.accounting:
        lines |= {
            "AccountingStorageType": "accounting_storage/slurmdbd",
            "AccountingStorageHost": places.address,
            "AccountingStoragePort": str(places.slurmdbd_port),
            "AccountingStoragePass": str(places.munge_socket),
        }
    else:
        lines["AccountingStorageType"] = "accounting_storage/none"
    if settings.memory_limits:
        lines["TaskPlugin"] = "task/cgroup"
    lines |= settings.overrides
    text = "".join(f"{key}={value}\n" for key, value in lines.items() if value)
    for name, port in places.node_ports.items():
        text += (
            f"NodeName={name} NodeHostname={places.hostname} NodeAddr={places.address} Port={port}"
            f" CPUs={CPUS_PER_NODE} RealMemory={MEMORY_PER_NODE_MB} State=UNKNOWN\n"
        )
    nodes = ",".join(places.node_ports)
    text += f"PartitionName=work Nodes={nodes} Default=YES MaxTime=1-00:00:00 DefaultTime=00:30:00 State=UP\n"
    text += f"PartitionName=short Nodes={nodes} MaxTime={SHORT_PARTITION_MAX_MIN} State=UP\n"
    return text


def slurmdbd_conf(places: Places) -> str:
    """Return slurmdbd.conf; the database is reached through its socket, as root and without a password."""
    lines = {
        "AuthType": "auth/munge",
        "AuthInfo": f"socket={places.munge_socket}",
        "DbdHost": places.hostname,
        "DbdAddr": places.address,
        "DbdPort": str(places.slurmdbd_port),
        "CommunicationParameters": "NoInAddrAny",
        "SlurmUser": "root",
        "StorageType": "accounting_storage/mysql",
        "StorageHost": "localhost",
        "StorageUser": "root",
        "StorageLoc": "slurm_acct",
        "LogFile": str(places.base / "log" / "slurmdbd.log"),
        "PidFile": str(places.base / "slurmdbd.pid"),
        "DebugLevel": "verbose",
    }
    return "".join(f"{key}={value}\n" for key, value in lines.items())


def cgroup_conf() -> str:
    """Return cgroup.conf for a cluster with memory limits: cgroups of version 1, which ask nothing of systemd."""
    lines = {
        "CgroupPlugin": "cgroup/v1",
        "CgroupMountpoint": str(CGROUP_MOUNTPOINT),
        "ConstrainRAMSpace": "yes",
        "ConstrainSwapSpace": "yes",
        "AllowedSwapSpace": "0",
        "MinRAMSpace": "10",
    }
    return "".join(f"{key}={value}\n" for key, value in lines.items())
