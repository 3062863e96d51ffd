"""Records what Slurm really says, into ``slurm/<case>/``: argv.json, exit_status, stdout, stderr, version.

As root, with the packages of ``.ci/install-debian-packages slurm``::

    python tests/recorded/record_slurm.py [NAME...]     all cases, or those with these names

It takes about five minutes, most of them waiting for time limits, a node that dies and commands that find nobody. The
recorder runs in namespaces of its own where the machine is called ``login``, and the cluster's directory is written
BASE, so that nothing of the machine is in the recorded bytes; they are not edited otherwise. The clock is in UTC.

Every case is written by the line that makes it, in the function that brings about its situation, and every command
is one that a client of this project gives or might give.
"""

from __future__ import annotations

import sys
from pathlib import Path

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parent))

from clusters.machine import can_limit_memory  # noqa: E402
from clusters.slurm_cluster import SlurmCluster  # noqa: E402
from recorded import recording  # noqa: E402
from recorded.recording import SURVEY, drop_what_is_no_case, neutral_machine  # noqa: E402

CASES = HERE / "slurm"

SLEEPER = "#!/bin/bash\nexec sleep 1000\n"
NOTHING = "#!/bin/bash\n"

SQUEUE = ["squeue", "--noheader", "--array", "--states=all"]
FORMAT = "--format=%i|%T|%r|%M|%L|%N|%j"
LONG_FORMAT = "--Format=JobArrayID:|,JobID:|,State:|,Reason:|,TimeUsed:|,TimeLeft:|,NodeList:|,Name:|,RestartCnt:|"
SACCT = ["sacct", "--parsable2", "--noheader"]
SACCT_FORMAT = (
    "--format=JobID,JobName,State,ExitCode,DerivedExitCode,AllocCPUS,Elapsed,ElapsedRaw,Timelimit,Submit,Start,End,"
    "NodeList,MaxRSS,ReqMem,Reason"
)
SINFO = ["sinfo", "--noheader", "--format=%P|%c|%m|%l|%D|%a|%T"]


class Recorder(recording.Recorder):
    """Records what one Slurm says."""

    def __init__(self, slurm: SlurmCluster, only: set[str], seen: set[str]) -> None:
        super().__init__(slurm, CASES, slurm.run(["sinfo", "--version"]).stdout, only, seen)
        self.slurm = slurm

    def submit(self, case: str, *options: str, script: str = NOTHING) -> str:
        """Record an sbatch and return the job id."""
        return self.record(case, ["sbatch", "--parsable", *options], stdin=script).strip().split(";")[0]


# ---- a cluster at work


def idle_cluster(recorder: Recorder) -> None:
    """Nothing has been submitted yet."""
    recorder.record("sinfo-partitions", SINFO)
    recorder.record("sinfo-partitions-default-format", ["sinfo"])
    recorder.record("sinfo-version", ["sinfo", "--version"])
    recorder.record("scontrol-show-config", ["scontrol", "show", "config"])
    recorder.record("scontrol-show-partition", ["scontrol", "--oneliner", "show", "partition"])
    recorder.record("scontrol-ping", ["scontrol", "ping"])
    recorder.record("squeue-name-unknown", [*SQUEUE, "--name=crh-none", FORMAT])
    recorder.record("squeue-id-unknown", [*SQUEUE, "--jobs=4711", FORMAT])
    recorder.record("squeue-two-ids-unknown", [*SQUEUE, "--jobs=4711,4712", FORMAT])
    recorder.record("squeue-id-malformed", [*SQUEUE, "--jobs=abc", FORMAT])
    recorder.record("sacct-name-unknown", [*SACCT, "-X", "--name=crh-none", SACCT_FORMAT])
    recorder.record("sacct-id-unknown", [*SACCT, "-X", "--jobs=4711", SACCT_FORMAT])
    recorder.record("scancel-id-unknown", ["scancel", "4711"])
    recorder.record("scancel-id-unknown-verbose", ["scancel", "--verbose", "4711"])
    recorder.record("scancel-name-unknown", ["scancel", "--name=crh-none"])
    recorder.record("scontrol-show-job-unknown", ["scontrol", "--oneliner", "show", "job", "4711"])


