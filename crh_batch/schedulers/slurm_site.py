"""What Slurm tells of a site: sinfo, scontrol show config and sacctmgr, as text.

Sources: the manuals of Slurm 22.05, and answers recorded from it (tests/recorded/slurm).
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from crh_batch.errors import ProfileError, Unreachable, UnreadableAnswer
from crh_batch.hosts.base import Completed
from crh_batch.schedulers.base import keyed_lines, whole_number
from crh_batch.schedulers.slurm_words import facts, last_words, leading_number
from crh_batch.site import NodeKind, Partition, Site

CONFIG_ARGV = ("scontrol", "show", "config")
# Partition, availability, time limit, default time, OverSubscribe, nodes, CPUs, MB, features. --exact: a row for each
# kind of node; without it one row says "4+" for the smallest.
_SINFO_FORMAT = "%P|%a|%l|%L|%h|%D|%c|%m|%f"
_N = "[0-9]{1,10}"
_ASSOCIATIONS = ("sacctmgr", "--noheader", "--parsable2", "show", "associations")


def partitions_argv(names: Sequence[str] = ()) -> list[str]:
    """Return the question for partitions and the kinds of their nodes; for all that one may see, or for some."""
    argv = ["sinfo", "--noheader", "--exact", f"--format={_SINFO_FORMAT}"]
    return [*argv, f"--partition={','.join(names)}"] if names else argv


def parse_partitions(done: Completed, names: Sequence[str] = ()) -> tuple[Partition, ...]:
    """Read the answer to ``partitions_argv``; nothing if sinfo failed, for submitting works without it.

    Raises:
        ProfileError: one of ``names`` isn't there.
    """
    if done.exit_status != 0:
        return ()
    found: dict[str, Partition] = {}
    for line in done.stdout.splitlines():
        cells = line.split("|")
        # Features may hold the column's mark ("a|b" is none that Slurm allows); everything before can't.
        if len(cells) >= 9:
            _take_in(found, cells)
    for name in names:
        if name not in found:
            raise ProfileError(f"partition {name}: Slurm knows none of this name", "See sinfo.", "", "partition")
    return tuple(found.values())


def _take_in(found: dict[str, Partition], cells: list[str]) -> None:
    name, available, limit, default, sharing, count, cores, memory_mb, features = cells[:9]
    kind = NodeKind(leading_number(cores), leading_number(memory_mb), leading_number(count), _features(features))
    former = found.get(name.removesuffix("*"))
    found[name.removesuffix("*")] = Partition(
        name=name.removesuffix("*"),
        kinds=(*(former.kinds if former else ()), *((kind,) if kind.count else ())),
        max_minutes=parse_minutes(limit),
        default_minutes=parse_minutes(default),
        is_default=name.endswith("*"),
        is_up=available == "up",
        whole_nodes=sharing.startswith("EXCLUSIVE"),
    )


def parse_minutes(text: str) -> int | None:
    """Return the minutes in ``[DAYS-]HOURS:MINUTES:SECONDS`` or ``MINUTES:SECONDS``; None for infinite or n/a."""
    match = re.fullmatch(rf"(?:({_N})-)?(?:({_N}):)?({_N}):({_N})", text.strip())
    if match is None:
        return None
    days, hours, minutes, _ = (int(part or 0) for part in match.groups())
    return (days * 24 + hours) * 60 + minutes


def _features(text: str) -> tuple[str, ...]:
    return () if text in ("(null)", "") else tuple(text.split(","))


def parse_config(done: Completed) -> dict[str, str]:
    """Read scontrol's configuration.

    Raises:
        Unreachable: scontrol failed.
    """
    if done.exit_status != 0:
        raise Unreachable(
            f"scontrol failed: {last_words(done) or 'no answer in time'}",
            "Is this a login node, and is the controller up? Without a cluster: --engine local.",
            *facts(done),
        )
    return keyed_lines(done.stdout, "=")


def parse_max_array_size(done: Completed) -> int:
    """Return how many tasks an array may have; Slurm's default where the answer doesn't say.

    MaxArraySize is the first index that is refused, and arrays begin at 0 here, so it is the number of tasks.

    Raises:
        Unreachable: scontrol failed.
        UnreadableAnswer: arrays are switched off.
    """
    size = whole_number(parse_config(done).get("MaxArraySize", ""))
    if size == 0:
        raise UnreadableAnswer("MaxArraySize is 0: arrays are switched off", "Ask the site.", *facts(done))
    return 1001 if size is None else size


def questions(answers: Sequence[Completed], user: str) -> list[list[str]]:
    """Return what to ask next about the site, given the answers so far; nothing when all is known."""
    if answers:
        return []
    return [
        list(CONFIG_ARGV),
        partitions_argv(),
        [*_ASSOCIATIONS, f"user={user}", "format=Account,Partition,QOS"],
    ]


def parse_site(answers: Sequence[Completed], user: str) -> Site:
    """Read the answers to ``questions``, in their order.

    Raises:
        Unreachable: scontrol failed.
    """
    config_answer, nodes, associations = answers
    config = parse_config(config_answer)
    accounts, qos = _associations(associations)
    # select/linear gives out nodes, not cores; partitions may do so each for itself.
    linear = config.get("SelectType", "") == "select/linear"
    counted = "MEMORY" in config.get("SelectTypeParameters", "").upper()
    return Site(
        scheduler="slurm",
        version=config.get("SLURM_VERSION", ""),
        partitions=parse_partitions(nodes),
        max_array_size=parse_max_array_size(config_answer),
        whole_nodes=linear,
        # Where memory is not counted, asking for it can only be refused; MaxMemPerCPU speaks in memory a CPU.
        memory="none" if not counted and not linear else "mem-per-cpu" if _has(config, "MaxMemPerCPU") else "mem",
        accounting="slurmdbd" in config.get("AccountingStorageType", ""),
        accounts=accounts,
        qos=qos,
        kill_wait_s=leading_number(config.get("KillWait", "")) if "KillWait" in config else None,
    )


def _has(config: dict[str, str], key: str) -> bool:
    return config.get(key, "UNLIMITED") not in ("UNLIMITED", "0", "")


def _associations(done: Completed) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return accounts and qualities of service; none where accounting is off or keeps them to itself."""
    accounts: dict[str, None] = {}
    qos: dict[str, None] = {}
    for line in done.stdout.splitlines() if done.exit_status == 0 else ():
        cells = line.split("|")
        if len(cells) >= 3 and cells[0]:
            accounts.setdefault(cells[0])
            for one in filter(None, cells[2].split(",")):
                qos.setdefault(one)
    return tuple(accounts), tuple(qos)
