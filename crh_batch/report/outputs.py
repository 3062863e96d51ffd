"""What programs printed, read from the packs: also of failed attempts, whose files never reach the tomodir."""

from __future__ import annotations

import posixpath

from crh_batch.ledger.batch import Batch
from crh_batch.ledger.names import StateName, claim_mark, states
from crh_batch.ledger.pack import Record, open_record
from crh_batch.ledger.session import holder_of, read_events

# Enough of a file to see what went wrong.
_TAIL_BYTES = 20_000


def read_outputs(batch: Batch, item_id: int) -> list[tuple[str, str]]:
    """Return the texts of the last attempt that ended, oldest file first: name in the tomodir, and the end of it."""
    found = last_record(batch, item_id)
    if found is None:
        return []
    texts = []
    with open_record(batch.paths.pack(found.token), found) as archive:
        for member in archive:
            if _is_text(member.name):
                stream = archive.extractfile(member)
                content = stream.read() if stream else b""
                text = content[-_TAIL_BYTES:].replace(b"\0", b"").decode(errors="replace")
                texts.append((member.name, text))
    return texts


def _is_text(name: str) -> bool:
    base = posixpath.basename(name)
    return base in ("error.dat", "inv.ctr") or (base.startswith("crh.") and base.endswith((".out", ".err")))


def last_record(batch: Batch, item_id: int) -> Record | None:
    """Return where the files of the last attempt that ended are; None if there is no such attempt."""
    ((_, state),) = states(batch.paths, [item_id], batch.settings)
    tokens = []
    if state.name in (StateName.DONE, StateName.COLLECTED):
        tokens.append(holder_of(batch.paths.name(item_id, "done")))
    for attempt in range(state.attempt, 0, -1):
        tokens.append(holder_of(batch.paths.name(item_id, claim_mark(attempt))))
    for token in tokens:
        record = _record_of(batch, token, item_id) if token else None
        if record is not None:
            return record
    return None


def _record_of(batch: Batch, token: str, item_id: int) -> Record | None:
    record = None
    for event in read_events(batch.paths, token):
        if event["event"] in ("done", "fail") and event.get("id") == item_id and isinstance(event.get("record"), dict):
            record = Record.from_json(token, event["record"])
    return record
