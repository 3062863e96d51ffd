"""Names that clients here made before the stage had arrived: they are made there before any pilot looks.

Nothing is written down about them: what this side's clients have made, and a stage lacks, is what it is owed.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from crh_batch.hosts.base import FarHost
from crh_batch.ledger.paths import BatchPaths, session_target
from crh_batch.ledger.session import holder_of, read_header
from crh_batch.mirror.for_all import is_of_all
from crh_batch.mirror.making import make_there
from crh_batch.mirror.naming import names_here, shards_of
from crh_batch.mirror.stage import Stage

_AT_ONCE = 2000


def bring_owed(stage: Stage, far: FarHost) -> None:
    """Make all names there that clients here have made for a stage; before its pilots are started.

    Raises:
        HostError: the machine can't be reached.
        LedgerError: what is here can't be read.
    """
    make_owed(stage, far, ["", *shards_of(stage)])


def make_owed(stage: Stage, far: FarHost, shards: Iterable[str]) -> None:
    """Make those names of some shards there that clients here have made and that aren't there.

    Names of pilots are theirs to make, whatever an old listing there says.

    Raises:
        HostError: the machine can't be reached.
        LedgerError: what is here can't be read.
    """
    candidates = [one for shard in shards for one in _of_clients(stage, shard)]
    for start in range(0, len(candidates), _AT_ONCE):
        some = candidates[start : start + _AT_ONCE]
        found = far.ask("exists", paths=[f"{stage.there.names}/{path}" for path, _ in some])["exists"]
        owed = [one for one, is_there in zip(some, found) if not is_there]
        names = [(path, session_target(token, in_shard="/" in path)) for path, token in owed]
        # Whose they are there is seen when names are taken the next time.
        list(make_there(stage, far, names, sorted({token for _, token in owed})))


def _of_clients(stage: Stage, shard: str) -> Iterator[tuple[str, str]]:
    """Yield the names of a shard that clients have made, with their sessions."""
    paths = stage.batch
    is_client: dict[str, bool] = {}
    for name in names_here(stage, shard):
        if not shard and not is_of_all(name):
            continue
        path = f"{shard}/{name}" if shard else name
        token = holder_of(f"{paths.names}/{path}")
        if token and token not in is_client:
            is_client[token] = _is_client(paths, token)
        if token and is_client[token]:
            yield path, token


def _is_client(paths: BatchPaths, token: str) -> bool:
    header = read_header(paths, token)
    return header is not None and header.kind == "client"