def refused_submissions(recorder: Recorder) -> None:
    """sbatch says no, each time for one reason."""
    recorder.submit("sbatch-partition-unknown", "--partition=nowhere")
    recorder.submit("sbatch-array-index-too-high", "--array=0-1001")
    recorder.submit("sbatch-array-malformed", "--array=5-1")
    recorder.submit("sbatch-too-many-cpus", "--cpus-per-task=5")
    recorder.submit("sbatch-too-much-memory", "--mem=9000")
    recorder.submit("sbatch-too-many-nodes", "--nodes=4")
    recorder.submit("sbatch-mem-twice", "--mem=10", "--mem-per-cpu=10")
    recorder.submit("sbatch-time-malformed", "--time=soon")
    recorder.submit("sbatch-option-unknown", "--no-such-option")
    recorder.submit("sbatch-signal-malformed", "--signal=B:NOPE@10")
    recorder.submit("sbatch-dependency-unknown", "--dependency=afterok:4711")
    recorder.submit("sbatch-reservation-unknown", "--reservation=none")
    recorder.submit("sbatch-qos-unknown", "--qos=none")
    recorder.submit("sbatch-constraint-unknown", "--constraint=gpu9")
    recorder.submit("sbatch-script-without-shebang", script="echo\n")
    recorder.submit("sbatch-script-with-dos-line-breaks", script="#!/bin/bash\r\n")
    recorder.submit("sbatch-script-empty", script="")
    recorder.record("sbatch-script-missing", ["sbatch", "--parsable", "none.sh"])


def array_in_all_states(recorder: Recorder) -> None:
    """Ten tasks, three at a time: two have ended, some run, some wait, two are cancelled."""
    slurm = recorder.slurm
    name = "crh-20261122-101500-k3f9"
    script = (
        "#!/bin/bash\n"
        "case $SLURM_ARRAY_TASK_ID in\n"
        "0) python3 -c 'import time; kept = bytearray(60_000_000); time.sleep(3)' ;;\n"
        "1) exit 3 ;;\n"
        "*) exec sleep 1000 ;;\n"
        "esac\n"
    )
    options = ["--array=0-9", "--cpus-per-task=4", "--mem=500", "--time=00:20:00", "--output=/dev/null"]
    job = recorder.submit(
        "sbatch-parsable", *options, f"--job-name={name}", f"--comment={name}", f"--chdir={SURVEY}", script=script
    )
    assert job.isdigit(), job

    def states() -> str:
        return " ".join(state for _, state in sorted(slurm.states(job).items()))

    slurm.wait_until(
        lambda: states() == "COMPLETED FAILED" + 3 * " RUNNING" + 5 * " PENDING", 30, "two ended, three run"
    )
    recorder.record("squeue-array-before-cancel", [*SQUEUE, f"--name={name}", FORMAT])
    recorder.record("scancel-task-running", ["scancel", f"{job}_2"])
    # A pending task that is cancelled alone is gone from squeue at once and never seen by sacct (22.05.8).
    recorder.record("scancel-task-pending", ["scancel", f"{job}_5"])
    slurm.wait_until(
        lambda: states() == "COMPLETED FAILED CANCELLED RUNNING RUNNING RUNNING" + 3 * " PENDING",
        30,
        "two are cancelled, one more runs",
    )
    slurm.wait_until(lambda: ".batch|" in _sacct(slurm, f"{job}_2"), 20, "sacct knows the cancelled task")
    recorder.record("squeue-array-mixed", [*SQUEUE, f"--name={name}", FORMAT])
    recorder.record("squeue-array-mixed-long-format", [*SQUEUE, f"--name={name}", LONG_FORMAT])
    recorder.record("squeue-long-format-without-suffix", [*SQUEUE, f"--jobs={job}", "--Format=JobArrayID,State,Name"])
    recorder.record("squeue-long-format-with-width", [*SQUEUE, f"--jobs={job}", "--Format=JobArrayID:12|,Name:9|"])
    recorder.record("squeue-array-mixed-by-id", [*SQUEUE, f"--jobs={job}", FORMAT])
    recorder.record("squeue-array-mixed-by-task", [*SQUEUE, f"--jobs={job}_3,{job}_7", FORMAT])
    recorder.record(
        "squeue-array-mixed-not-expanded", ["squeue", "--noheader", "--states=all", f"--jobs={job}", FORMAT]
    )
    recorder.record("squeue-array-only-unfinished", ["squeue", "--noheader", "--array", f"--name={name}", FORMAT])
    recorder.record("squeue-array-default-format", ["squeue", "--array", "--states=all", f"--jobs={job}"])
    recorder.record("squeue-time-left", ["squeue", "--noheader", f"--jobs={job}_3", "--format=%L"])
    recorder.record("sacct-array-mixed", [*SACCT, "-X", f"--jobs={job}", SACCT_FORMAT])
    recorder.record("sacct-option-unknown-in-22.05", [*SACCT, "-X", "--array", f"--jobs={job}", SACCT_FORMAT])
    recorder.record("sacct-array-mixed-steps", [*SACCT, f"--jobs={job}", SACCT_FORMAT])
    recorder.record(
        "sacct-array-mixed-by-name", [*SACCT, "-X", f"--name={name}", "--starttime=now-1days", SACCT_FORMAT]
    )
    recorder.record("scontrol-show-job-array-task", ["scontrol", "--oneliner", "show", "job", f"{job}_3"])
    recorder.record("scontrol-show-job-array", ["scontrol", "--oneliner", "show", "job", job])
    recorder.record("scancel-task-finished", ["scancel", f"{job}_0"])
    recorder.record("scancel-task-out-of-range", ["scancel", f"{job}_77"])
    recorder.record("scancel-array", ["scancel", job])
    slurm.wait_for_states(job, "COMPLETED", "FAILED", "CANCELLED")
    recorder.record("squeue-array-finished", [*SQUEUE, f"--jobs={job}", FORMAT])
    recorder.record("scancel-array-finished", ["scancel", job])
    recorder.record("scancel-array-finished-verbose", ["scancel", "--verbose", job])
    slurm.wait_until(lambda: _sacct(slurm, job).count(".batch|CANCELLED") == 4, 20, "sacct knows the cancelled tasks")
    recorder.record("sacct-array-cancelled", [*SACCT, "-X", f"--jobs={job}", SACCT_FORMAT])


