"""What a pilot owes to the submission that it was started by: one job for each, and the user's deadline."""

from __future__ import annotations

import time

from crh_batch.ledger.batch import Batch
from crh_batch.ledger.session import Session, holder_of, read_header
from crh_batch.ledger.submissions import read_submissions, submission_mark

# How long the name of the other job's pilot may stay invisible here after it was refused to us.
_NAME_WAIT_S = 60.0


def job_of_same_submission(batch: Batch, session: Session) -> str:
    """Return the other job that has this session's submission; empty if it is this session's own.

    A scheduler may take a job in after it was asked for a second time. Then two jobs have one token, and the one whose
    pilot comes first has it for good, with all its array tasks and later lives.
    """
    submission, job = session.header.submission, session.header.job
    if not submission or not job.job_id:
        return ""
    mark = submission_mark(submission)
    if session.win_for_batch(mark, batch.settings.links):
        return ""
    token = holder_of(batch.paths.batch_name(mark), wait_s=_NAME_WAIT_S)
    header = None if token is None else read_header(batch.paths, token)
    # One that can't be read stands in nobody's way: two jobs do no harm, no job would.
    return "" if header is None or header.job.job_id == job.job_id else header.job.job_id


def deadline_of(batch: Batch, submission: str) -> float | None:
    """Return until when a pilot may work as the user wants it, seconds since 1970; None for as long as it likes.

    Who submits again after the deadline wants the batch to go on, and so does who starts a pilot by hand then.
    """
    deadline = batch.settings.deadline
    if not deadline:
        return None
    asked_at = next((one.time for one in read_submissions(batch.paths) if one.token == submission), time.time())
    return deadline if asked_at < deadline else None
