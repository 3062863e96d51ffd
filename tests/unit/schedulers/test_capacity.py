"""What real schedulers told of idle cores (tests/recorded/sites), and what it must be read as: counted by hand."""

from __future__ import annotations

import pytest

from crh_batch.errors import SchedulerError, Unreachable, UnreadableAnswer
from crh_batch.hosts.base import Completed
from crh_batch.profile import Profile
from crh_batch.schedulers.base import Scheduler
from crh_batch.schedulers.known import SCHEDULERS
from crh_batch.site import Capacity
from faults.answering import LIES, Lie
from unit.schedulers.test_slurm_site import recorded, said

SLURM, SGE = SCHEDULERS["slurm"], SCHEDULERS["sge"]


def read(scheduler: Scheduler, answer: Completed, partition: str = "") -> Capacity:
    return scheduler.parse_capacity([answer], Profile(partition=partition))


def sinfo(*rows: str) -> Completed:
    return said("".join(f"{row}\n" for row in rows))


def qhost(*hosts: str) -> Completed:
    return said(f"<?xml version='1.0'?>\n<qhost>{''.join(hosts)}</qhost>\n")


def host(name: str, processors: str, *queues: str) -> str:
    return f"<host name='{name}'><hostvalue name='num_proc'>{processors}</hostvalue>{''.join(queues)}</host>"


def queue(name: str, slots: int, used: int, state: str = "", kind: str = "BIP", reserved: int = 0) -> str:
    values = {"qtype_string": kind, "slots_used": used, "slots": slots, "slots_resv": reserved, "state_string": state}
    cells = "".join(f"<queuevalue qname='{name}' name='{key}'>{value}</queuevalue>" for key, value in values.items())
    return f"<queue name='{name}'>{cells}</queue>"


@pytest.mark.parametrize(
    ("scheduler", "partition", "case"),
    [
        (SLURM, "", "slurm-capacity-busy"),
        (SLURM, "short,whole,closed", "slurm-capacity-named"),
        (SGE, "work", "sge-capacity-busy"),
    ],
)
def test_capacity_argvs_then_they_are_what_was_recorded(scheduler: Scheduler, partition: str, case: str) -> None:
    assert [tuple(argv) for argv in scheduler.capacity_argvs(Profile(partition=partition))] == [recorded(case).argv]


@pytest.mark.parametrize(
    ("case", "partition", "idle", "total"),
    [
        ("idle", "", 12, 12),
        ("busy", "", 1 + 3 + 4, 12),
        # Each node is in two or three of them, and the one of them that is down has no node alone.
        ("named", "short,whole,closed", 1 + 3 + 4, 12),
        ("busy", "whole", 1, 4),
        ("busy", "closed", 0, 0),
        # n2 drains: even what a job has there is no longer in service.
        ("draining", "", 1 + 4, 8),
        ("silent", "", 1, 4),
    ],
)
def test_slurm_when_recorded_then_each_node_in_service_counts_once(
    case: str, partition: str, idle: int, total: int
) -> None:
    assert read(SLURM, recorded(f"slurm-capacity-{case}"), partition) == Capacity(idle, total)


@pytest.mark.parametrize("case", ["controller-down", "unknown"])
def test_slurm_when_it_tells_nothing_then_the_error_says_what_to_do(case: str) -> None:
    with pytest.raises(SchedulerError) as caught:
        read(SLURM, recorded(f"slurm-capacity-{case}"))
    assert isinstance(caught.value, UnreadableAnswer if case == "unknown" else Unreachable)
    assert "--share" in caught.value.next_step


@pytest.mark.parametrize(
    ("state", "idle", "total"),
    [
        ("mixed", 3, 4),
        ("completing", 3, 4),
        # Switched off to save power, and back when a job comes.
        ("mixed~", 3, 4),
        ("mixed#", 3, 4),
        # For a job that waits.
        ("mixed-", 0, 4),
        ("planned", 0, 4),
        # About to be restarted.
        ("mixed@", 0, 4),
        ("mixed*", 0, 0),
        ("down", 0, 0),
        ("down*", 0, 0),
        ("drained", 0, 0),
        ("reserved", 0, 0),
        ("maint", 0, 0),
        ("never-seen", 0, 0),
    ],
)
def test_slurm_when_a_node_is_in_some_state_then_it_counts_or_not(state: str, idle: int, total: int) -> None:
    away = "n0|work*|up|0/0/4/4|down"
    assert read(SLURM, sinfo(away, f"n1|work*|up|1/3/0/4|{state}")) == Capacity(idle, total)