def other_ways_to_submit(recorder: Recorder) -> None:
    """What sbatch says when asked otherwise."""
    recorder.record("sbatch-not-parsable", ["sbatch", "--output=/dev/null"], stdin=NOTHING)
    recorder.submit("sbatch-parsable-with-cluster", "--clusters=testbed", "--output=/dev/null")
    recorder.submit("sbatch-test-only", "--test-only")


def reasons_to_wait(recorder: Recorder) -> None:
    """Jobs that are pending, each for another reason."""
    slurm = recorder.slurm
    quiet = "--output=/dev/null"
    whole = slurm.submit(SLEEPER, "--nodes=3", "--exclusive", "--job-name=crh-whole")
    slurm.wait_for_states(whole, "RUNNING")
    jobs = [
        slurm.submit(NOTHING, "--job-name=crh-resources"),
        slurm.submit(NOTHING, "--job-name=crh-priority"),
        slurm.submit(NOTHING, "--job-name=crh-held", "--hold"),
        slurm.submit(NOTHING, "--job-name=crh-begin", "--begin=now+1hour"),
        slurm.submit(NOTHING, "--job-name=crh-depends", f"--dependency=afterok:{whole}"),
        recorder.submit(
            "sbatch-time-above-the-partition", "--partition=short", "--time=10", quiet, "--job-name=crh-too-long"
        ),
    ]
    waits = ["squeue", "--noheader", "--array", "--states=PENDING", FORMAT]
    slurm.wait_until(
        lambda: all(word in slurm.run(waits).stdout for word in ("Resources", "Priority", "PartitionTimeLimit")),
        30,
        "the reasons are known",
    )
    recorder.record("squeue-pending-reasons", waits)
    recorder.record("squeue-pending-reasons-long-format", ["squeue", "--noheader", "--states=PENDING", LONG_FORMAT])
    slurm.run(["scancel", *jobs, whole])
    slurm.tidy()
    throttled = recorder.submit("sbatch-array-throttled", "--array=0-8%2", quiet, script=SLEEPER)
    slurm.wait_until(
        lambda: sorted(slurm.states(throttled).values()) == 7 * ["PENDING"] + 2 * ["RUNNING"], 30, "two of nine run"
    )
    slurm.wait_until(lambda: "JobArrayTaskLimit" in slurm.run(waits).stdout, 30, "the limit is the reason")
    recorder.record("squeue-array-throttled", [*SQUEUE, f"--jobs={throttled}", FORMAT])
    recorder.record("squeue-array-throttled-not-expanded", ["squeue", "--noheader", f"--jobs={throttled}", FORMAT])
    recorder.record("scontrol-suspend", ["scontrol", "suspend", f"{throttled}_0"])
    slurm.wait_until(lambda: "SUSPENDED" in slurm.states(throttled).values(), 30, "one is suspended")
    recorder.record("squeue-suspended", [*SQUEUE, f"--jobs={throttled}", FORMAT])
    slurm.run(["scontrol", "resume", f"{throttled}_0"])
    slurm.run(["scancel", throttled])
    slurm.tidy()
    scattered = recorder.submit("sbatch-array-scattered", "--array=1,3-5,8,10-1000:10", "--hold", quiet)
    recorder.record("squeue-array-scattered-not-expanded", ["squeue", "--noheader", f"--jobs={scattered}", FORMAT])
    slurm.run(["scancel", scattered])


