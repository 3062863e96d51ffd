"""What a trial of a profile found, in words: what is fine, what is worth knowing, what to change."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from crh_batch.engines.trial import TrialJob, TrialReport
from crh_batch.ledger.durable import SYMLINK
from crh_batch.report.filesystem_words import findings_alone, findings_together
from crh_batch.report.finding import CHANGE, FINE, NOTE, Finding

# Below this a node's scratch directory is soon full.
_LITTLE_BYTES = 1 << 30


def findings_of(report: TrialReport) -> list[Finding]:
    """Judge a trial."""
    found = [Finding(CHANGE, "programs", error.message, error.next_step) for error in report.missing]
    if report.pending:
        return [*found, _pending(report)]
    found += _nodes(report)
    for job in report.jobs:
        if job.result is None:
            found.append(_unfinished(job))
    results = [job.result for job in report.jobs if job.result is not None]
    found += _together(results)
    return [*found, *_by_node(results)]


def _pending(report: TrialReport) -> Finding:
    return Finding(
        CHANGE,
        "queue",
        f"the job did not begin in time; it waited as {report.pending} and was cancelled",
        "Try again later or with a longer --timeout; if it can never begin, change partition, account or qos.",
    )


def _unfinished(job: TrialJob) -> Finding:
    said = f"; its output ends with:\n{job.output}" if job.output else "; it printed nothing"
    where = f" on {job.here['node']}" if job.here else ""
    return Finding(
        CHANGE,
        "job",
        f"job {job.submission.job_id}{where} ended ({job.state or 'unknown to the queue'}) before it had looked at "
        f"everything{said}",
        "Mend what the output says: set-up lines, extra directives, the job script's copy, or where the survey lies.",
    )


def _nodes(report: TrialReport) -> Iterator[Finding]:
    nodes = [str(job.here["node"]) for job in report.jobs if job.here]
    if len(set(nodes)) > 1:
        yield Finding(FINE, "nodes", f"two jobs, on {' and '.join(nodes)}")
    elif len(nodes) > 1:
        yield Finding(NOTE, "nodes", f"both jobs ran on {nodes[0]}: what two nodes see of each other was not tried")
    elif nodes:
        text = f"one job alone, on {nodes[0]}: what two nodes see of each other was not tried; {report.alone}"
        yield Finding(NOTE, "nodes", text)


def _together(results: list[dict[str, Any]]) -> Iterator[Finding]:
    """Judge what the jobs found of the shared filesystem, each by itself and both at once."""
    if not results:
        return
    alone = results[0]["filesystem"]
    links = str(alone.get("kind", {}).get("links") or SYMLINK)
    peers = [result["peer"] for result in results if result.get("peer")]
    if len(peers) > 1 or any(peer["error"] for peer in peers):
        yield from findings_together(peers, links, "jobs")
    elif not peers:
        yield Finding(FINE, "filesystem", f"{results[0]['node']} sees the survey's directory and writes to it")
    if alone["error"]:
        yield Finding(
            CHANGE, "filesystem", f"a job can't write to it: {alone['error']}", "Put the survey on another one."
        )
    else:
        yield from findings_alone(alone)


def _by_node(results: list[dict[str, Any]]) -> Iterator[Finding]:
    """Return what was found on each node; what all nodes have alike once, and without their names."""
    each = [(str(result["node"]), list(_one_node(result))) for result in results]
    alike = set.intersection(*(set(findings) for _, findings in each)) if each else set()
    for number, (node, findings) in enumerate(each):
        for one in findings:
            if one not in alike:
                yield replace(one, text=f"{node}: {one.text}")
            elif number == 0:
                yield one


def _one_node(result: dict[str, Any]) -> Iterator[Finding]:
    python = result["python"]
    yield Finding(FINE, "python", f"Python {python['version']}")
    for program in result["programs"]:
        yield _program(program)
    yield _scratch(result["scratch"])
    yield _cores(result["cores"])
    yield _memory(result["memory"])
    yield _time(result)


def _program(program: dict[str, Any]) -> Finding:
    name = str(program["name"])
    if not program["error"]:
        threads = program["omp_threads"]
        return Finding(FINE, name, "starts" + (f", with {threads} threads" if threads else ""))
    advice = "Name another one in the profile, or mend the container's words."
    if program["missing"]:
        advice = (
            f"The node lacks {', '.join(program['missing'])}: load a module in setup (module load gcc), have the site "
            "install libgfortran5 and libgomp1, or use a container."
        )
    return Finding(CHANGE, name, f"does not start: {program['error']}", advice)


def _scratch(scratch: dict[str, Any]) -> Finding:
    advice = 'Set scratch in the profile to a directory on the nodes\' own disks, such as scratch = "/local/$USER".'
    if scratch["error"]:
        return Finding(CHANGE, "scratch", f"{scratch['path']}: can't be used: {scratch['error']}", advice)
    room = f"{scratch['free_bytes'] / (1 << 30):.1f} GB free"
    kind = scratch["filesystem"] or "unknown filesystem"
    text = f"{scratch['path']}: {room}, {kind}, {scratch['write_mb_s']:.0f} MB/s"
    if scratch["free_bytes"] < _LITTLE_BYTES:
        return Finding(CHANGE, "scratch", text, f"There is little room. {advice}")
    if scratch["is_network"]:
        return Finding(NOTE, "scratch", text, f"That is a network filesystem. {advice}")
    if kind in ("tmpfs", "ramfs"):
        return Finding(NOTE, "scratch", text, "It lies in memory: what is in there counts as the job's memory.")
    return Finding(FINE, "scratch", text)


def _cores(cores: dict[str, Any]) -> Finding:
    asked, usable = int(cores["asked"]), int(cores["usable"])
    if usable < asked:
        return Finding(
            CHANGE,
            "cores",
            f"{asked} were asked for, and the job may use {usable}",
            "Look at extra_directives (tasks or cores a node), or at the site's rules; on SGE at parallel_environment.",
        )
    if usable > asked:
        return Finding(
            NOTE,
            "cores",
            f"{asked} were asked for, and the job may use {usable}: the site doesn't bind jobs to their cores",
        )
    return Finding(FINE, "cores", f"{asked} were asked for and given")


def _memory(memory: dict[str, Any]) -> Finding:
    limits = {str(name): int(value) for name, value in memory["limits"].items()}
    asked_mb = int(memory["asked_mb"])
    if not limits:
        return Finding(
            NOTE, "memory", "no limit is set: nothing ends a job that takes more than it asked for but a full node"
        )
    name, least = min(limits.items(), key=lambda one: one[1])
    text = f"{name} allows {least >> 20} MB, {asked_mb} MB were asked for"
    if asked_mb and least < asked_mb << 20:
        return Finding(CHANGE, "memory", text, "Look at memory and memory_resource in the profile.")
    return Finding(FINE, "memory", text)


def _time(result: dict[str, Any]) -> Finding:
    left_s, warn_s = result["time_left_s"], float(result["warn_s"])
    signals = [(str(name), float(seconds)) for name, seconds in result["signals"]]
    if left_s is None:
        return Finding(
            CHANGE,
            "time",
            "the job does not know when it will be ended",
            "Set time_minutes; in a copy of the job script keep the words after --time-left.",
        )
    if not signals:
        return Finding(
            CHANGE,
            "signals",
            f"no warning came within the first {min(75, int(left_s)):.0f} s, though {warn_s:.0f} s before the end were "
            "asked for",
            "Pilots then go by the time that is left. In a copy of the job script keep exec and --signal (SGE: s_rt).",
        )
    name, seconds = signals[0]
    before = f"{left_s - seconds:.0f} s before the limit ({warn_s:.0f} were asked for)"
    if name == "SIGTERM":
        return Finding(NOTE, "signals", f"the first signal was SIGTERM, {before}: the job was cancelled or preempted")
    return Finding(FINE, "signals", f"{name} came {before}")
