"""Records what SGE really says, into ``sge/<case>/``: argv.json, exit_status, stdout, stderr, version.

As root, with the packages of ``.ci/install-debian-packages sge``::

    python tests/recorded/record_sge.py [NAME...]     all cases, or those with these names

It takes about six minutes, most of them waiting for a master that doesn't answer. The recorder runs in namespaces of
its own where the machine is called ``login``, and the cluster's directory is written BASE, so that nothing of the
machine is in the recorded bytes; they are not edited otherwise. The clock is in UTC.
"""

from __future__ import annotations

import sys
from pathlib import Path

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parent))

from clusters.sge_cluster import SgeCluster  # noqa: E402
from clusters.sge_config import SgeSettings  # noqa: E402
from recorded import recording  # noqa: E402
from recorded.recording import drop_what_is_no_case, neutral_machine  # noqa: E402

CASES = HERE / "sge"

SLEEPER = "#!/bin/bash\nexec sleep 1000\n"
NOTHING = "#!/bin/bash\n"
NAME = "crh-20261122k3f9"

QSTAT = ["qstat", "-u", "root", "-g", "d", "-s", "prsz", "-xml"]
QACCT = ["qacct", "-o", "root", "-b", "202611010000", "-j", "crh-*"]
SILENT = ["-o", "/dev/null", "-e", "/dev/null"]


class Recorder(recording.Recorder):
    """Records what one SGE says."""

    def __init__(self, sge: SgeCluster, only: set[str], seen: set[str]) -> None:
        version = sge.run(["qconf", "-help"], check=False).stdout.splitlines()[0] + "\n"
        super().__init__(sge, CASES, version, only, seen)
        self.sge = sge

    def submit(self, case: str, *options: str, script: str = NOTHING) -> str:
        """Record a qsub and return the job id."""
        argv = ["qsub", "-terse", "-S", "/bin/bash", *SILENT, *options]
        return self.record(case, argv, stdin=script).strip().partition(".")[0]


# ---- a cluster at work


def idle_cluster(recorder: Recorder) -> None:
    """Nothing has been submitted yet."""
    recorder.record("qconf-sconf", ["qconf", "-sconf"])
    recorder.record("qconf-sq-all", ["qconf", "-sq", "*"])
    recorder.record("qconf-sq-unknown", ["qconf", "-sq", "none"])
    recorder.record("qconf-sql", ["qconf", "-sql"])
    recorder.record("qconf-sc", ["qconf", "-sc"])
    recorder.record("qconf-spl", ["qconf", "-spl"])
    recorder.record("qconf-sp-smp", ["qconf", "-sp", "smp"])
    recorder.record("qconf-sp-make", ["qconf", "-sp", "make"])
    recorder.record("qconf-sp-unknown", ["qconf", "-sp", "none"])
    recorder.record("qconf-sprjl-none", ["qconf", "-sprjl"])
    recorder.record("qconf-help", ["qconf", "-help"])
    recorder.record("qhost-q-xml", ["qhost", "-q", "-xml"])
    recorder.record("qstat-nothing", QSTAT)
    recorder.record("qstat-user-unknown", ["qstat", "-u", "nobody-here", "-xml"])
    recorder.record("qstat-j-unknown", ["qstat", "-j", "4711", "-xml"])
    recorder.record("qacct-no-file-yet", QACCT)
    recorder.record("qdel-unknown", ["qdel", "4711"])
    recorder.record("qmod-cj-unknown", ["qmod", "-cj", "4711"])


def refused_submissions(recorder: Recorder) -> None:
    """Let qsub say no, each time for one reason."""
    recorder.submit("qsub-queue-unknown", "-q", "nowhere")
    recorder.submit("qsub-resource-unknown", "-l", "bigmem=1")
    recorder.submit("qsub-environment-unknown", "-pe", "several", "2")
    recorder.submit("qsub-project-unknown", "-P", "geo")
    recorder.submit("qsub-too-many-tasks", "-t", "1-1001")
    recorder.submit("qsub-time-malformed", "-l", "h_rt=soon")
    recorder.submit("qsub-priority-malformed", "-p", "-2000")
    recorder.submit("qsub-name-begins-with-a-digit", "-N", "1crh")
    recorder.submit("qsub-array-from-0", "-t", "0-3")
    recorder.submit("qsub-option-unknown", "-no-such-option")
    recorder.submit("qsub-more-slots-than-a-node-has", "-pe", "smp", "99", "-w", "e")
    recorder.record("qsub-script-missing", ["qsub", "-terse", "/srv/survey/none.sh"])


