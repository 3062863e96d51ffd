"""The status of a batch: counts from names alone; details of chosen tomodirs from the sessions behind the names."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

from crh_batch.ledger.batch import Batch
from crh_batch.ledger.names import Failure, State, StateName, claim_mark, fail_mark, states
from crh_batch.ledger.session import SessionHeader, holder_of, read_events, read_header
from crh_batch.ledger.waiting import Waits
from crh_batch.report.clusters import Clusters, ClusterStatus

# How many of those that a tomodir waits for are named.
_CAUSES = 3
# A tomodir that moved to another batch is no longer this one's, so it is not counted.
STATE_ORDER = tuple(name for name in StateName if name is not StateName.MOVED)


@dataclass
class Row:
    """One tomodir's status.

    ``is_stuck``: it waits for results that won't come by themselves. ``on``: the cluster that it was sent to, if any.
    """

    item_id: int
    path: str
    state: State
    stage: str = ""
    iteration: int | None = None
    rms: float | None = None
    host: str = ""
    error: str = ""
    stages: list[dict[str, Any]] = field(default_factory=list)
    dims: str = ""
    threads: int = 0
    is_stuck: bool = False
    on: str = ""

    @property
    def seconds(self) -> float | None:
        """Wall time of all stages that ran, None if none is known."""
        walls = [float(one["wall_s"]) for one in self.stages if "wall_s" in one]
        return sum(walls) if walls else None

    @property
    def peak_bytes(self) -> int | None:
        """Largest resident set of the stages that ran."""
        return max((int(one["peak_bytes"]) for one in self.stages if "peak_bytes" in one), default=None)

    @property
    def peak_is_bound(self) -> bool:
        """Whether ``peak_bytes`` is only known not to be exceeded."""
        return all(one.get("peak_is_bound") for one in self.stages if one.get("peak_bytes") == self.peak_bytes)


@dataclass
class Status:
    """A batch's status; ``rows`` are those asked for, ``clusters`` those that parts of it were sent to."""

    batch: Batch
    counts: Counter[StateName]
    failures: Counter[Failure]
    rows: list[Row] = field(default_factory=list)
    clusters: list[ClusterStatus] = field(default_factory=list)

    @property
    def total(self) -> int:
        """How many tomodirs the batch has."""
        return sum(self.counts.values())

    @property
    def settled(self) -> int:
        """How many are over: finished, collected or failed for good."""
        return self.finished + self.counts[StateName.FAILED]

    @property
    def finished(self) -> int:
        """How many ended well."""
        return self.counts[StateName.DONE] + self.counts[StateName.COLLECTED]

    @property
    def complete(self) -> bool:
        """Whether every tomodir ended well."""
        return self.finished == self.total

    @property
    def over(self) -> bool:
        """Whether nothing is left to run, held ones apart."""
        return not self.counts[StateName.READY] and not self.counts[StateName.RUNNING]


def count(batch: Batch, only: frozenset[int] | None = None) -> Status:
    """Count the states, one listing a thousand tomodirs; ``only`` as for ``status_of``."""
    return status_of(batch, lambda item_id, state: False, only)


def status_of(batch: Batch, wanted: Callable[[int, State], bool], only: frozenset[int] | None = None) -> Status:
    """Count the states, and look up the details of those tomodirs that ``wanted`` picks.

    Args:
        only: numbers of the tomodirs that are meant; None means all.
    """
    counts: Counter[StateName] = Counter()
    failures: Counter[Failure] = Counter()
    chosen = []
    clusters = Clusters(batch)
    ids = batch.items.ids if only is None else [item_id for item_id in batch.items.ids if item_id in only]
    for item_id, state in states(batch.paths, ids, batch.settings):
        if state.name is StateName.MOVED:
            continue
        counts[state.name] += 1
        if (cluster := clusters.of(item_id)) is not None:
            cluster.counts[state.name] += 1
        if state.name is StateName.FAILED and state.failure is not None:
            failures[state.failure] += 1
        if wanted(item_id, state):
            chosen.append((item_id, state))
    return Status(batch, counts, failures, list(_with_details(batch, clusters, chosen)), clusters.each)


def _with_details(batch: Batch, clusters: Clusters, chosen: Iterable[tuple[int, State]]) -> Iterator[Row]:
    """Build rows; each session is read once, for all tomodirs that point to it."""
    rows = []
    waits = Waits(batch)
    by_token: dict[str, list[Row]] = {}
    for item_id, state in chosen:
        item = batch.items[item_id]
        dims = str(item.stages[-1].get("dims", "")) if item.stages else ""
        cluster = clusters.of(item_id)
        on = cluster.on if cluster is not None else ""
        row = Row(item_id, item.path, state, dims=dims, threads=item.threads, on=on)
        if state.name is StateName.WAITING:
            row.error, row.is_stuck = _what_it_waits_for(batch, waits, item_id)
        rows.append(row)
        token = _token(batch, row)
        if token:
            by_token.setdefault(token, []).append(row)
    for token, its_rows in by_token.items():
        _fill(batch, token, its_rows)
    return iter(rows)


def _what_it_waits_for(batch: Batch, waits: Waits, item_id: int) -> tuple[str, bool]:
    """Return whose results a tomodir waits for in the end, in words, and whether that can't end by itself."""
    causes = []
    for source, state in waits.causes(item_id):
        failure = f" ({state.failure.value})" if state.name is StateName.FAILED and state.failure else ""
        causes.append(f"{batch.items[source].path}, which is {state.name.value}{failure}")
    shown = "; ".join(causes[:_CAUSES]) + (f"; and {len(causes) - _CAUSES} more" if len(causes) > _CAUSES else "")
    return f"waits for {shown}", not waits.may_end(item_id)


def _token(batch: Batch, row: Row) -> str:
    """Return the session that knows most of a tomodir's last attempt."""
    name, attempt, failure = row.state.name, row.state.attempt, row.state.failure
    if name is StateName.WAITING:
        return ""
    if name in (StateName.DONE, StateName.COLLECTED):
        mark = "done"
    elif failure is not None and name is not StateName.RUNNING:
        last = attempt if name is StateName.FAILED else attempt - 1
        mark = fail_mark(last, failure)
    elif name is StateName.RUNNING:
        mark = claim_mark(attempt)
    else:
        return ""
    return holder_of(batch.paths.name(row.item_id, mark)) or ""


def _fill(batch: Batch, token: str, rows: list[Row]) -> None:
    header: SessionHeader | None = read_header(batch.paths, token)
    by_id = {row.item_id: row for row in rows}
    for row in rows:
        row.host = header.who.host if header and header.kind == "pilot" else ""
    for event in read_events(batch.paths, token):
        row_or_none = by_id.get(event.get("id", -1))
        if row_or_none is not None:
            _take_in(row_or_none, event)


def _take_in(row: Row, event: dict[str, Any]) -> None:
    kind = event["event"]
    if kind == "claim":
        row.stage, row.iteration, row.rms, row.error, row.stages = "", None, None, "", []
    elif kind == "stage":
        row.stage = str(event.get("stage", ""))
    elif kind == "progress":
        row.iteration, row.rms = event.get("iteration"), event.get("rms")
    elif kind == "lost":
        row.error = f"its pilot died ({event.get('session', 'session unknown')})"
    elif kind in ("done", "fail"):
        row.stages = list(event.get("stages") or [])
        row.error = str(event.get("error") or "")
        last = row.stages[-1] if row.stages else {}
        row.stage = str(last.get("stage", ""))
        row.iteration, row.rms = last.get("iterations"), last.get("rms")
