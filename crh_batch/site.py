"""What a cluster offers, in words that every scheduler's answers are read into: partitions, their nodes and limits."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class NodeKind:
    """Nodes of a partition that are alike.

    Args:
        cores: cores of one of them (SGE: slots of the queue there), 0 if unknown.
        memory_mb: memory of one of them, MB of 2^20 bytes, 0 if unknown.
        count: how many there are.
        features: what jobs can ask for (Slurm: --constraint).
    """

    cores: int
    memory_mb: int
    count: int = 1
    features: tuple[str, ...] = ()


@dataclass(frozen=True)
class Partition:
    """A partition (SGE: a queue).

    Args:
        kinds: its nodes.
        max_minutes: the longest time limit; None for none, or unknown.
        default_minutes: what a job gets that asks for no time; None if unknown.
        is_default: where jobs go that name none.
        is_up: whether jobs may start in it.
        whole_nodes: whether a job gets its nodes alone.
    """

    name: str
    kinds: tuple[NodeKind, ...] = ()
    max_minutes: int | None = None
    default_minutes: int | None = None
    is_default: bool = False
    is_up: bool = True
    whole_nodes: bool = False

    @property
    def largest(self) -> NodeKind:
        """The node with the most cores, and the most memory among those."""
        return max(self.kinds, key=lambda kind: (kind.cores, kind.memory_mb), default=NodeKind(0, 0, 0))

    @property
    def nodes(self) -> int:
        """How many nodes it has."""
        return sum(kind.count for kind in self.kinds)


@dataclass(frozen=True)
class Capacity:
    """What jobs could have now, in the partitions that they may go to; cores as the scheduler counts them.

    Nodes that are down, drained, silent or reserved are not in it. Who waits already isn't looked at, so idle cores
    may be for somebody else.

    Args:
        idle: cores (SGE: slots) that no job has.
        total: cores in service, idle or not.
    """

    idle: int
    total: int


@dataclass(frozen=True)
class ParallelEnvironment:
    """SGE's way to ask for several slots.

    Args:
        on_one_node: whether all slots are on one node (allocation rule $pe_slots).
    """

    name: str
    rule: str
    on_one_node: bool


@dataclass(frozen=True)
class MemoryResource:
    """A resource of SGE that memory can be asked by.

    Args:
        is_counted: whether what is asked for is taken off what the node has (consumable).
        is_limit: whether a job is ended that takes more (h_vmem, h_rss and the like).
    """

    name: str
    is_counted: bool
    is_limit: bool


@dataclass(frozen=True)
class Site:
    """What a scheduler tells of itself; what it doesn't tell is empty, 0 or None.

    Args:
        scheduler: ``slurm`` or ``sge``.
        version: as the scheduler writes it.
        max_array_size: array tasks in one array.
        whole_nodes: whether every job gets its nodes alone.
        memory: the profile's key ``memory`` that fits how this site counts memory.
        accounting: whether the accounting (sacct, qacct) knows jobs.
        accounts: those that this user may charge (SGE: projects).
        qos: those that this user may ask for.
        kill_wait_s: between SIGTERM and SIGKILL at the time limit.
    """

    scheduler: str
    version: str = ""
    partitions: tuple[Partition, ...] = ()
    max_array_size: int = 0
    whole_nodes: bool = False
    memory: str = "mem"
    accounting: bool | None = None
    accounts: tuple[str, ...] = ()
    qos: tuple[str, ...] = ()
    kill_wait_s: int | None = None
    environments: tuple[ParallelEnvironment, ...] = ()
    memory_resources: tuple[MemoryResource, ...] = ()