def test_slurm_when_none_is_named_then_the_default_partition_counts() -> None:
    assert read(SLURM, sinfo("n1|work*|up|1/3/0/4|mixed", "n2|gpu|up|0/64/0/64|idle")) == Capacity(3, 4)


def test_slurm_when_no_partition_is_the_default_then_all_count() -> None:
    rows = ("n1|a|up|1/3/0/4|mixed", "n1|b|up|1/3/0/4|mixed", "n2|b|up|0/4/0/4|idle")
    assert read(SLURM, sinfo(*rows)) == Capacity(7, 8)


@pytest.mark.parametrize(
    ("case", "partition", "idle", "total"),
    [
        ("hosts", "", 12, 12),
        # Two queues offer the same four cores of each host; three of n1's have a job.
        ("capacity-busy", "", 1 + 4 + 4, 12),
        ("capacity-busy", "short", 1 + 4 + 4, 12),
        # It is switched off on n2.
        ("capacity-busy", "work", 1 + 4, 8),
        ("capacity-busy", "work@n1", 1, 4),
        ("capacity-busy", "work@n3.cluster.example,short@n1", 1 + 4, 8),
        ("capacity-busy", "work@@all", 1 + 4, 8),
        ("capacity-busy", "none", 0, 0),
    ],
)
def test_sge_when_recorded_then_what_several_queues_offer_counts_once(
    case: str, partition: str, idle: int, total: int
) -> None:
    assert read(SGE, recorded(f"sge-{case}"), partition) == Capacity(idle, total)


def test_sge_when_its_master_is_down_then_nothing_is_known() -> None:
    with pytest.raises(Unreachable, match="qhost failed") as caught:
        read(SGE, recorded("sge-capacity-master-down"))
    assert "--share" in caught.value.next_step


def test_sge_when_there_is_no_queue_then_nothing_is_known() -> None:
    with pytest.raises(UnreadableAnswer, match="no queue"):
        read(SGE, qhost(host("global", "-")))


@pytest.mark.parametrize(
    ("queues", "idle", "total"),
    [
        # A host that is dealt out to two queues.
        ([queue("a", 2, 1), queue("b", 2, 0)], 3, 4),
        # More jobs than cores.
        ([queue("a", 4, 4), queue("b", 4, 4)], 0, 4),
        # Over its load: later.
        ([queue("a", 4, 1, "a")], 0, 4),
        ([queue("a", 4, 1, "au")], 0, 0),
        ([queue("a", 4, 1, "E")], 0, 0),
        ([queue("a", 4, 0, "S"), queue("b", 4, 3)], 1, 4),
        ([queue("a", 4, 0, reserved=1)], 3, 4),
        # Not for jobs that go to any queue.
        ([queue("a", 2, 1, kind="I"), queue("b", 2, 0)], 2, 2),
    ],
)
def test_sge_when_queues_share_a_host_then_its_cores_limit_them(queues: list[str], idle: int, total: int) -> None:
    assert read(SGE, qhost(host("n1", "4", *queues))) == Capacity(idle, total)


def test_sge_when_a_slot_is_half_a_core_then_slots_count() -> None:
    assert read(SGE, qhost(host("n1", "2", queue("a", 4, 1)))) == Capacity(3, 4)


@pytest.mark.parametrize("lie", LIES, ids=lambda lie: lie.name)
@pytest.mark.parametrize("case", ["slurm-capacity-busy", "sge-capacity-busy"])
def test_capacity_when_the_answer_is_a_lie_then_it_is_an_error_or_no_more_than_there_is(case: str, lie: Lie) -> None:
    truth, scheduler = recorded(case), SLURM if case.startswith("slurm") else SGE
    try:
        found = read(scheduler, lie.tell(truth))
    except SchedulerError:
        return
    honest = read(scheduler, truth)
    assert lie.name == "cut short"
    assert found.idle <= honest.idle
    assert found.total <= honest.total