def ends_of_jobs(recorder: Recorder) -> None:
    """Time limit, deadline, requeue, a node that dies, output that can't be opened."""
    slurm = recorder.slurm
    warned = "#!/bin/bash\ntrap 'echo USR1 came' USR1\nwhile :; do sleep 1; done\n"
    late = slurm.submit(warned, "--time=1", "--signal=B:USR1@30", f"--output={SURVEY}/late.out")
    stubborn = slurm.submit("#!/bin/bash\ntrap '' TERM\nwhile :; do sleep 1; done\n", "--time=1")
    in_the_way = slurm.submit(SLEEPER, "--nodelist=n3", "--exclusive")
    slurm.wait_for_states(in_the_way, "RUNNING")
    deadline = slurm.submit(NOTHING, "--nodelist=n3", "--exclusive", "--time=1", "--deadline=now+75seconds")
    unlogged = slurm.submit(NOTHING, f"--output={SURVEY}/no-such-directory/out")
    slurm.wait_for_states(unlogged, "FAILED")
    recorder.record("squeue-output-not-writable", [*SQUEUE, f"--jobs={unlogged}", FORMAT])
    slurm.wait_until(lambda: ".batch|" in _sacct(slurm, unlogged), 20, "sacct knows the job without output")
    recorder.record("sacct-output-not-writable", [*SACCT, f"--jobs={unlogged}", SACCT_FORMAT])

    again = slurm.submit(SLEEPER, "--requeue", "--job-name=crh-again", f"--output={SURVEY}/again.out")
    slurm.wait_for_states(again, "RUNNING")
    recorder.record("scontrol-requeue", ["scontrol", "requeue", again])
    slurm.wait_for_states(again, "PENDING")
    recorder.record("squeue-requeued", [*SQUEUE, f"--jobs={again}", FORMAT])
    recorder.record("squeue-requeued-long-format", [*SQUEUE, f"--jobs={again}", LONG_FORMAT])
    recorder.record("job-output-requeue", ["cat", "again.out"])
    slurm.let_requeued_job_start(again)
    slurm.wait_for_states(again, "RUNNING")
    recorder.record("squeue-running-again-long-format", [*SQUEUE, f"--jobs={again}", LONG_FORMAT])
    slurm.run(["scancel", again])
    slurm.wait_for_states(again, "CANCELLED")
    recorder.record("job-output-cancel", ["cat", "again.out"])
    slurm.wait_until(lambda: _sacct(slurm, again, "--duplicates").count(".batch|") == 2, 20, "sacct knows both lives")
    recorder.record("sacct-requeued", [*SACCT, f"--jobs={again}", SACCT_FORMAT])
    recorder.record("sacct-requeued-duplicates", [*SACCT, "--duplicates", f"--jobs={again}", SACCT_FORMAT])

    slurm.wait_for_states(deadline, "DEADLINE", timeout_s=75)
    recorder.record("squeue-deadline", [*SQUEUE, f"--jobs={deadline}", FORMAT])
    slurm.wait_for_states(late, "TIMEOUT", timeout_s=150)
    slurm.wait_until(lambda: "COMPLETING" in slurm.states(stubborn).values(), 60, "one has not gone yet")
    recorder.record("squeue-completing", [*SQUEUE, f"--jobs={stubborn}", FORMAT])
    slurm.wait_for_states(stubborn, "TIMEOUT", timeout_s=30)
    recorder.record("squeue-timeout", [*SQUEUE, f"--jobs={late},{stubborn}", FORMAT])
    slurm.wait_until(lambda: _sacct(slurm, f"{late},{stubborn}").count(".batch|") == 2, 20, "sacct knows them")
    recorder.record("sacct-timeout-and-deadline", [*SACCT, f"--jobs={late},{stubborn},{deadline}", SACCT_FORMAT])
    recorder.record("job-output-timeout", ["cat", "late.out"])


