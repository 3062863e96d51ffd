"""Looking at batches whose pilots are elsewhere: what is known of them there is brought here first."""

from __future__ import annotations

import time
from collections.abc import Sequence

import click

from crh_batch.cli.common import talk
from crh_batch.errors import HostError, StageGone
from crh_batch.hosts.transfers import transferring
from crh_batch.ledger.batch import Batch
from crh_batch.ledger.names import StateName, states
from crh_batch.mirror.refresh import known_since, refresh
from crh_batch.mirror.stage import is_staged

_TOLD = "crh_batch.told"
_GONE = "crh_batch.gone"


def see(batch: Batch) -> None:
    """Bring here what is new of a batch; say how old the picture is where a cluster can't be reached."""
    if is_staged(batch.paths) and not _is_settled(batch):
        say_silent(batch, refresh(batch))


def _is_settled(batch: Batch) -> bool:
    """Return whether nothing can happen any more to a batch's tomodirs, so that no cluster need be asked."""
    every = states(batch.paths, batch.items.ids, batch.settings)
    return all(state.name in (StateName.COLLECTED, StateName.MOVED) for _, state in every)


def see_with_results(batch: Batch) -> list[HostError]:
    """Bring the results too; return what went wrong, which has been said."""
    if not is_staged(batch.paths) or _is_settled(batch):
        return []
    with transferring("fetching results") as transfer:
        errors = refresh(batch, packs=True, on_bytes=transfer.add, on_total=transfer.expect)
    say_silent(batch, errors)
    return errors


def say_silent(batch: Batch, errors: Sequence[HostError]) -> None:
    """Say which clusters can't be reached, and how old what is shown of them is; once in a command."""
    _gone_hosts(batch).update(error.host for error in errors if isinstance(error, StageGone))
    said = [str(error) for error in errors]
    if _was_told(batch, said):
        return
    for error in errors:
        talk(f"crh-batch: {error}")
    if errors:
        since = known_since(batch)
        when = time.strftime("at %Y-%m-%d %H:%M:%S", time.localtime(since)) if since else "when it was submitted"
        talk(f"batch {batch.batch_id}: this is what was known {when}")


def is_known_gone(batch: Batch, host: str) -> bool:
    """Return whether this command has found, and said, that a batch's stage on a machine is gone."""
    return host in _gone_hosts(batch)


def _gone_hosts(batch: Batch) -> set[str]:
    context = click.get_current_context(silent=True)
    if context is None:
        return set()
    gone: dict[str, set[str]] = context.meta.setdefault(_GONE, {})
    return gone.setdefault(batch.paths.directory, set())


def _was_told(batch: Batch, said: list[str]) -> bool:
    """Return whether just this was the last that this command said of a batch; from now on it is."""
    context = click.get_current_context(silent=True)
    if context is None:
        return False
    told: dict[str, list[str]] = context.meta.setdefault(_TOLD, {})
    before = told.get(batch.paths.directory)
    told[batch.paths.directory] = said
    return before == said
