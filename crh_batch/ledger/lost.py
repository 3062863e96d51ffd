"""Claims whose session has died: they get the name ``fail.N.lost`` (or ``memory``) and are ready again.

Only a session that is provably dead loses its claims; who can prove it is the caller's affair (a scheduler's answer, or
this machine's process table). Several processes may do this at the same time: the name can be made only once.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from crh_batch.ledger.batch import Batch
from crh_batch.ledger.custody import Judge
from crh_batch.ledger.identity import Verdict
from crh_batch.ledger.names import Failure, StateName, claim_mark, fail_mark, states
from crh_batch.ledger.session import Session, SessionHeader, holder_of, read_header
from crh_batch.ledger.steering import win_many


@dataclass(frozen=True)
class OpenClaim:
    """An attempt that nothing is known of but its beginning; ``header`` is None when its session can't be read."""

    item_id: int
    attempt: int
    token: str
    header: SessionHeader | None


def open_claims(batch: Batch) -> list[OpenClaim]:
    """Return all claims of a batch that neither ended nor were declared lost."""
    headers: dict[str, SessionHeader | None] = {}
    found = []
    for item_id, state in states(batch.paths, batch.items.ids, batch.settings):
        if state.name is not StateName.RUNNING:
            continue
        token = holder_of(batch.paths.name(item_id, claim_mark(state.attempt))) or ""
        if token not in headers:
            headers[token] = read_header(batch.paths, token) if token else None
        found.append(OpenClaim(item_id, state.attempt, token, headers[token]))
    return found


@dataclass(frozen=True)
class Recovery:
    """What became of the open claims: ``lost`` ones are ready again, ``unknown`` ones could not be judged."""

    lost: int
    alive: int
    unknown: tuple[OpenClaim, ...]


def recover_lost(
    batch: Batch,
    claims: Sequence[OpenClaim],
    judge: Judge,
    session: Session,
    *,
    force: bool = False,
    ran_out_of_memory: Callable[[SessionHeader], bool] = lambda header: False,
) -> Recovery:
    """Declare the claims of dead sessions lost.

    Args:
        claims: all that are open.
        judge: called once a session.
        session: the caller's own; the names point to it.
        force: take UNKNOWN for dead; the user has said that those sessions are.
        ran_out_of_memory: whether a dead session's job was ended for that. If only one of its tomodirs was running,
            that one is to blame.
    """
    open_of = Counter(claim.token for claim in claims)
    verdicts: dict[str, Verdict] = {}
    alive = 0
    unknown = []
    marks = []
    for claim in claims:
        verdict = verdicts.get(claim.token)
        if verdict is None:
            verdict = judge(claim.header) if claim.header is not None else Verdict.UNKNOWN
            verdicts[claim.token] = verdict
        if verdict is Verdict.DEAD or (verdict is Verdict.UNKNOWN and force):
            starved = claim.header is not None and open_of[claim.token] == 1 and ran_out_of_memory(claim.header)
            failure = Failure.MEMORY if starved else Failure.LOST
            session.append("lost", id=claim.item_id, attempt=claim.attempt, session=claim.token, failure=failure.value)
            marks.append((claim.item_id, fail_mark(claim.attempt, failure)))
        elif verdict is Verdict.ALIVE:
            alive += 1
        else:
            unknown.append(claim)
    # All at once: where another machine decides about names, each alone would take a question of its own.
    win_many(session, marks, batch.settings.links)
    return Recovery(len(marks), alive, tuple(unknown))