def array_in_all_states(recorder: Recorder) -> None:
    """Nine tasks of four slots: two have ended, three run, the others wait; a job is held, one is in a short queue."""
    sge = recorder.sge
    script = "#!/bin/bash\ncase $SGE_TASK_ID in\n1) exit 0 ;;\n2) exit 3 ;;\n*) exec sleep 1000 ;;\nesac\n"
    job = recorder.submit("qsub-array", "-N", NAME, "-t", "1-9", "-pe", "smp", "4", script=script)

    def at_work() -> bool:
        states = sge.states(job)
        return len(states) == 7 and list(states.values()).count("r") == 3

    sge.wait_until(at_work, 60, "three tasks run, four wait")
    recorder.submit("qsub-not-an-array", "-N", "crh-single", "-hold_jid", job)
    recorder.submit("qsub-held", "-N", "crh-held", "-h", "-t", "1-2")
    recorder.submit("qsub-foreign", "-N", "foreign")
    recorder.record("qstat-mixed", QSTAT)
    recorder.record("qstat-mixed-not-expanded", ["qstat", "-u", "root", "-s", "prsz", "-xml"])
    recorder.record("qstat-mixed-text", ["qstat", "-u", "root"])
    recorder.record("qstat-j-array", ["qstat", "-j", job, "-xml"])
    sge.wait_until(lambda: "taskid       2" in sge.run(QACCT, check=False).stdout, 30, "qacct knows two tasks")
    recorder.record("qacct-array", QACCT)
    recorder.record("qacct-name-unknown", ["qacct", "-j", "crh-none"])
    recorder.record("qacct-later", ["qacct", "-o", "root", "-b", "203001010000", "-j", "crh-*"])
    recorder.record("qmod-suspend", ["qmod", "-sj", f"{job}.3"])
    sge.wait_until(lambda: sge.states(job)[f"{job}.3"] == "s", 20, "a task is suspended")
    recorder.record("qstat-suspended", QSTAT)
    recorder.record("qdel-task-pending", ["qdel", f"{job}.9"])
    recorder.record("qdel-task-running", ["qdel", f"{job}.4"])
    recorder.record("qdel-array", ["qdel", job])
    recorder.record("qdel-twice", ["qdel", job])
    sge.wait_for_end(job)
    recorder.record("qdel-ended", ["qdel", job])
    recorder.record("qstat-after-cancel", QSTAT)


def errors_on_nodes(recorder: Recorder) -> None:
    """Jobs that a node can't start: their directory is missing, or their output can't be written."""
    sge = recorder.sge
    late = recorder.submit("qsub-directory-missing", "-N", "crh-late", "-t", "1-2", "-wd", "/srv/survey/late")
    other = recorder.submit("qsub-output-unwritable", "-N", "crh-other", "-o", "/srv/none/out")
    sge.wait_for_states(late, "Eqw")
    sge.wait_for_states(other, "Eqw")
    recorder.record("qstat-error", QSTAT)
    recorder.record("qstat-j-error", ["qstat", "-j", f"{late},{other}", "-xml"])
    Path("/srv/survey/late").mkdir()
    recorder.record("qmod-cj", ["qmod", "-cj", f"{late}.1", f"{late}.2"])
    recorder.record("qmod-cj-twice", ["qmod", "-cj", f"{late}.1"])
    sge.wait_for_end(late)


