"""The state of every tomodir of a batch, read from names alone.

A name is ``<id>.<mark>``, with the marks::

    claim.NNN           attempt NNN was begun; points to the session that runs it
    fail.NNN.<class>    attempt NNN ended badly; points to the session that says so (a client's, for ``lost``)
    done                some attempt ended well; points to the session whose pack holds the results
    collected           the results are in the tomodir
    retry.NNN           attempts up to NNN are forgiven
    held.NNN release.NNN   held if the last ``held`` is later than the last ``release`` (or the whole batch is held)
    moved               its input changed and it was submitted again: it is another batch's now

Names are only ever added, so a stale listing is behind, never wrong: the state derived from fewer names is one that the
tomodir was in. States: moved > collected > done > the highest attempt (failed, running, or ready for the next one); a
ready one that is held is ``held``; one that takes results of others which have none yet is ``waiting``.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from enum import Enum
from typing import NamedTuple, Protocol

from crh_batch.ledger.paths import SHARD_SIZE, BatchPaths
from crh_batch.ledger.steering import batch_hold


class Failure(str, Enum):
    """Why an attempt failed; part of its name.

    ``INPUT``: the program says what is wrong with the input. ``CRASH``: ended by a signal or in a way that says
    nothing. ``MEMORY``: killed for lack of memory. ``WALLTIME``: ended with its job, not by its own fault.
    ``TOO_LONG``: it had nearly a whole job, or as long as an attempt may take, and did not finish. ``PROGRAM``:
    the program can't be started. ``LOST``: the session died. ``CANCELLED``: the user gave it up.
    """

    INPUT = "input"
    CRASH = "crash"
    MEMORY = "memory"
    WALLTIME = "walltime"
    TOO_LONG = "toolong"
    PROGRAM = "program"
    LOST = "lost"
    CANCELLED = "cancelled"


# When an attempt carries two classes (a client called it lost, then its own session reported), the first here counts.
_PRECEDENCE = (
    Failure.CANCELLED,
    Failure.INPUT,
    Failure.TOO_LONG,
    Failure.MEMORY,
    Failure.CRASH,
    Failure.WALLTIME,
    Failure.PROGRAM,
    Failure.LOST,
)
CHARGED = frozenset({Failure.CRASH, Failure.MEMORY, Failure.LOST})
FINAL = frozenset({Failure.INPUT, Failure.CANCELLED, Failure.TOO_LONG})


class StateName(str, Enum):
    """What a tomodir of a batch is at."""

    READY = "ready"
    RUNNING = "running"
    DONE = "done"
    FAILED = "failed"
    HELD = "held"
    WAITING = "waiting"
    COLLECTED = "collected"
    MOVED = "moved"


class State(NamedTuple):
    """A tomodir's state.

    ``attempt``: for ready the number the next attempt will have, else the number of the last one (0 where it does not
    matter). ``failure``: the class of the last failed attempt, also for one that is ready again.
    ``memory_failures``: attempts since the last retry that ran out of memory, for one that is ready or failed.
    """

    name: StateName
    attempt: int
    failure: Failure | None = None
    memory_failures: int = 0


@dataclass(frozen=True)
class RetryPolicy:
    """How often attempts are repeated without anybody's asking.

    Args:
        charged_attempts: attempts that may end as crash, memory or lost before the tomodir counts as failed.
        walltime_attempts: attempts that may end as walltime; more than that means that it doesn't fit.
    """

    charged_attempts: int = 3
    walltime_attempts: int = 5


class Marks:
    """The names of one tomodir, by kind; a plain record that ``state`` reads."""

    __slots__ = ("claimed", "collected", "done", "fails", "forgiven", "held", "moved", "released")

    def __init__(self) -> None:
        self.claimed = 0
        self.fails: dict[int, Failure] = {}
        self.forgiven = 0
        self.held = 0
        self.released = 0
        self.done = False
        self.collected = False
        self.moved = False

    def add(self, kind: str, number: int, failure: str) -> None:
        """Take in one parsed name; unknown kinds are a newer version's and are passed over."""
        if kind == "claim":
            self.claimed = max(self.claimed, number)
        elif kind == "fail":
            self._add_failure(number, failure)
        elif kind == "done":
            self.done = True
        elif kind == "collected":
            self.collected = True
        elif kind == "moved":
            self.moved = True
        elif kind == "retry":
            self.forgiven = max(self.forgiven, number)
        elif kind == "held":
            self.held = max(self.held, number)
        elif kind == "release":
            self.released = max(self.released, number)

    @property
    def has_result(self) -> bool:
        """Whether there is a result that others may take."""
        return (self.done or self.collected) and not self.moved

    def _add_failure(self, number: int, text: str) -> None:
        try:
            failure = Failure(text)
        except ValueError:
            failure = Failure.CRASH
        known = self.fails.get(number)
        if known is None or _PRECEDENCE.index(failure) < _PRECEDENCE.index(known):
            self.fails[number] = failure

    def state(self, policy: RetryPolicy, *, batch_held: bool = False) -> State:
        """Return the state that these names add up to; ``batch_held``: whether the whole batch is held."""
        last = max(self.claimed, max(self.fails, default=0))
        failure = self.fails.get(last)
        if self.moved:
            return State(StateName.MOVED, last)
        if self.collected:
            return State(StateName.COLLECTED, last)
        if self.done:
            return State(StateName.DONE, last)
        if last and failure is None:
            return State(StateName.RUNNING, last)
        out_of_memory = self._since_retry().count(Failure.MEMORY) if failure is not None else 0
        if failure is not None and last > self.forgiven and self._is_final(failure, policy):
            return State(StateName.FAILED, last, failure, out_of_memory)
        if batch_held or self.held > self.released:
            return State(StateName.HELD, last + 1, failure, out_of_memory)
        return State(StateName.READY, last + 1, failure, out_of_memory)

    def _since_retry(self) -> list[Failure]:
        return [kind for number, kind in self.fails.items() if number > self.forgiven]

    def _is_final(self, failure: Failure, policy: RetryPolicy) -> bool:
        if failure in FINAL:
            return True
        since = self._since_retry()
        if failure in CHARGED:
            return sum(kind in CHARGED for kind in since) >= policy.charged_attempts
        if failure is Failure.WALLTIME:
            return since.count(Failure.WALLTIME) >= policy.walltime_attempts
        # PROGRAM: the node's fault, so the tomodir stays ready; the pilot that met it has stopped.
        return False


