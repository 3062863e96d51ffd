"""A job that the scheduler started again knows that its own former lives are over: their claims are lost."""

from __future__ import annotations

import re

from crh_batch.ledger.batch import Batch
from crh_batch.ledger.names import Failure, StateName, fail_mark, states
from crh_batch.ledger.session import Job, Session, list_sessions, read_events
from crh_batch.pilot.job import label_without_restart

_NUMBER = re.compile(r"[0-9]{1,9}\Z")


def recover_former_lives(batch: Batch, session: Session) -> int:
    """Declare lost what former lives of this session's job had claimed and not ended; return how many attempts."""
    job = session.header.job
    if not job.restart:
        return 0
    prefix = label_without_restart(job)
    lost = 0
    for token in list_sessions(batch.paths):
        restart = token[len(prefix) :].split("-")[0] if token.startswith(prefix) else ""
        if _NUMBER.match(restart) and token != session.token and _was_before(int(restart), job):
            lost += _recover(batch, session, token)
    return lost


def _was_before(restart: int, job: Job) -> bool:
    """Return whether another life of a job was before this one."""
    # SGE says only that a job was restarted, not how often, and a task has one life at a time.
    return restart <= job.restart if job.scheduler == "sge" else restart < job.restart


def _recover(batch: Batch, session: Session, token: str) -> int:
    claims = {
        (event.get("id"), event.get("attempt"))
        for event in read_events(batch.paths, token)
        if event["event"] == "claim"
    }
    ids = sorted({item_id for item_id, _ in claims if isinstance(item_id, int) and item_id in batch.items})
    lost = 0
    for item_id, state in states(batch.paths, ids, batch.settings):
        if state.name is StateName.RUNNING and (item_id, state.attempt) in claims:
            session.append("lost", id=item_id, attempt=state.attempt, session=token)
            session.win(item_id, fail_mark(state.attempt, Failure.LOST), batch.settings.links)
            lost += 1
    return lost
