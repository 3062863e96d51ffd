"""Looking at batches whose pilots are elsewhere: what is known of them there is brought here first."""

from __future__ import annotations

import time
from collections.abc import Sequence

from crh_batch.cli.common import talk
from crh_batch.errors import HostError
from crh_batch.hosts.transfers import transferring
from crh_batch.ledger.batch import Batch
from crh_batch.mirror.refresh import known_since, refresh
from crh_batch.mirror.stage import is_staged


def see(batch: Batch) -> None:
    """Bring here what is new of a batch; say how old the picture is where a cluster can't be reached."""
    if is_staged(batch.paths):
        say_silent(batch, refresh(batch))


def see_with_results(batch: Batch) -> list[HostError]:
    """Bring the results too; return what went wrong, which has been said."""
    if not is_staged(batch.paths):
        return []
    with transferring("fetching results") as transfer:
        errors = refresh(batch, packs=True, on_bytes=transfer.add, on_total=transfer.expect)
    say_silent(batch, errors)
    return errors


def say_silent(batch: Batch, errors: Sequence[HostError]) -> None:
    """Say which clusters can't be reached, and how old what is shown of them is."""
    for error in errors:
        talk(f"crh-batch: {error}")
    if errors:
        since = known_since(batch)
        when = time.strftime("at %Y-%m-%d %H:%M:%S", time.localtime(since)) if since else "when it was submitted"
        talk(f"batch {batch.batch_id}: this is what was known {when}")
