"""What SGE tells of a site: qconf and qhost, as text.

Sources: the manuals of SGE 8.1.9 (queue_conf, sge_conf, sge_pe, complex), and what it answered.
"""

from __future__ import annotations

import re
import xml.etree.ElementTree as ElementTree
from collections.abc import Sequence

from crh_batch.errors import ProfileError, Unreachable
from crh_batch.hosts.base import Completed
from crh_batch.profile import Profile
from crh_batch.schedulers.base import keyed_lines, scaled, whole_number
from crh_batch.site import MemoryResource, NodeKind, ParallelEnvironment, Partition, Site

CONFIG_ARGV = ("qconf", "-sconf")
QUEUES_ARGV = ("qconf", "-sq", "*")
HOSTS_ARGV = ("qhost", "-q", "-xml")
_FIRST = (
    CONFIG_ARGV,
    QUEUES_ARGV,
    HOSTS_ARGV,
    ("qconf", "-sc"),
    ("qconf", "-spl"),
    ("qconf", "-sprjl"),
    ("qconf", "-help"),
)
# complex(5): a job that takes more than these is ended; of the others SGE only finds a node that has so much.
_LIMITS = ("h_vmem", "h_rss", "h_data", "h_stack", "s_vmem", "s_rss", "s_data", "s_stack")
_RESOURCES = ("h_vmem", "h_rss", "s_vmem", "mem_free", "virtual_free", "mem_total", "h_data")


def questions(answers: Sequence[Completed], user: str) -> list[list[str]]:
    """Return what to ask next about the site, given the answers so far; nothing when all is known."""
    if not answers:
        return [list(argv) for argv in _FIRST]
    if len(answers) == len(_FIRST):
        return [["qconf", "-sp", name] for name in _names(answers[4])]
    return []


def parse_site(answers: Sequence[Completed], user: str) -> Site:
    """Read the answers to ``questions``, in their order.

    Raises:
        Unreachable: qconf failed.
    """
    config_answer, queues, hosts, complexes, _, projects, help_text, *environments = answers
    config = parse_config(config_answer)
    return Site(
        scheduler="sge",
        version=next(iter(help_text.stdout.splitlines()), "").strip(),
        partitions=parse_queues(queues, hosts),
        max_array_size=parse_max_array_size(config),
        accounts=tuple(_names(projects)),
        environments=tuple(filter(None, (parse_environment(one) for one in environments))),
        memory_resources=parse_memory_resources(complexes),
    )


def parse_config(done: Completed) -> dict[str, str]:
    """Read ``qconf -sconf``.

    Raises:
        Unreachable: it failed.
    """
    if done.exit_status != 0:
        lines = [line.strip() for line in (done.stderr or done.stdout).splitlines() if line.strip()]
        raise Unreachable(
            f"qconf failed: {(lines or ['no answer in time'])[-1]}",
            "Is this a submit host, and is sge_qmaster up? Without a cluster: --engine local.",
            done.argv,
            -1 if done.exit_status is None else done.exit_status,
            done.stdout,
            done.stderr,
        )
    return _keys(done.stdout)


def parse_max_array_size(config: dict[str, str]) -> int:
    """Return how many tasks an array may have (max_aj_tasks; 0 means no limit, for which a large one stands)."""
    return whole_number(config.get("max_aj_tasks", "")) or 75000


def chosen_queues(partitions: Sequence[Partition], profile: Profile) -> tuple[Partition, ...]:
    """Return the queues that the profile names; all batch queues where it names none, for SGE looks through all.

    Raises:
        ProfileError: there is no such queue.
    """
    known = {one.name for one in partitions}
    for name in profile.partitions:
        # A queue of one host or host group (work@n1) is the scheduler's to judge.
        if known and "@" not in name and name not in known:
            raise ProfileError(f"partition {name}: SGE knows no queue of this name", "See qstat -g c.", "", "partition")
    return tuple(one for one in partitions if not profile.partitions or one.name in profile.partitions)