_NAME = re.compile(r"([0-9]{1,9})\.([a-z]+)(?:\.([0-9]{1,9})(?:\.([a-z]+))?)?\Z")


def parse_name(text: str) -> tuple[int, str, int, str] | None:
    """Split ``000017.fail.001.lost`` into (17, "fail", 1, "lost"); None for what is not a name."""
    match = _NAME.match(text)
    if match is None:
        return None
    item_id, kind, number, failure = match.groups()
    return int(item_id), kind, int(number or 0), failure or ""


def gather(names: Iterable[str]) -> dict[int, Marks]:
    """Sort a listing by tomodir."""
    found: dict[int, Marks] = {}
    for text in names:
        parsed = parse_name(text)
        if parsed is not None:
            item_id, kind, number, failure = parsed
            marks = found.get(item_id)
            if marks is None:
                marks = found[item_id] = Marks()
            marks.add(kind, number, failure)
    return found


def list_shard(paths: BatchPaths, shard: int) -> list[str]:
    """Return the names in a shard, now; empty if there is none."""
    try:
        return os.listdir(paths.shard(shard))
    except FileNotFoundError:
        return []


_NONE = Marks()


class Rules(Protocol):
    """What the names of a batch are read by; a batch's settings are such."""

    @property
    def policy(self) -> RetryPolicy:
        """How often attempts are repeated."""

    @property
    def after(self) -> Mapping[int, tuple[int, ...]]:
        """For tomodirs that take results of others: the ids of those."""


def states(paths: BatchPaths, item_ids: Iterable[int], rules: Rules) -> Iterator[tuple[int, State]]:
    """Yield the state of each tomodir, one listing a shard; ``item_ids`` must be ascending."""
    batch_held = batch_hold(paths).is_held
    sources = _Sources(paths)
    for item_id, marks in marks_of(paths, item_ids):
        state = marks.state(rules.policy, batch_held=batch_held)
        after = rules.after.get(item_id, ()) if state.name is StateName.READY else ()
        if all(sources.has_result(one) for one in after):
            yield item_id, state
        else:
            yield item_id, state._replace(name=StateName.WAITING)


class _Sources:
    """Tells which tomodirs have a result, from listings of its own; few of them are kept."""

    _KEPT = 8

    def __init__(self, paths: BatchPaths) -> None:
        self._paths = paths
        self._shards: dict[int, frozenset[int]] = {}

    def has_result(self, item_id: int) -> bool:
        shard = item_id // SHARD_SIZE
        if shard not in self._shards:
            if len(self._shards) >= self._KEPT:
                del self._shards[next(iter(self._shards))]
            found = gather(list_shard(self._paths, shard))
            self._shards[shard] = frozenset(key for key, marks in found.items() if marks.has_result)
        return item_id in self._shards[shard]


def marks_of(paths: BatchPaths, item_ids: Iterable[int]) -> Iterator[tuple[int, Marks]]:
    """Yield the names of each tomodir, one listing a shard; ``item_ids`` must be ascending."""
    shard = -1
    found: dict[int, Marks] = {}
    for item_id in item_ids:
        if item_id // SHARD_SIZE != shard:
            shard = item_id // SHARD_SIZE
            found = gather(list_shard(paths, shard))
        yield item_id, found.get(item_id, _NONE)


def claim_mark(attempt: int) -> str:
    """Return the mark of a claim."""
    return f"claim.{attempt:03d}"


def fail_mark(attempt: int, failure: Failure) -> str:
    """Return the mark of a failed attempt."""
    return f"fail.{attempt:03d}.{failure.value}"
