"""One tomodir's history, told by the events of all sessions that its names point to."""

from __future__ import annotations

import os
from typing import Any

from crh_batch.ledger.batch import Batch
from crh_batch.ledger.names import Failure, list_shard, parse_name
from crh_batch.ledger.paths import SHARD_SIZE
from crh_batch.ledger.session import holder_of, read_events, read_header


def history(batch: Batch, item_id: int) -> list[dict[str, Any]]:
    """Return what is known of a tomodir, oldest first; each event with the host of its session."""
    shard = item_id // SHARD_SIZE
    tokens: dict[str, list[str]] = {}
    for name in list_shard(batch.paths, shard):
        parsed = parse_name(name)
        if parsed is not None and parsed[0] == item_id:
            token = holder_of(os.path.join(batch.paths.shard(shard), name))
            if token:
                tokens.setdefault(token, []).append(name)
    events = []
    for token in tokens:
        header = read_header(batch.paths, token)
        host = header.who.host if header else ""
        events += [
            {**event, "session": event.get("session", token), "host": host}
            for event in read_events(batch.paths, token)
            if event.get("id") == item_id
        ]
    begun = {event.get("attempt") for event in events if event["event"] == "claim"}
    for event in events:
        if event.get("failure") == Failure.CANCELLED.value and event.get("attempt") not in begun:
            # Giving up what didn't run takes a number as an attempt does, and is none.
            event["attempt"] = None
            event["event"] = Failure.CANCELLED.value
    return sorted(events, key=lambda event: float(event.get("time") or 0))
