"""Array tasks that wait in error because a node saw a directory too late: they are let go again, a few times.

SGE puts a task whose directory a node can't enter into the state Eqw, where it stays until somebody clears it. On a
shared filesystem a directory that has just been made may take a minute to be seen. What waits for another reason needs
a person, and is left.
"""

from __future__ import annotations

import contextlib
from collections import Counter
from collections.abc import Sequence

from crh_batch.errors import HostError, SchedulerError
from crh_batch.hosts.base import Host
from crh_batch.schedulers.base import JobRow, Scheduler

# In the life of one command. A command that waits gives a filesystem so many times its pause between two looks.
MOST_TRIES = 5

_tries: Counter[str] = Counter()


def unstick(scheduler: Scheduler, host: Host, rows: Sequence[JobRow]) -> list[str]:
    """Try stuck tasks again and return which; a scheduler that doesn't answer or refuses changes nothing."""
    argv = scheduler.stuck_argv(rows)
    if not argv:
        return []
    with contextlib.suppress(HostError, SchedulerError):
        tasks = [task for task in scheduler.parse_stuck(host.run(argv)) if _tries[task] < MOST_TRIES]
        if tasks:
            _tries.update(tasks)
            host.run(scheduler.free_argv(tasks))
            return tasks
    return []
