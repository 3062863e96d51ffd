"""What a real SGE told of its site (tests/recorded/sites), and what it must be read as: values written by hand."""

from __future__ import annotations

import pytest

from crh_batch.errors import ProfileError, Unreachable
from crh_batch.profile import Profile
from crh_batch.schedulers.sge_site import (
    chosen_queues,
    parse_config,
    parse_environment,
    parse_max_array_size,
    parse_megabytes,
    parse_minutes,
    parse_queues,
    parse_site,
    questions,
)
from crh_batch.site import MemoryResource, NodeKind, ParallelEnvironment, Partition
from unit.schedulers.test_slurm_site import recorded, said

FIRST = [f"sge-{name}" for name in ("config", "queues", "hosts", "complexes", "environments", "projects", "help")]


# SGE tells the machine's own memory, so it is that of the one that was recorded on.
MEMORY_MB = 24064


def queues() -> tuple[Partition, ...]:
    kinds = (NodeKind(4, MEMORY_MB, 3),)
    return Partition("work", kinds), Partition("short", kinds, 2, 2)


def test_questions_when_answered_then_environments_are_asked_for_one_by_one() -> None:
    answers = [recorded(case) for case in FIRST]
    assert [tuple(argv) for argv in questions([], "root")] == [answer.argv for answer in answers]
    assert questions(answers, "root") == [["qconf", "-sp", "make"], ["qconf", "-sp", "smp"]]
    answers += [recorded("sge-environment-make"), recorded("sge-environment-smp")]
    assert questions(answers, "root") == []


def test_parse_site_when_everything_is_told_then_all_of_it() -> None:
    cases = [*FIRST, "sge-environment-make", "sge-environment-smp"]
    site = parse_site([recorded(case) for case in cases], "root")
    assert (site.scheduler, site.version, site.max_array_size, site.accounts) == ("sge", "SGE 8.1.9", 1000, ())
    assert site.partitions == queues()
    assert site.environments == (
        ParallelEnvironment("make", "$round_robin", False),
        ParallelEnvironment("smp", "$pe_slots", True),
    )
    assert site.memory_resources[0] == MemoryResource("h_vmem", is_counted=True, is_limit=True)
    others = {one.name: one for one in site.memory_resources[1:]}
    assert not any(one.is_counted for one in others.values())
    assert others["mem_free"] == MemoryResource("mem_free", is_counted=False, is_limit=False)
    assert "h_fsize" not in others, "no memory"


def test_parse_config_when_the_master_is_down_then_unreachable() -> None:
    with pytest.raises(Unreachable, match="unable to send message to qmaster"):
        parse_config(recorded("sge-config-master-down"))


def test_parse_queues_when_qhost_failed_then_slots_alone() -> None:
    found = parse_queues(recorded("sge-queues"), said("", "", 1))
    assert [one.kinds for one in found] == [(NodeKind(4, 0, 0),)] * 2
    assert parse_queues(recorded("sge-queues"), said("no XML")) == found
    assert parse_queues(said("", "", 1), recorded("sge-hosts")) == ()


def test_parse_environment_when_it_is_unknown_then_none() -> None:
    assert parse_environment(recorded("sge-environment-unknown")) is None


def test_chosen_queues_when_none_is_named_then_all_for_sge_looks_through_all() -> None:
    assert chosen_queues(queues(), Profile()) == queues()
    assert chosen_queues(queues(), Profile(partition="short")) == queues()[1:]
    assert chosen_queues(queues(), Profile(partition="short@n1")) == ()
    with pytest.raises(ProfileError, match="partition nope: SGE knows no queue"):
        chosen_queues(queues(), Profile(partition="work,nope"))


@pytest.mark.parametrize(
    ("text", "minutes"),
    [
        ("00:02:00", 2),
        ("48:00:00", 2880),
        ("INFINITY", None),
        ("7200", 120),
        ("01:00:00,[n1=00:10:00]", 60),
        ("", None),
    ],
)
def test_parse_minutes_when_a_queue_has_such_a_limit_then_minutes(text: str, minutes: int | None) -> None:
    assert parse_minutes(text) == minutes


@pytest.mark.parametrize(
    ("text", "megabytes"), [("23.5G", 24064), ("1.0T", 1 << 20), ("512.0M", 512), ("-", 0), ("", 0)]
)
def test_parse_megabytes_when_qhost_writes_so_then_mb(text: str, megabytes: int) -> None:
    assert parse_megabytes(text) == megabytes


@pytest.mark.parametrize(("value", "size"), [("1000", 1000), ("0", 75000), ("", 75000)])
def test_parse_max_array_size_when_there_is_no_limit_then_a_large_one(value: str, size: int) -> None:
    assert parse_max_array_size({"max_aj_tasks": value}) == size
