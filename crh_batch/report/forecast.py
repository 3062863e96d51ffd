"""What is expected of a batch before it runs: how long it takes in all, and how much of it by a deadline."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from crh_batch.engines.base import LOCAL, Engine
from crh_batch.plan.arrays import ArrayRequest
from crh_batch.plan.makespan import Task, lower_bound, times_of
from crh_batch.plan.order import Planned, ids_of, in_order
from crh_batch.plan.wishes import Wishes
from crh_batch.plan.work import work_of_planned


@dataclass(frozen=True)
class Forecast:
    """What is expected if all jobs begin at once.

    Args:
        requests: the jobs.
        makespan_s: from the start to the end of the last tomodir, in seconds.
        bound_s: what no order of the work could beat.
        cores: of all jobs together.
        by_deadline: how many are done at the deadline; None without one.
        tomodirs: how many in all.
    """

    requests: tuple[ArrayRequest, ...]
    makespan_s: float
    bound_s: float
    cores: int
    by_deadline: int | None
    tomodirs: int

    @property
    def pilots(self) -> int:
        """How many jobs."""
        return sum(request.pilots for request in self.requests)

    def to_json(self) -> dict[str, Any]:
        """Return the form that scripts get, described in docs/reference/json.md."""
        return {
            "pilots": self.pilots,
            "cores": self.cores,
            "makespan_s": round(self.makespan_s, 3),
            "lower_bound_s": round(self.bound_s, 3),
            "done_by_deadline": self.by_deadline,
        }


def forecast(planned: Sequence[Planned], engine: Engine, wishes: Wishes, now: float) -> Forecast:
    """Play a batch-to-be through.

    Args:
        now: seconds since 1970; when the jobs begin.

    Raises:
        SchedulerError: the scheduler is needed for the size of its nodes and doesn't answer.
        ProfileError: the profile asks for what the scheduler can't give.
    """
    ordered = in_order(wishes.applied_to(planned), reverse=wishes.reverse)
    requests = tuple(engine.plan(work_of_planned(ordered, engine.memory_rule))) if ordered else ()
    ids = ids_of(ordered)
    tasks = [
        Task(one.threads, one.estimate_s, tuple(ids[path] for path in one.after if path in ids)) for one in ordered
    ]
    is_local = engine.name == LOCAL
    cores = max((one.cores for one in requests), default=0)
    if not is_local:
        cores = sum(one.cores * one.pilots for one in requests)
    times = times_of(tasks, requests, one_pilot=is_local)
    done = None if wishes.deadline is None else bisect_right(times, wishes.deadline - now)
    return Forecast(requests, max(times, default=0.0), lower_bound(tasks, max(cores, 1)), cores, done, len(ordered))