def ends_of_jobs(recorder: Recorder) -> None:
    """Jobs that are put back, told to end, run out of time and out of memory."""
    sge = recorder.sge
    again = recorder.submit("qsub-rerunnable", "-N", "crh-again", "-t", "1-1", "-r", "y", script=SLEEPER)
    sge.wait_for_states(again, "r")
    recorder.record("qmod-rj", ["qmod", "-rj", f"{again}.1"])
    recorder.record("qstat-put-back", QSTAT)
    sge.wait_for_states(again, "Rr")
    recorder.record("qstat-running-again", QSTAT)
    told = recorder.submit("qsub-notify", "-N", "crh-told", "-notify", script="#!/bin/bash\ntrap '' USR2\nsleep 1000\n")
    sge.wait_for_states(told, "r")
    sge.run(["qdel", told])
    recorder.record("qstat-being-deleted", QSTAT)
    late = recorder.submit("qsub-time-limit", "-N", "crh-overtime", "-l", "h_rt=2", script=SLEEPER)
    # Each is within the limit, all together are not.
    one = "python3 -c 'import time; kept = bytearray(40_000_000); time.sleep(60)'"
    # Each is within the limit, all together are not.
    one = "python3 -c 'import time; kept = bytearray(40_000_000); time.sleep(60)'"
    greedy = f"#!/bin/bash\nfor i in 1 2 3 4; do {one} & done\nwait\n"
    hungry = recorder.submit("qsub-memory-limit", "-N", "crh-hungry", "-l", "h_vmem=100M", script=greedy)
    sge.wait_for_end(late, timeout_s=60)
    sge.wait_for_end(hungry, timeout_s=60)
    sge.run(["qdel", again])
    sge.wait_for_end(again)
    sge.wait_for_end(told)
    names = ("crh-hungry", "crh-overtime", "crh-again", "crh-told")
    sge.wait_until(lambda: all(name in sge.run(QACCT, check=False).stdout for name in names), 30, "qacct knows them")
    recorder.record("qacct-ends", QACCT)
    recorder.record("qstat-ended", QSTAT)


def dead_node(recorder: Recorder) -> None:
    """A node is silent; its job, which may not be put back, stays as it was."""
    sge = recorder.sge
    job = recorder.submit("qsub-on-one-node", "-N", "crh-dead", "-q", "work@n2", script=SLEEPER)
    sge.wait_for_states(job, "r")
    sge.kill_node("n2")
    sge.wait_until(lambda: "u" in sge.node_states()["n2"], 60, "the master misses the node")
    recorder.record("qstat-node-silent", QSTAT)
    recorder.record("qhost-node-silent", ["qhost", "-q", "-xml"])
    recorder.record("qdel-on-silent-node", ["qdel", job])
    recorder.record("qstat-deleted-on-silent-node", QSTAT)


def nobody_answers(recorder: Recorder) -> None:
    """First the master does not answer, then it is down."""
    sge = recorder.sge
    sge.pause_controller()
    recorder.submit("qsub-master-silent", "-N", "crh-silent")
    recorder.record("qstat-master-silent", QSTAT)
    sge.resume_controller()
    sge.stop_controller()
    recorder.submit("qsub-master-down", "-N", "crh-down")
    recorder.record("qstat-master-down", QSTAT)
    recorder.record("qdel-master-down", ["qdel", "1"])
    recorder.record("qconf-sconf-master-down", ["qconf", "-sconf"])
    recorder.record("qhost-master-down", ["qhost", "-q", "-xml"])
    recorder.record("qacct-master-down", QACCT)
    sge.start_controller()


def without_accounting(recorder: Recorder) -> None:
    """A site that writes no accounting file."""
    job = recorder.submit("qsub-accounting-off", "-N", "crh-off")
    recorder.sge.wait_for_end(job)
    recorder.record("qacct-accounting-off", QACCT)


def main(only: set[str]) -> None:
    """Record all cases and drop what is no case any more."""
    seen: set[str] = set()
    CASES.mkdir(exist_ok=True)
    with neutral_machine():
        base = Path("/srv/sge")
        with SgeCluster(base=base) as sge:
            recorder = Recorder(sge, only, seen)
            for situation in (
                idle_cluster,
                refused_submissions,
                array_in_all_states,
                errors_on_nodes,
                ends_of_jobs,
                dead_node,
                nobody_answers,
            ):
                situation(recorder)
                sge.tidy()
        with SgeCluster(SgeSettings(accounting=False), base=base) as sge:
            without_accounting(Recorder(sge, only, seen))
    drop_what_is_no_case(CASES, only, seen)


if __name__ == "__main__":
    main(set(sys.argv[1:]))