def dead_node(recorder: Recorder) -> None:
    """A node dies with two jobs; then one is declared down."""
    slurm = recorder.slurm
    lost = slurm.submit(SLEEPER, "--no-requeue", "--array=0-1", "--job-name=crh-lost", "--nodelist=n1")
    again = slurm.submit(SLEEPER, "--requeue", "--job-name=crh-again", "--nodelist=n1")
    slurm.wait_for_states(lost, "RUNNING")
    slurm.wait_for_states(again, "RUNNING")
    slurm.kill_node("n1")
    slurm.wait_until(lambda: slurm.node_states()["n1"] == "mixed*", 60, "n1 does not answer")
    recorder.record("squeue-node-silent", [*SQUEUE, f"--jobs={lost},{again}", FORMAT])
    recorder.record("sinfo-node-silent", SINFO)
    slurm.wait_for_states(lost, "NODE_FAIL", timeout_s=90)
    recorder.record("squeue-node-fail", [*SQUEUE, f"--jobs={lost},{again}", FORMAT])
    recorder.record("sinfo-node-down", SINFO)
    recorder.record("sacct-node-fail", [*SACCT, f"--jobs={lost},{again}", SACCT_FORMAT])
    slurm.start_node("n1")
    slurm.run(["scontrol", "update", "nodename=n2", "state=drain", "reason=broken"])
    slurm.run(["scontrol", "update", "partitionname=short", "state=down"])
    recorder.record("sinfo-node-drained-partition-down", SINFO)
    recorder.submit("sbatch-partition-down", "--partition=short", "--output=/dev/null")
    slurm.run(["scontrol", "update", "partitionname=short", "state=inactive"])
    recorder.submit("sbatch-partition-inactive", "--partition=short", "--output=/dev/null")
    slurm.run(["scontrol", "update", "partitionname=short", "state=up"])
    slurm.tidy()


def purged_jobs(recorder: Recorder) -> None:
    """A job that Slurm has forgotten, alone and with one that it knows."""
    slurm = recorder.slurm
    purged = slurm.submit(NOTHING, "--job-name=crh-purged")
    purged_too = slurm.submit(NOTHING, "--job-name=crh-purged-too")
    known = slurm.submit(SLEEPER, "--job-name=crh-known")
    slurm.wait_until(lambda: not slurm.states(purged) and not slurm.states(purged_too), 90, "two jobs are purged")
    recorder.record("squeue-purged", [*SQUEUE, f"--jobs={purged}", FORMAT])
    recorder.record("squeue-purged-and-known", [*SQUEUE, f"--jobs={purged},{known}", FORMAT])
    recorder.record("squeue-two-purged", [*SQUEUE, f"--jobs={purged},{purged_too}", FORMAT])
    recorder.record("scancel-purged", ["scancel", purged])
    recorder.record("sacct-purged-and-known", [*SACCT, "-X", f"--jobs={purged},{known}", SACCT_FORMAT])
    recorder.record("scontrol-show-job-purged", ["scontrol", "--oneliner", "show", "job", purged])
    slurm.tidy()


def nobody_answers(recorder: Recorder) -> None:
    """First the accounting is down, then the controller does not answer, then it is down."""
    slurm = recorder.slurm
    slurm.stop_accounting()
    recorder.record("sacct-slurmdbd-down", [*SACCT, "-X", "--jobs=1", SACCT_FORMAT])
    recorder.submit("sbatch-slurmdbd-down", "--output=/dev/null")
    slurm.start_accounting()
    slurm.pause_controller()
    recorder.submit("sbatch-controller-silent", "--output=/dev/null", "--job-name=crh-submitted-all-the-same")
    recorder.record("squeue-controller-silent", [*SQUEUE, "--jobs=1", FORMAT])
    slurm.resume_controller()
    same = [*SQUEUE, "--name=crh-submitted-all-the-same", FORMAT]
    slurm.wait_until(lambda: slurm.run(same).stdout, 30, "the submission that failed is there")
    recorder.record("squeue-name-after-controller-silent", same)
    slurm.stop_controller()
    recorder.submit("sbatch-controller-down", "--output=/dev/null")
    recorder.record("squeue-controller-down", [*SQUEUE, "--jobs=1", FORMAT])
    recorder.record("squeue-name-controller-down", [*SQUEUE, "--name=crh-none", FORMAT])
    recorder.record("sinfo-controller-down", SINFO)
    recorder.record("scancel-controller-down", ["scancel", "1"])
    recorder.record("scontrol-show-config-controller-down", ["scontrol", "show", "config"])
    recorder.record("scontrol-ping-controller-down", ["scontrol", "ping"])
    recorder.record("sacct-controller-down", [*SACCT, "-X", "--jobs=1", "--format=JobID,State"])
    slurm.start_controller()


