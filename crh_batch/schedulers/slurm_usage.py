"""What jobs used, from sacct.

Sources: sacct(1) of Slurm 22.05, and answers recorded from it (tests/recorded/slurm).
"""

from __future__ import annotations

import re
import time
from collections.abc import Sequence
from dataclasses import replace

from crh_batch.hosts.base import Completed
from crh_batch.schedulers.base import JOB_NAME_PREFIX, JobUsage, scaled, whole_number

_FIELDS = (
    "JobID",
    "JobName",
    "State",
    "Submit",
    "Eligible",
    "Start",
    "ElapsedRaw",
    "AllocCPUS",
    "TotalCPU",
    "ReqMem",
    "MaxRSS",
    "NodeList",
    "AllocNodes",
)
# All names stand on one command line.
_NAMES_A_QUERY = 500
_N = "[0-9]{1,10}"


class SlurmUsage:
    """sacct as a UsageSource."""

    program = "sacct"

    def argvs(self, tokens: Sequence[str], since: float) -> list[list[str]]:
        """See UsageSource. With --duplicates, for a requeued job has a row for each of its lives."""
        start = time.strftime("%Y-%m-%dT%H:%M:%S", time.localtime(since))
        names = [JOB_NAME_PREFIX + token for token in tokens]
        return [
            [
                "sacct",
                "--noheader",
                "--parsable2",
                "--duplicates",
                f"--name={','.join(names[first : first + _NAMES_A_QUERY])}",
                f"--starttime={start}",
                f"--format={','.join(_FIELDS)}",
            ]
            for first in range(0, len(names), _NAMES_A_QUERY)
        ]

    def parse(self, done: Completed, tokens: Sequence[str], memory_resource: str = "") -> list[JobUsage] | None:
        """See UsageSource. Rows of tasks that wait together (``8_[4-9]``) have used nothing and are passed over."""
        if done.exit_status != 0:
            return None
        found: list[JobUsage] = []
        for line in done.stdout.splitlines():
            cells = line.split("|")
            if len(cells) != len(_FIELDS):
                continue
            row = dict(zip(_FIELDS, cells))
            identifier, _, step = row["JobID"].partition(".")
            if step:
                _take_in_step(found, identifier, row)
            elif re.fullmatch(r"\d+(_\d+)?", identifier):
                found.append(_job(identifier, row))
        known = set(tokens)
        return [one for one in found if one.token in known]


def _job(identifier: str, row: dict[str, str]) -> JobUsage:
    job_id, _, task = identifier.partition("_")
    cores = _whole(row["AllocCPUS"])
    words = row["State"].split()
    return JobUsage(
        job_id=job_id,
        task=task,
        token=row["JobName"].removeprefix(JOB_NAME_PREFIX),
        # From when on it could start: one that was submitted to begin after another job has not waited in the queue.
        submitted=parse_time(row["Eligible"]) or parse_time(row["Submit"]),
        started=parse_time(row["Start"]),
        elapsed_s=float(_whole(row["ElapsedRaw"])),
        cores=cores,
        cpu_s=parse_duration(row["TotalCPU"]),
        requested_memory_bytes=parse_requested(row["ReqMem"], cores, max(1, _whole(row["AllocNodes"]))),
        peak_bytes=parse_bytes(row["MaxRSS"]),
        state=words[0].rstrip("+") if words else "",
        host=row["NodeList"],
    )


def _take_in_step(found: list[JobUsage], identifier: str, row: dict[str, str]) -> None:
    """Add a step's peak memory to its job, which stands before it: only steps have one (the pilot is ``.batch``)."""
    peak = parse_bytes(row["MaxRSS"])
    if not found or peak is None:
        return
    last = found[-1]
    if identifier == (f"{last.job_id}_{last.task}" if last.task else last.job_id):
        found[-1] = replace(last, peak_bytes=max(last.peak_bytes or 0, peak))


def parse_time(text: str) -> float | None:
    """Return seconds since 1970 of a local time; None for ``Unknown``, ``None`` and the like."""
    try:
        return time.mktime(time.strptime(text, "%Y-%m-%dT%H:%M:%S"))
    except (ValueError, OverflowError):
        return None


def parse_duration(text: str) -> float:
    """Return the seconds in ``[DAYS-][HOURS:]MINUTES:SECONDS[.fraction]``; 0 for what is not one."""
    match = re.fullmatch(rf"(?:({_N})-)?(?:({_N}):)?({_N}):({_N}(?:\.{_N})?)", text.strip())
    if match is None:
        return 0.0
    days, hours, minutes, seconds = match.groups()
    return ((int(days or 0) * 24 + int(hours or 0)) * 60 + int(minutes)) * 60 + float(seconds)


_UNITS = {"": 1, "K": 1 << 10, "M": 1 << 20, "G": 1 << 30, "T": 1 << 40, "P": 1 << 50}


def parse_bytes(text: str) -> int | None:
    """Return the bytes in ``69848K`` or ``1.50G``; None where nothing is said (also ``16?``, seen after a requeue)."""
    match = re.fullmatch(r"(\d+(?:\.\d+)?)([KMGTP]?)", text.strip())
    return None if match is None else scaled(match.group(1), _UNITS[match.group(2)])


def parse_requested(text: str, cores: int, nodes: int) -> int | None:
    """Return the whole job's memory request; before Slurm 21.08 ``500Mn`` is a node's and ``500Mc`` a core's."""
    text = text.strip()
    value = parse_bytes(text[:-1] if text[-1:] in ("c", "n") else text)
    if value is None:
        return None
    return value * (cores if text.endswith("c") else nodes if text.endswith("n") else 1)


def _whole(text: str) -> int:
    return whole_number(text) or 0
