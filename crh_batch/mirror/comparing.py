"""Comparing a mirror's names with those of a stage, one by one: a refresh trusts what is here already."""

from __future__ import annotations

import os

from crh_batch.hosts.base import FarHost
from crh_batch.ledger.paths import token_of
from crh_batch.ledger.session import holder_of, read_header
from crh_batch.mirror.answers import parse_names, understood
from crh_batch.mirror.for_all import is_of_all
from crh_batch.mirror.gone import noticing
from crh_batch.mirror.naming import names_here, shards_of
from crh_batch.mirror.stage import Stage

_TIMEOUT_S = 600.0
# No sum is that of so many names, so all are sent.
_ALL_ANEW = [-1, ""]


def names_that_differ(stage: Stage, far: FarHost) -> dict[str, str]:
    """Return the names here that say something else than those there, by their paths here, with what they say.

    A name that only one side has is not among them if it may still be brought to the other.

    Raises:
        StageGone: it isn't there any more.
        HostError: the machine can't be reached.
        LedgerError: a session here can't be read.
    """
    if not stage.has_arrived:
        return {}
    shards = ["", *shards_of(stage)]
    with noticing(stage, far):
        there = _names_there(stage, far, shards)
    found = {}
    for shard in shards:
        for name in names_here(stage, shard):
            below = f"{shard}/{name}" if shard else name
            path = os.path.join(stage.batch.names, below)
            if not shard and is_of_all(name):
                continue  # that it stands there is all that counts of it
            token = holder_of(path)
            if token and below in there and there[below] != token:
                found[path] = f"it is the name of {token!r} here, and of {there[below]!r} on {far.name}"
            elif token and below not in there and shard and _is_of_pilot(stage, token):
                found[path] = f"it is the name of {token!r} here, and isn't there on {far.name}"
    return found


def _names_there(stage: Stage, far: FarHost, shards: list[str]) -> dict[str, str]:
    """Return the session behind each name there."""
    found: dict[str, str] = {}
    sent = "first"
    while True:
        have = dict.fromkeys(shards, _ALL_ANEW)
        answer = far.ask("names", directory=stage.there.names, sent=sent, have=have, timeout_s=_TIMEOUT_S)
        with understood(far.name, stage.there.names):
            found.update((path, token_of(target)) for path, target in parse_names(answer))
        if not answer.get("more"):
            return found
        sent = "more"


def _is_of_pilot(stage: Stage, token: str) -> bool:
    header = read_header(stage.batch, token)
    return header is not None and header.kind == "pilot"