def parse_queues(queues: Completed, hosts: Completed) -> tuple[Partition, ...]:
    """Read ``qconf -sq "*"`` and ``qhost -q -xml``; nothing where qconf failed."""
    if queues.exit_status != 0:
        return ()
    kinds = _kinds(hosts)
    found = []
    for text in re.split(r"^(?=qname\s)", queues.stdout, flags=re.MULTILINE):
        keys = _keys(text)
        if "qname" not in keys or "BATCH" not in keys.get("qtype", "BATCH"):
            continue
        name = keys["qname"]
        limit = parse_minutes(keys.get("h_rt", ""))
        found.append(
            Partition(name, kinds.get(name, ()) or _slots(keys), limit, limit, is_up=keys.get("initial_state") != "off")
        )
    return tuple(found)


def parse_minutes(text: str) -> int | None:
    """Return the minutes of a queue's limit (``HOURS:MINUTES:SECONDS`` or seconds); None for none.

    Values for single hosts, ``INFINITY,[n1=1:0:0]``, are passed over.
    """
    first = text.split(",")[0].strip()
    match = re.fullmatch(r"([0-9]{1,10}):([0-9]{1,10}):([0-9]{1,10})", first)
    if match:
        return int(match.group(1)) * 60 + int(match.group(2))
    seconds = whole_number(first)
    return None if seconds is None else seconds // 60


def _slots(keys: dict[str, str]) -> tuple[NodeKind, ...]:
    slots = whole_number(keys.get("slots", "").split(",")[0])
    return () if slots is None else (NodeKind(slots, 0, 0),)


def _kinds(hosts: Completed) -> dict[str, tuple[NodeKind, ...]]:
    """Return for each queue the kinds of its nodes; nothing where qhost failed."""
    if hosts.exit_status != 0:
        return {}
    try:
        root = ElementTree.fromstring(hosts.stdout)
    except (ElementTree.ParseError, ValueError):
        return {}
    counts: dict[str, dict[tuple[int, int], int]] = {}
    for host in root.iter("host"):
        values = {value.get("name"): value.text or "" for value in host.iter("hostvalue")}
        memory_mb = parse_megabytes(values.get("mem_total", ""))
        for queue in host.iter("queue"):
            facts = {value.get("name"): value.text or "" for value in queue.iter("queuevalue")}
            slots = whole_number(facts.get("slots", ""))
            if slots is not None:
                kinds = counts.setdefault(queue.get("name", ""), {})
                kinds[slots, memory_mb] = kinds.get((slots, memory_mb), 0) + 1
    return {
        name: tuple(NodeKind(cores, memory, count) for (cores, memory), count in kinds.items())
        for name, kinds in counts.items()
    }


def parse_megabytes(text: str) -> int:
    """Return the MB of 2^20 bytes in ``23.5G``; 0 if it is unknown (``-``)."""
    match = re.fullmatch(r"([\d.]+)([KMGT]?)", text.strip())
    if match is None:
        return 0
    power = " KMGT".index(match.group(2) or " ")
    return scaled(match.group(1), 1024.0 ** (power - 2)) or 0


def parse_environment(done: Completed) -> ParallelEnvironment | None:
    """Read ``qconf -sp NAME``; None if it failed."""
    keys = _keys(done.stdout)
    if done.exit_status != 0 or "pe_name" not in keys:
        return None
    rule = keys.get("allocation_rule", "")
    return ParallelEnvironment(keys["pe_name"], rule, rule == "$pe_slots")


def parse_memory_resources(done: Completed) -> tuple[MemoryResource, ...]:
    """Read ``qconf -sc``: by what memory can be asked for, what is counted first."""
    found = []
    for line in done.stdout.splitlines() if done.exit_status == 0 else ():
        cells = line.split()
        # name shortcut type relop requestable consumable default urgency
        if len(cells) >= 7 and cells[2] == "MEMORY" and cells[4] in ("YES", "FORCED"):
            is_counted = cells[5] in ("YES", "JOB")
            if is_counted or cells[0] in _RESOURCES:
                found.append(MemoryResource(cells[0], is_counted, cells[0] in _LIMITS))
    return tuple(sorted(found, key=lambda one: not one.is_counted))


def _names(done: Completed) -> list[str]:
    return [line.strip() for line in done.stdout.splitlines() if line.strip()] if done.exit_status == 0 else []


def _keys(text: str) -> dict[str, str]:
    return keyed_lines(re.sub(r"\\\n\s*", " ", text))
