"""Handing a job script to a scheduler, the first time or again: one script and one token, whatever becomes of it."""

from __future__ import annotations

import os

from crh_batch.engines.base import plural
from crh_batch.errors import ConnectionLost, HostError, MaybeSubmitted, SchedulerError, StageGone
from crh_batch.hosts.base import Host
from crh_batch.ledger import durable
from crh_batch.ledger.batch import Batch
from crh_batch.ledger.sharing import make_directories
from crh_batch.ledger.submissions import Submission, record_refused, record_submitted
from crh_batch.schedulers.base import Scheduler
from crh_batch.schedulers.known import SCHEDULERS


def script_path(batch: Batch, submission: Submission) -> str:
    """Return where a submission's job script lies."""
    return os.path.join(batch.paths.jobs, f"{submission.token}.sh")


def write_script(batch: Batch, submission: Submission, content: str) -> None:
    """Write a job script, durably: as long as it isn't there, nothing can have been sent."""
    make_directories(_log_directory(batch, submission))
    durable.write_durable(script_path(batch, submission), content.encode(), mode=0o755)


def may_have_been_sent(batch: Batch, submission: Submission) -> bool:
    """Return whether a submission without an answer can have reached the scheduler."""
    return os.path.exists(script_path(batch, submission))


def send(batch: Batch, submission: Submission, scheduler: Scheduler, host: Host) -> Submission:
    """Give the script to the scheduler and write down what it answers.

    Raises:
        MaybeSubmitted: nobody knows whether it arrived; the intent stays open.
        SchedulerError: it was refused, which is written down.
        HostError: the command can't be started, which is written down as a refusal; or its machine is out of reach,
            and the intent stays open.
    """
    logs, script = _log_directory(batch, submission), script_path(batch, submission)
    try:
        for path in (logs, script):
            host.bring(path)
    except StageGone as error:
        # What may have been sent before could not begin there either.
        record_refused(batch.paths, submission, error.message)
        raise
    try:
        done = host.run(scheduler.submit_argv(host.there(logs), host.there(script)))
        job_id = scheduler.parse_submitted(done)
    except ConnectionLost as error:
        raise MaybeSubmitted(
            error.message, "Nothing is sent twice; run the command again: it finds out what became of it."
        ) from error
    except HostError as error:
        record_refused(batch.paths, submission, error.message)
        raise
    except SchedulerError as error:
        if type(error) is SchedulerError:
            record_refused(batch.paths, submission, error.message)
        raise
    return record_submitted(batch.paths, submission, job_id)


def describe(submission: Submission) -> str:
    """Return a line for the user that says where a submission's pilots are."""
    title = SCHEDULERS[submission.engine].title
    behind = f", behind {submission.after}" if submission.after else ""
    pilots, cores = plural(submission.pilots, "pilot"), plural(submission.cores or submission.threads, "core")
    on = f" on {submission.host}" if submission.host else ""
    return f"{title} array {submission.job_id}: {pilots} of {cores}{behind}{on}"


def _log_directory(batch: Batch, submission: Submission) -> str:
    return os.path.join(os.path.abspath(batch.paths.logs), submission.token)