# ---- clusters of other kinds


def out_of_memory(recorder: Recorder) -> None:
    """Jobs over their memory, where limits are enforced: one whose script dies and one whose script goes on."""
    slurm = recorder.slurm
    greedy = "python3 -c 'kept = bytearray(200_000_000)'"
    dies = slurm.submit(f"#!/bin/bash\nexec {greedy}\n", "--mem=50", f"--output={SURVEY}/dies.out")
    goes_on = slurm.submit(f"#!/bin/bash\n{greedy}\nexit 0\n", "--mem=50", f"--output={SURVEY}/goes-on.out")
    slurm.wait_for_states(dies, "OUT_OF_MEMORY")
    slurm.wait_for_states(goes_on, "OUT_OF_MEMORY")
    recorder.record("squeue-out-of-memory", [*SQUEUE, f"--jobs={dies},{goes_on}", FORMAT])
    slurm.wait_until(lambda: _sacct(slurm, f"{dies},{goes_on}").count(".batch|OUT") == 2, 20, "sacct knows them")
    # The end of a short job may be stored before its beginning: for seconds its name is "allocation" (22.05.8).
    recorder.record("sacct-out-of-memory-at-first", [*SACCT, f"--jobs={dies},{goes_on}", SACCT_FORMAT])
    named = [*SACCT, "-X", f"--jobs={dies},{goes_on}", "--format=JobName"]
    slurm.wait_until(lambda: slurm.run(named).stdout == "sbatch\nsbatch\n", 60, "sacct knows their names")
    recorder.record("sacct-out-of-memory", [*SACCT, f"--jobs={dies},{goes_on}", SACCT_FORMAT])
    recorder.record("job-output-out-of-memory", ["cat", "dies.out"])


def without_accounting(recorder: Recorder) -> None:
    """sacct has nobody to ask."""
    slurm = recorder.slurm
    job = slurm.submit(NOTHING)
    slurm.wait_for_states(job, "COMPLETED")
    recorder.record("sacct-accounting-off", [*SACCT, "-X", f"--jobs={job}", SACCT_FORMAT])
    recorder.record("sacct-name-accounting-off", [*SACCT, "-X", "--name=crh-none", SACCT_FORMAT])
    recorder.record("scontrol-show-config-accounting-off", ["scontrol", "show", "config"])
    recorder.record("sbatch-clusters-accounting-off", ["sbatch", "--parsable", "--clusters=testbed"], stdin=NOTHING)


def _sacct(slurm: SlurmCluster, jobs: str, *options: str) -> str:
    return slurm.run([*SACCT, *options, f"--jobs={jobs}", "--format=JobID,State"]).stdout


def main(only: set[str]) -> None:
    """Record all cases and drop what is no case any more."""
    seen: set[str] = set()
    with neutral_machine():
        base = Path("/srv/slurm")
        with SlurmCluster(accounting=True, base=base) as slurm:
            recorder = Recorder(slurm, only, seen)
            for situation in (
                idle_cluster,
                refused_submissions,
                array_in_all_states,
                other_ways_to_submit,
                reasons_to_wait,
                ends_of_jobs,
                dead_node,
                purged_jobs,
                nobody_answers,
            ):
                situation(recorder)
                slurm.tidy()
        with SlurmCluster(accounting=False, base=base) as slurm:
            without_accounting(Recorder(slurm, only, seen))
        if can_limit_memory():
            with SlurmCluster(accounting=True, memory_limits=True, base=base) as slurm:
                out_of_memory(Recorder(slurm, only, seen))
        else:
            print("no cgroups of version 1 for memory: the cases of out-of-memory stay as they are", file=sys.stderr)
            seen |= {folder.name for folder in CASES.glob("*out-of-memory*")}
    drop_what_is_no_case(CASES, only, seen)


if __name__ == "__main__":
    main(set(sys.argv[1:]))
