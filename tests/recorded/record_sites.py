"""Records what real schedulers tell of their site, into ``sites/<case>/``, in the form of record_slurm.py.

As root, with the packages of ``.ci/install-debian-packages schedulers``::

    python tests/recorded/record_sites.py

It takes half a minute. The questions are those that the program asks: crh_batch/schedulers/*_site.py.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

HERE = Path(__file__).parent
for place in (HERE, HERE.parent, HERE.parent.parent):
    sys.path.insert(0, str(place))

from clusters.sge_cluster import SgeCluster  # noqa: E402
from clusters.slurm_cluster import SlurmCluster  # noqa: E402
from crh_batch.hosts.base import Completed  # noqa: E402
from crh_batch.schedulers import sge_site, slurm_capacity, slurm_site  # noqa: E402
from recorded.recording import SURVEY, neutral_machine, without  # noqa: E402

CASES = HERE / "sites"
SLEEPER = "#!/bin/bash\nexec sleep 1000\n"
BASES = (Path("/srv/slurm"), Path("/srv/sge"))


def record(case: str, argv: Sequence[str], env: Mapping[str, str], version: str) -> Completed:
    """Run a command, keep it under the name of ``case``, and return how it ended."""
    done = subprocess.run(
        list(argv),
        cwd=SURVEY,
        env={"PATH": "/usr/bin:/bin", "HOME": "/root", "LANG": "C.UTF-8", "TZ": "UTC", **env},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        timeout=60,
        check=False,
    )
    folder = CASES / case
    folder.mkdir(parents=True)
    (folder / "argv.json").write_text(json.dumps(list(argv), indent=1) + "\n")
    (folder / "exit_status").write_text(f"{done.returncode}\n")
    for stream, said in (("stdout", done.stdout), ("stderr", done.stderr)):
        for base in BASES:
            said = without(base, said)
        (folder / stream).write_bytes(said)
    (folder / "version").write_text(version)
    print(f"{case}: {done.returncode}", flush=True)
    return Completed(tuple(argv), done.returncode, done.stdout.decode(), done.stderr.decode())


def record_slurm(base: Path) -> None:
    """A site with features, a partition of whole nodes, one that is down and one that is hidden; then a plain one."""
    with SlurmCluster(accounting=True, base=base) as slurm:
        version = slurm.run(["sinfo", "--version"]).stdout
        for argv in (
            ["scontrol", "update", "nodename=n1", "availablefeatures=avx2,fat", "activefeatures=avx2,fat"],
            ["scontrol", "update", "nodename=n2", "availablefeatures=avx2", "activefeatures=avx2"],
            ["scontrol", "create", "partitionname=whole", "nodes=n1", "oversubscribe=exclusive", "maxtime=7-12:30:00"],
            ["scontrol", "create", "partitionname=closed", "nodes=n2,n3", "state=down", "maxtime=infinite"],
            ["sacctmgr", "--immediate", "add", "qos", "long"],
            ["sacctmgr", "--immediate", "add", "account", "geo42"],
            ["sacctmgr", "--immediate", "add", "user", "root", "account=geo42", "qos=normal,long"],
        ):
            slurm.run(argv)
        answers = [
            record(f"slurm-{name}", argv, slurm.env, version)
            for name, argv in zip(("config", "partitions", "associations"), slurm_site.questions([], "root"))
        ]
        assert not slurm_site.questions(answers, "root")
        record("slurm-partitions-named", slurm_site.partitions_argv(["short", "closed"]), slurm.env, version)
        record("slurm-partitions-one-unknown", slurm_site.partitions_argv(["short", "none"]), slurm.env, version)
        record("slurm-partitions-unknown", slurm_site.partitions_argv(["none"]), slurm.env, version)
        *_, others = slurm_site.questions([], "nobody")
        record("slurm-associations-none", others, slurm.env, version)
        record_capacity_of_slurm(slurm, version)
        slurm.stop_controller()
        record("slurm-partitions-controller-down", slurm_site.partitions_argv(), slurm.env, version)
        record("slurm-capacity-controller-down", slurm_capacity.argv([]), slurm.env, version)
    with SlurmCluster(accounting=False, base=base, overrides={"SelectTypeParameters": "CR_Core"}) as slurm:
        for name, argv in zip(("config", "partitions", "associations"), slurm_site.questions([], "root")):
            record(f"slurm-{name}-accounting-off", argv, slurm.env, version)


def record_capacity_of_slurm(slurm: SlurmCluster, version: str) -> None:
    """A job has three of n1's four cores; then n2 drains under a job of one core; then n3 is silent."""
    record("slurm-capacity-idle", slurm_capacity.argv([]), slurm.env, version)
    three = slurm.submit(SLEEPER, "--nodelist=n1", "--ntasks=1", "--cpus-per-task=3")
    one = slurm.submit(SLEEPER, "--nodelist=n2", "--partition=short")
    slurm.wait_for_states(three, "RUNNING")
    slurm.wait_for_states(one, "RUNNING")
    record("slurm-capacity-busy", slurm_capacity.argv([]), slurm.env, version)
    record("slurm-capacity-named", slurm_capacity.argv(["short", "whole", "closed"]), slurm.env, version)
    record("slurm-capacity-unknown", slurm_capacity.argv(["none"]), slurm.env, version)
    slurm.run(["scontrol", "update", "nodename=n2", "state=drain", "reason=broken"])
    record("slurm-capacity-draining", slurm_capacity.argv([]), slurm.env, version)
    slurm.kill_node("n3")
    slurm.wait_until(lambda: slurm.node_states()["n3"] == "idle*", 60, "n3 does not answer")
    record("slurm-capacity-silent", slurm_capacity.argv([]), slurm.env, version)
    slurm.run(["scancel", three, one])


def record_capacity_of_sge(sge: SgeCluster) -> None:
    """A job has three slots of a node, and one node's work queue is disabled."""
    job = sge.submit(SLEEPER, "-pe", "smp", "3", "-q", "work@n1")
    sge.wait_for_states(job, "r")
    sge.run(["qmod", "-d", "work@n2"])
    record("sge-capacity-busy", sge_site.HOSTS_ARGV, sge.env, "SGE 8.1.9\n")
    sge.run(["qdel", job])


def record_sge(base: Path) -> None:
    """A site with two queues, two parallel environments and a counted h_vmem."""
    with SgeCluster(base=base) as sge:
        first = sge_site.questions([], "root")
        names = ("config", "queues", "hosts", "complexes", "environments", "projects", "help")
        answers = [record(f"sge-{name}", argv, sge.env, "SGE 8.1.9\n") for name, argv in zip(names, first, strict=True)]
        for argv in sge_site.questions(answers, "root"):
            answers.append(record(f"sge-environment-{argv[-1]}", argv, sge.env, "SGE 8.1.9\n"))
        record("sge-environment-unknown", ["qconf", "-sp", "none"], sge.env, "SGE 8.1.9\n")
        record_capacity_of_sge(sge)
        sge.stop_controller()
        record("sge-capacity-master-down", sge_site.HOSTS_ARGV, sge.env, "SGE 8.1.9\n")
        record("sge-config-master-down", list(sge_site.CONFIG_ARGV), sge.env, "SGE 8.1.9\n")


def main() -> None:
    """Record all cases."""
    shutil.rmtree(CASES, ignore_errors=True)
    with neutral_machine():
        record_slurm(BASES[0])
        record_sge(BASES[1])


if __name__ == "__main__":
    os.umask(0o022)
    main()
