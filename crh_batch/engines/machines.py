"""Which machine's scheduler knows a submission: this one's, or that of a login node behind SSH."""

from __future__ import annotations

from collections.abc import Iterator

from crh_batch.engines.profile_then import profile_of
from crh_batch.errors import LedgerError
from crh_batch.hosts.base import Host
from crh_batch.hosts.mounted import MountedHost, stays_here
from crh_batch.hosts.reach import reach
from crh_batch.ledger.batch import Batch
from crh_batch.ledger.submissions import Submission, read_submissions
from crh_batch.mirror.host import StagedHost
from crh_batch.mirror.stage import read_stages
from crh_batch.schedulers.base import Scheduler
from crh_batch.schedulers.known import SCHEDULERS


def machine_of(batch: Batch, submission: Submission, here: Host) -> Host:
    """Return the machine whose scheduler was asked for a submission's pilots.

    Raises:
        LedgerError: nobody can say where it is.
    """
    if not submission.host:
        return here
    if submission.stage:
        for stage in read_stages(batch.paths):
            if stage.number == submission.stage:
                return StagedHost(stage, reach(stage.host))
        raise LedgerError(
            f"{batch.paths.stages}/{submission.stage}: is gone, and pilots were submitted there",
            "Put it back, then run the command again.",
            batch.paths.stages,
        )
    if stays_here():
        return here
    return MountedHost(reach(submission.host), profile_of(batch).root_pairs)


def by_scheduler(batch: Batch, here: Host) -> Iterator[tuple[Scheduler, Host, list[Submission]]]:
    """Yield each scheduler that was asked for pilots of a batch, with its machine and what it was asked.

    What it refused is left out.
    """
    asked: dict[tuple[str, str, int], list[Submission]] = {}
    for one in read_submissions(batch.paths):
        if one.engine in SCHEDULERS and not one.refused:
            asked.setdefault((one.engine, one.host, one.stage), []).append(one)
    for (name, _, _), submissions in asked.items():
        yield SCHEDULERS[name], machine_of(batch, submissions[0], here), submissions
