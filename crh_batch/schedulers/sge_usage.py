"""What jobs used, from qacct.

Sources: qacct(1) and accounting(5) of Son of Grid Engine 8.1.9, and what its qacct prints; older and other ones print
numbers without units, or times as ``MM/DD/YYYY HH:MM:SS.mmm``.
"""

from __future__ import annotations

import re
import time
from collections.abc import Iterator, Sequence

from crh_batch.hosts.base import Completed
from crh_batch.schedulers.base import JOB_NAME_PREFIX, JobUsage, is_number, scaled
from crh_batch.schedulers.sge import Sge

_TIMES = ("%a %b %d %H:%M:%S %Y", "%m/%d/%Y %H:%M:%S")
# The resources that sites ask memory by, where the profile doesn't say which.
_MEMORY_RESOURCES = ("h_vmem", "s_vmem", "mem_free", "virtual_free", "h_rss", "tmem")


class SgeUsage:
    """qacct as a UsageSource."""

    program = "qacct"

    def argvs(self, tokens: Sequence[str], since: float) -> list[list[str]]:
        """See UsageSource: the question about which jobs have ended, for its answer tells all of them."""
        return Sge().accounting_argvs(tokens, since)

    def parse(self, done: Completed, tokens: Sequence[str], memory_resource: str = "") -> list[JobUsage] | None:
        """See UsageSource. A job that qacct doesn't know (yet) is no error: it has used nothing that is known."""
        if done.exit_status != 0:
            # Where accounting is off there is no file; so there is none before the first job has ended.
            return [] if "not found" in done.stderr + done.stdout else None
        known = set(tokens)
        found = [_usage(record, memory_resource) for record in _records(done.stdout)]
        return [one for one in found if one.token in known]


def _records(text: str) -> Iterator[dict[str, str]]:
    """Yield the records; each begins with a line of ``=``. A key that comes twice keeps its first value."""
    record: dict[str, str] = {}
    for line in text.splitlines():
        if line.startswith("=="):
            if record:
                yield record
            record = {}
            continue
        key, _, value = line.partition(" ")
        if key:
            record.setdefault(key, value.strip())
    if record:
        yield record


def _usage(record: dict[str, str], memory_resource: str) -> JobUsage:
    started, ended = parse_time(record.get("start_time", "")), parse_time(record.get("end_time", ""))
    cores = int(parse_number(record.get("slots", "")) or 1)
    task = record.get("taskid", "")
    # ru_wallclock is 0 where the job failed.
    elapsed_s = ended - started if started is not None and ended is not None else 0.0
    failed = record.get("failed", "0").partition(" ")[0]
    return JobUsage(
        job_id=record.get("jobnumber", ""),
        task=task if is_number(task) else "",
        token=record.get("jobname", "").removeprefix(JOB_NAME_PREFIX),
        submitted=parse_time(record.get("qsub_time", "")),
        started=started,
        elapsed_s=max(elapsed_s, parse_number(record.get("ru_wallclock", "")) or 0.0),
        cores=cores,
        cpu_s=parse_number(record.get("cpu", "")) or 0.0,
        requested_memory_bytes=_requested(record.get("category", ""), memory_resource, cores),
        # Virtual memory, which is what h_vmem limits; ru_maxrss comes in a unit that differs between versions.
        peak_bytes=parse_bytes(record.get("maxvmem", "")),
        state=f"failed {failed}, exit status {record.get('exit_status', '').partition(' ')[0]}",
        host=record.get("hostname", ""),
    )


def parse_time(text: str) -> float | None:
    """Return seconds since 1970 of a local time; None for ``-/-`` and the like."""
    text = re.sub(r"\.\d+\Z", "", text.strip())
    for form in _TIMES:
        try:
            return time.mktime(time.strptime(text, form))
        except (ValueError, OverflowError):
            continue
    return None


def parse_number(text: str) -> float | None:
    """Return the number in ``57.623s`` or ``57.623``; None where there is none."""
    match = re.match(r"\s*([0-9]{1,18}(?:\.[0-9]{1,18})?)", text)
    return float(match.group(1)) if match else None


# Upper case is of 1024 in qacct's answers; in requests (sge_types(1)) lower case is of 1000.
_UNITS = {"": 1, "K": 1 << 10, "M": 1 << 20, "G": 1 << 30, "T": 1 << 40, "k": 10**3, "m": 10**6, "g": 10**9}


def parse_bytes(text: str) -> int | None:
    """Return the bytes in ``1.200GB`` (8.1.9), ``1.200G`` (6.2) or ``0.000B``; None where nothing is said."""
    match = re.fullmatch(r"(\d+(?:\.\d+)?)([KMGTkmg]?)B?", text.strip())
    return None if match is None else scaled(match.group(1), _UNITS[match.group(2)])


def _requested(category: str, resource: str, cores: int) -> int | None:
    """Return the memory asked for, of all slots; ``category`` holds the job's requests: ``-l h_vmem=1G,h_rt=60``."""
    asked = dict(one.split("=", 1) for one in category.replace(",", " ").split() if "=" in one)
    for name in (resource,) if resource else _MEMORY_RESOURCES:
        value = parse_bytes(asked.get(name, ""))
        if value is not None:
            return value * cores
    return None
