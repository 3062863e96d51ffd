"""All pilots of a batch, whoever started them: what became of open intents, and how they are ended."""

from __future__ import annotations

import contextlib
import os
import signal
import time

from crh_batch.engines.base import LOCAL
from crh_batch.engines.living import Living, look
from crh_batch.errors import SchedulerError, Unreachable
from crh_batch.hosts.base import Host
from crh_batch.ledger.batch import Batch
from crh_batch.ledger.identity import Verdict, verdict_here
from crh_batch.ledger.submissions import read_submissions, record_refused, record_submitted
from crh_batch.schedulers.known import SCHEDULERS

# How late a submission may appear that got no answer.
LATE_S = 3.0
# How long pilots that were told to end are waited for: TERM, five seconds, KILL, and the scheduler's cleaning up.
END_WITHIN_S = 15.0


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
    still_open = [one for one in read_submissions(batch.paths) if one.is_open]
    if any(one.engine != LOCAL and not living.job_id(one.token) for one in still_open):
        # RACE: a controller that was silent when it was asked takes the job in together with this question, or after.
        time.sleep(LATE_S)
        living = look(batch, host)
    for submission in still_open:
        if submission.engine == LOCAL:
            record_refused(batch.paths, submission, "the client ended before it had started a pilot")
        elif not living.answered:
            raise Unreachable(
                f"batch {batch.batch_id}: a submission may or may not have reached the scheduler, which doesn't answer",
                "Nothing is sent twice; run the command again when the scheduler answers.",
            )
        elif job_id := living.job_id(submission.token):
            record_submitted(batch.paths, submission, job_id)
        else:
            record_refused(batch.paths, submission, "it never reached the scheduler")
    return living


def end_pilots(batch: Batch, host: Host) -> None:
    """Cancel all jobs of a batch, ask the pilots of this machine to end, and wait a little until they have.

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
    for name in SCHEDULERS:
        _cancel_jobs(name, host, [one.job_id for one in submissions if one.engine == name and one.job_id])
    deadline = time.monotonic() + END_WITHIN_S
    while time.monotonic() < deadline and any(living.submission(one) is Verdict.ALIVE for one in submissions):
        time.sleep(0.5)
        living = look(batch, host)


def _cancel_jobs(name: str, host: Host, ids: list[str]) -> None:
    if not ids:
        return
    scheduler = SCHEDULERS[name]
    argv = scheduler.cancel_argv(ids)
    done = host.run(argv)
    if not scheduler.was_cancelled(done):
        raise SchedulerError(
            f"{argv[0]} failed: {scheduler.last_words(done) or 'no answer in time'}",
            "Run the command again when the scheduler answers.",
            done.argv,
            -1 if done.exit_status is None else done.exit_status,
            done.stdout,
            done.stderr,
        )
