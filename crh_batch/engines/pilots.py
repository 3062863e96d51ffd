"""All pilots of a batch, whoever started them: what became of open intents, and how they are ended."""

from __future__ import annotations

import contextlib
import os
import signal

from crh_batch.engines.base import LOCAL, SLURM
from crh_batch.engines.living import Living, look
from crh_batch.errors import SchedulerError, Unreachable
from crh_batch.hosts.base import Host
from crh_batch.ledger.batch import Batch
from crh_batch.ledger.identity import Verdict, verdict_here
from crh_batch.ledger.submissions import read_submissions, record_refused, record_submitted
from crh_batch.schedulers import slurm


def settle_intents(batch: Batch, host: Host) -> Living:
    """Look for submissions without an answer by their tokens; what no answer knows was never submitted.

    The caller has the batch's custody, so no other client is between an intent and its answer. A local pilot whose
    process was not written down may live all the same; it claims as any other does, so a second one harms nothing.

    Returns:
        What lives, as of this look.

    Raises:
        Unreachable: the scheduler doesn't answer, so nothing may be sent.
    """
    living = look(batch, host)
    for submission in read_submissions(batch.paths):
        if not submission.is_open:
            continue
        if submission.engine == LOCAL:
            record_refused(batch.paths, submission, "the client ended before it had started a pilot")
        elif not living.answered:
            raise Unreachable(
                f"batch {batch.batch_id}: a submission may or may not have reached Slurm, and squeue doesn't answer",
                "Nothing is sent twice; run the command again when the scheduler answers.",
            )
        elif job_id := living.job_id(submission.token):
            record_submitted(batch.paths, submission, job_id)
        else:
            record_refused(batch.paths, submission, "it never reached the scheduler")
    return living


def end_pilots(batch: Batch, host: Host) -> None:
    """Cancel all jobs of a batch, and ask the pilots of this machine to end.

    Raises:
        SchedulerError: scancel failed.
    """
    living = look(batch, host)
    submissions = [one for one in read_submissions(batch.paths) if living.submission(one) is not Verdict.DEAD]
    for submission in submissions:
        who = submission.process
        if who is not None and verdict_here(who) is Verdict.ALIVE:
            with contextlib.suppress(ProcessLookupError):
                os.kill(who.pid, signal.SIGTERM)
    ids = [one.job_id for one in submissions if one.engine == SLURM and one.job_id]
    if not ids:
        return
    done = host.run(slurm.cancel_argv(ids))
    if done.exit_status != 0 and "Invalid job id" not in done.stderr:
        raise SchedulerError(
            f"scancel failed: {slurm.last_words(done) or 'no answer in time'}",
            "Run the command again when the scheduler answers.",
            done.argv,
            -1 if done.exit_status is None else done.exit_status,
            done.stdout,
            done.stderr,
        )
