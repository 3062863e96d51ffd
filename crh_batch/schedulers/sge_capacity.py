"""How many slots SGE has idle, as text.

Sources: qhost(1), qstat(1) and queue_conf(5) of Son of Grid Engine 8.1.9, and answers recorded from it
(tests/recorded/sites/sge-hosts, sge-capacity*).
"""

from __future__ import annotations

import xml.etree.ElementTree as ElementTree
from collections.abc import Sequence
from dataclasses import dataclass

from crh_batch.errors import Unreachable, UnreadableAnswer
from crh_batch.hosts.base import Completed
from crh_batch.schedulers.base import whole_number
from crh_batch.schedulers.sge_words import facts, last_words, parse_xml
from crh_batch.site import Capacity

# Over a threshold of its load (a) or of what it suspends for (A): it takes no new job, and goes on later. All other
# letters (u unknown, d and D disabled, E error, s, S, C and P suspended, c and o misconfigured) mean: out of service.
_BUSY = frozenset("aA")
_WITHOUT = "Say with --share what part each cluster gets; then nobody asks."


@dataclass(frozen=True)
class _Queue:
    """A queue on one host."""

    name: str
    slots: int
    taken: int
    is_batch: bool
    state: str


def parse_capacity(done: Completed, partitions: Sequence[str]) -> Capacity:
    """Read the answer to ``qhost -q -xml``.

    Several queues often offer the same cores of a host. So a host has no more than its processors, or the slots of its
    largest queue where those are more, and what jobs of any queue take is taken from all.

    Args:
        partitions: queues (``work``) and queues of hosts (``work@n1``) that jobs may go to; all batch queues if there
            are none. A queue of a group of hosts (``work@@group``) counts on all hosts.

    Raises:
        Unreachable: qhost failed.
        UnreadableAnswer: it tells of no queue.
    """
    if done.exit_status != 0:
        raise Unreachable(f"qhost failed: {last_words(done) or 'no answer in time'}", _WITHOUT, *facts(done))
    idle = total = seen = 0
    for host in parse_xml(done).iter("host"):
        queues = _queues(host)
        seen += len(queues)
        name = host.get("name", "")
        ours = [one for one in queues if _is_wanted(one, name, partitions) and not set(one.state) - _BUSY]
        most = max([_processors(host), *(one.slots for one in queues)])
        here = min(sum(one.slots for one in ours), most)
        free = min(
            sum(max(one.slots - one.taken, 0) for one in ours if not one.state),
            max(most - sum(one.taken for one in queues), 0),
        )
        total += here
        idle += min(free, here)
    if not seen:
        raise UnreadableAnswer("qhost tells of no queue", _WITHOUT, *facts(done))
    return Capacity(idle, total)


def _queues(host: ElementTree.Element) -> list[_Queue]:
    found = []
    for queue in host.iter("queue"):
        values = {value.get("name"): value.text or "" for value in queue.iter("queuevalue")}
        slots, used = whole_number(values.get("slots", "")), whole_number(values.get("slots_used", ""))
        if slots is None or used is None:
            continue
        # Slots of advance reservations are nobody else's.
        taken = used + (whole_number(values.get("slots_resv", "")) or 0)
        is_batch = "B" in values.get("qtype_string", "B")
        found.append(_Queue(queue.get("name", ""), slots, taken, is_batch, values.get("state_string", "").strip()))
    return found


def _is_wanted(queue: _Queue, host: str, partitions: Sequence[str]) -> bool:
    if not partitions:
        return queue.is_batch
    for wanted in partitions:
        name, _, where = wanted.partition("@")
        # The one list may have a domain where the other has none.
        if name == queue.name and (not where or where.startswith("@") or where.split(".")[0] == host.split(".")[0]):
            return True
    return False


def _processors(host: ElementTree.Element) -> int:
    values = {value.get("name"): value.text or "" for value in host.iter("hostvalue")}
    return whole_number(values.get("num_proc", "")) or 0
