"""How many cores Slurm has idle, as text.

Sources: sinfo(1) of Slurm 22.05, and answers recorded from it (tests/recorded/sites/slurm-capacity*).
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass

from crh_batch.errors import Unreachable, UnreadableAnswer
from crh_batch.hosts.base import Completed
from crh_batch.schedulers.slurm_words import facts, last_words
from crh_batch.site import Capacity

# Node, partition, the partition's availability, its CPUs as allocated/idle/other/total, the node's state: a row for
# each node of each partition. By partition alone, nodes that are in two would count twice.
_FORMAT = "%N|%P|%a|%C|%T"
_CPUS = re.compile(r"([0-9]{1,10})/([0-9]{1,10})/[0-9]{1,10}/[0-9]{1,10}")
# Letters, then marks of what is going on with the node (sinfo(1), NODE STATE CODES).
_STATE = re.compile(r"([a-z]+)([^a-z0-9\s]*)")
_IN_SERVICE = frozenset({"idle", "mixed", "allocated", "completing", "planned"})
# Doesn't answer.
_SILENT = "*"
# Held for a job that waits; about to be restarted or switched off.
_NOT_FOR_US = frozenset("-$@^%!")
_WITHOUT = "Say with --share what part each cluster gets; then nobody asks."


@dataclass(frozen=True)
class _Row:
    node: str
    partition: str
    is_default: bool
    is_up: bool
    allocated: int
    idle: int
    state: str
    marks: str


def argv(partitions: Sequence[str]) -> list[str]:
    """Return the question for the nodes of some partitions; of all that one may see if none is named."""
    question = ["sinfo", "--noheader", "--Node", f"--format={_FORMAT}"]
    return [*question, f"--partition={','.join(partitions)}"] if partitions else question


def parse_capacity(done: Completed, partitions: Collection[str]) -> Capacity:
    """Read the answer; each node counts once.

    Args:
        partitions: those that jobs may go to; if there are none, the default one counts, else all.

    Raises:
        Unreachable: sinfo failed.
        UnreadableAnswer: it tells of no node.
    """
    if done.exit_status != 0:
        raise Unreachable(f"sinfo failed: {last_words(done) or 'no answer in time'}", _WITHOUT, *facts(done))
    rows = list(_rows(done.stdout))
    if not rows:
        raise UnreadableAnswer(f"sinfo tells of no node: {done.stdout.strip()[:200]!r}", _WITHOUT, *facts(done))
    default = {row.partition for row in rows if row.is_default}
    wanted = set(partitions) or default or {row.partition for row in rows}
    nodes = {row.node: row for row in rows if row.partition in wanted and row.is_up and _in_service(row)}
    idle = sum(row.idle for row in nodes.values() if row.state != "planned" and not _NOT_FOR_US & set(row.marks))
    return Capacity(idle, sum(row.allocated + row.idle for row in nodes.values()))


def _rows(text: str) -> Iterator[_Row]:
    for line in text.splitlines():
        cells = line.strip().split("|")
        if len(cells) != 5:
            continue
        node, partition, available, cpus, word = cells
        counts, state = _CPUS.fullmatch(cpus), _STATE.fullmatch(word)
        if node and counts and state:
            name = partition.removesuffix("*")
            yield _Row(
                node,
                name,
                name != partition,
                available == "up",
                int(counts.group(1)),
                int(counts.group(2)),
                state.group(1),
                state.group(2),
            )


def _in_service(row: _Row) -> bool:
    return row.state in _IN_SERVICE and _SILENT not in row.marks
