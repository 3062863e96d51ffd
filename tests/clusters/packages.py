"""What a real cluster or network filesystem needs on this machine, and what a test does when it is not there."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterable
from pathlib import Path
from typing import NoReturn

import pytest

from clusters.machine import can_have_own_hostnames

INSTALL_SCRIPT = Path(__file__).parents[2] / ".ci" / "install-debian-packages"

SLURM_PACKAGES = ("munge", "slurmctld", "slurmd", "slurm-client", "slurmdbd", "mariadb-server")

SLURM_PROGRAMS = (
    "munged",
    "munge",
    "slurmctld",
    "slurmd",
    "sbatch",
    "squeue",
    "sinfo",
    "scancel",
    "scontrol",
)

ACCOUNTING_PROGRAMS = ("slurmdbd", "sacct", "sacctmgr", "mariadbd", "mariadb-install-db")

# Daemons live where the PATH of an ordinary account does not look.
_SEARCH_PATH = os.pathsep.join([os.environ.get("PATH", os.defpath), "/usr/local/sbin", "/usr/sbin", "/sbin"])

SGE_PACKAGES = ("gridengine-master", "gridengine-exec", "gridengine-client", "iproute2")

# Beside the clients; the daemons are found below clusters.sge_config.BINARIES.
SGE_PROGRAMS = ("sge_qmaster", "sge_execd", "qsub", "qstat", "qdel", "qacct", "qconf", "qmod", "qhost", "ip", "nsenter")

GLUSTERFS_PACKAGES = ("glusterfs-server", "glusterfs-client", "fuse3")

GLUSTERFS_PROGRAMS = ("glusterfsd", "glusterfs", "umount")

SSH_PACKAGES = ("openssh-server", "openssh-client")

SSH_PROGRAMS = ("sshd", "ssh", "ssh-agent", "ssh-add", "ssh-keygen")


def program_path(name: str) -> str | None:
    """Return where a program or daemon is, or None."""
    return shutil.which(name, path=_SEARCH_PATH)


def missing_programs(names: Iterable[str]) -> list[str]:
    """Return those of ``names`` that are not on this machine, in the order given."""
    return [name for name in names if program_path(name) is None]


def need_slurm() -> None:
    """Skip the test that asks, with the reason, when a Slurm cluster can't be started here.

    On CI nothing may be skipped unnoticed: there, a reason to skip is a failure.
    """
    missing = missing_programs(SLURM_PROGRAMS + ACCOUNTING_PROGRAMS)
    if missing:
        cannot(f"not installed: {', '.join(missing)} (as root: {INSTALL_SCRIPT.name} slurm)")
    if os.geteuid() != 0:
        cannot("a Slurm of one's own needs root: slurmd starts jobs as their owners")


def need_sge() -> None:
    """Skip the test that asks, with the reason, when an SGE cluster can't be started here; on CI fail."""
    missing = missing_programs(SGE_PROGRAMS)
    if missing:
        cannot(f"not installed: {', '.join(missing)} (as root: {INSTALL_SCRIPT.name} sge)")
    if os.geteuid() != 0:
        cannot("an SGE of one's own needs root: sge_execd starts jobs as their owners")
    if not can_have_own_hostnames():
        cannot("an SGE with several nodes needs namespaces (CAP_SYS_ADMIN)")


def need_glusterfs() -> None:
    """Skip the test that asks, with the reason, when GlusterFS can't be started and mounted here; on CI fail."""
    missing = missing_programs(GLUSTERFS_PROGRAMS)
    if missing:
        cannot(f"not installed: {', '.join(missing)} (as root: {INSTALL_SCRIPT.name} glusterfs)")
    if os.geteuid() != 0:
        cannot("mounting a GlusterFS needs root")
    if not os.path.exists("/dev/fuse"):
        cannot("mounting a GlusterFS needs /dev/fuse")


def need_ssh() -> None:
    """Skip the test that asks, with the reason, when an sshd can't be started here; on CI fail."""
    missing = missing_programs(SSH_PROGRAMS)
    if missing:
        cannot(f"not installed: {', '.join(missing)} (as root: {INSTALL_SCRIPT.name} ssh)")
    if os.geteuid() != 0:
        cannot("an sshd of one's own needs root: it lets users log in")


def cannot(reason: str) -> NoReturn:
    """Skip with ``reason``, or fail with it where the environment says CI=true."""
    if os.environ.get("CI", "").lower() == "true":
        pytest.fail(f"must not be skipped on CI: {reason}", pytrace=False)
    pytest.skip(reason)
