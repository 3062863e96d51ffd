"""All pilots of a batch, whoever started them: what became of open intents, and how they are ended."""

from __future__ import annotations

import contextlib
import os
import signal
import time
from collections.abc import Collection

from crh_batch.engines.base import LOCAL, Started
from crh_batch.engines.living import Living, look
from crh_batch.engines.machines import by_scheduler, machine_of
from crh_batch.engines.sending import describe, may_have_been_sent, send
from crh_batch.errors import HostError, SchedulerError, Unreachable
from crh_batch.hosts.base import Host
from crh_batch.ledger.batch import Batch
from crh_batch.ledger.identity import Verdict, Who, verdict_here
from crh_batch.ledger.session import holder_of, read_header
from crh_batch.ledger.submissions import read_submissions, record_refused, record_submitted, submission_mark
from crh_batch.schedulers.known import SCHEDULERS

# How late a submission may appear that got no answer.
LATE_S = 3.0
# How long pilots that were told to end are waited for: TERM, five seconds, KILL, and the scheduler's cleaning up.
END_WITHIN_S = 15.0


def settle_intents(batch: Batch, host: Host) -> Living:
    """Look for submissions without an answer by their tokens.

    The caller has the batch's custody, so no other client is between an intent and its answer. Those that the scheduler
    knows get their job's id. Those that it doesn't know stay open if their script was written, for they may be taken in
    late: ``send_again`` sends the same script with the same token. A local pilot whose process was not written down may
    live all the same; it claims as any other does, so a second one harms nothing.

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
        elif submission.token in living.silent:
            raise Unreachable(
                f"batch {batch.batch_id}: a submission may or may not have reached the scheduler, which doesn't answer",
                "Nothing is sent twice; run the command again when the scheduler answers.",
            )
        elif job_id := living.job_id(submission.token):
            record_submitted(batch.paths, submission, job_id)
        elif not may_have_been_sent(batch, submission):
            record_refused(batch.paths, submission, "the client ended before it was sent")
    _cancel_surplus(batch, living, host)
    return living


def _cancel_surplus(batch: Batch, living: Living, host: Host) -> None:
    """Cancel the second job of a submission that the scheduler took in twice; its pilots would leave at once anyway."""
    for submission in read_submissions(batch.paths):
        ids = living.unended_job_ids(submission.token)
        if len(ids) < 2:
            continue
        holder = holder_of(batch.paths.batch_name(submission_mark(submission.token)))
        header = None if holder is None else read_header(batch.paths, holder)
        kept = header.job.job_id if header is not None and header.job.job_id in ids else ids[0]
        with contextlib.suppress(SchedulerError, HostError):
            machine = machine_of(batch, submission, host)
            cancel_jobs(submission.engine, machine, [one for one in ids if one != kept])


def send_again(batch: Batch, host: Host, wanted: Collection[int]) -> list[Started]:
    """Send what is still open after ``settle_intents``, each with its old script and token.

    Args:
        wanted: the classes that need pilots; submissions for others are given up.

    Raises:
        SchedulerError, HostError: as when it is sent for the first time.
    """
    started = []
    for submission in read_submissions(batch.paths):
        if not submission.is_open or submission.engine == LOCAL:
            continue
        if submission.threads not in wanted:
            record_refused(batch.paths, submission, "it never reached the scheduler, and nothing is left for it")
            continue
        sent = send(batch, submission, SCHEDULERS[submission.engine], machine_of(batch, submission, host))
        started.append(Started(sent, describe(sent)))
    return started


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
            _ask_to_end(who)
    unended = frozenset(one.token for one in submissions)
    for scheduler, machine, asked in by_scheduler(batch, host):
        mine = [one for one in asked if one.token in unended]
        ids = [job_id for one in mine for job_id in (one.job_id, *living.unended_job_ids(one.token)) if job_id]
        cancel_jobs(scheduler.name, machine, list(dict.fromkeys(ids)))
    deadline = time.monotonic() + END_WITHIN_S
    while time.monotonic() < deadline and any(living.submission(one) is Verdict.ALIVE for one in submissions):
        time.sleep(0.5)
        living = look(batch, host)


def _ask_to_end(who: Who) -> None:
    try:
        os.kill(who.pid, signal.SIGTERM)
    except ProcessLookupError:
        pass
    except PermissionError as error:
        raise HostError(
            f"a pilot of {who} can't be ended by another user",
            f"Ask {who.user} to do it (crh-batch cancel); or hold the batch, and the pilot leaves when it has finished "
            "what it runs.",
            who.host,
        ) from error


def cancel_jobs(name: str, host: Host, ids: list[str]) -> None:
    """Cancel jobs of a scheduler.

    Raises:
        SchedulerError: it failed.
    """
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
