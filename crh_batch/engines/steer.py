"""Steering a batch: giving tomodirs up, and taking them up again. Both are names that only get added."""

from __future__ import annotations

import os

from crh_batch.engines.pilots import end_pilots
from crh_batch.hosts.base import Host
from crh_batch.ledger.batch import Batch
from crh_batch.ledger.collect import release
from crh_batch.ledger.custody import Custody, custody_of
from crh_batch.ledger.identity import this_process
from crh_batch.ledger.names import Failure, StateName, claim_mark, fail_mark, states
from crh_batch.ledger.registration import read_registration, register

_UNFINISHED = (StateName.READY, StateName.RUNNING, StateName.HELD)


def cancel(batch: Batch, host: Host, only: frozenset[int] | None, *, force: bool = False) -> int:
    """Give up tomodirs that are not finished, and what has failed; return how many.

    A ready one is claimed and failed by this client, so no pilot can get it; of a running one the attempt is failed,
    which its pilot notices within seconds. The .crh files go, so the tomodirs are free.

    Args:
        only: numbers; None is the whole batch, whose jobs are cancelled first.

    Raises:
        Busy: another client is at work on the batch.
        SchedulerError: the jobs could not be cancelled; nothing was given up then.
    """
    if only is None:
        end_pilots(batch, host)
    given_up = 0
    with custody_of(batch, force=force) as custody:
        ids = [item_id for item_id in batch.items.ids if only is None or item_id in only]
        for item_id, state in list(states(batch.paths, ids, batch.settings.policy)):
            if state.name in _UNFINISHED and _give_up(batch, custody, item_id, state.name, state.attempt):
                given_up += 1
                release(batch, batch.items[item_id])
            elif state.name is StateName.FAILED:
                release(batch, batch.items[item_id])
    return given_up


def _give_up(batch: Batch, custody: Custody, item_id: int, name: StateName, attempt: int) -> bool:
    session, links = custody.session, batch.settings.links
    if name is not StateName.RUNNING and not session.win(item_id, claim_mark(attempt), links):
        # RACE: a pilot has just claimed it; its attempt is failed as a running one's is.
        pass
    session.append("fail", id=item_id, attempt=attempt, failure="cancelled", error="cancelled", stages=[])
    session.win(item_id, fail_mark(attempt, Failure.CANCELLED), links)
    ((_, state),) = states(batch.paths, [item_id], batch.settings.policy)
    return state.name is StateName.FAILED


def retry(batch: Batch, only: frozenset[int] | None, *, force: bool = False) -> tuple[int, list[tuple[str, str]]]:
    """Make failed tomodirs ready again; return how many, and which were left alone with the reason.

    Raises:
        Busy: another client is at work on the batch.
    """
    again = 0
    taken = []
    with custody_of(batch, force=force) as custody:
        ids = [item_id for item_id in batch.items.ids if only is None or item_id in only]
        for item_id, state in list(states(batch.paths, ids, batch.settings.policy)):
            if state.name is not StateName.FAILED:
                continue
            why = _registered_by_others(batch, item_id)
            if why:
                taken.append((batch.items[item_id].path, why))
            elif custody.session.win(item_id, f"retry.{state.attempt:03d}", batch.settings.links):
                again += 1
    return again, taken


def _registered_by_others(batch: Batch, item_id: int) -> str:
    """Make sure that a tomodir is registered for this batch; return who has it otherwise."""
    item = batch.items[item_id]
    tomodir = batch.tomodir(item)
    if not os.path.isdir(tomodir):
        return "the tomodir is gone"
    found = read_registration(tomodir)
    if found is None:
        sim_type = "+".join({"modelling": "mod", "inversion": "inv"}[str(one["stage"])] for one in item.stages)
        found = register(tomodir, batch.paths, item_id, this_process(), sim_type)
    if found is None or (found.batch_id, found.item_id) == (batch.batch_id, item_id):
        return ""
    return found.describe()
