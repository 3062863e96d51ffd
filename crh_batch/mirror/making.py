"""Names made in a stage by its own filesystem, after the sessions that they speak of."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from weakref import WeakKeyDictionary

from crh_batch.errors import HostError, LedgerError
from crh_batch.hosts.base import FarHost
from crh_batch.ledger.settings import read_settings
from crh_batch.mirror.stage import Stage
from crh_batch.tomodir.files import explain

# So many names are made by one request; that takes seconds on a slow filesystem.
AT_ONCE = 2000
_TIMEOUT_S = 600.0

# How many bytes of a session's file were brought to a stage by this process: (the batch there, token) -> bytes.
_brought: WeakKeyDictionary[FarHost, dict[tuple[str, str], int]] = WeakKeyDictionary()


def make_there(stage: Stage, far: FarHost, names: Sequence[tuple[str, str]], tokens: Sequence[str]) -> Iterator[bool]:
    """Make names in a stage; yield for each whether it is what was wanted, as the answers come.

    Args:
        names: paths below ``names/`` with what they are to point to.
        tokens: the sessions that they point to; what these have written is brought there first.

    Raises:
        HostError: the machine can't be reached; nobody knows which of the remaining names were made.
        LedgerError: a session here can't be read.
    """
    links = read_settings(stage.here).links
    brought = _brought.setdefault(far, {})
    for start in range(0, len(names), AT_ONCE):
        some = names[start : start + AT_ONCE]
        sizes = {token: os.path.getsize(stage.batch.session(token)) for token in tokens}
        news = {token: size for token, size in sizes.items() if brought.get((stage.there.directory, token)) != size}
        texts = {token: _read(stage, token) for token in news}
        answer = far.ask(
            "win",
            directory=stage.there.directory,
            links=links,
            sessions=texts,
            names=[list(one) for one in some],
            timeout_s=_TIMEOUT_S,
        )
        won = answer.get("won")
        if not isinstance(won, list) or len(won) != len(some):
            raise HostError(
                f"{far.name}: answers with {len(won or ())} names for {len(some)}", "Run it again.", far.name
            )
        brought.update({(stage.there.directory, token): len(text.encode()) for token, text in texts.items()})
        yield from (one is True for one in won)


def _read(stage: Stage, token: str) -> str:
    path = stage.batch.session(token)
    try:
        with open(path, "rb") as stream:
            # A line that is being written comes next time.
            content = stream.read()
        return content[: content.rfind(b"\n") + 1].decode()
    except (OSError, ValueError) as error:
        raise LedgerError(f"{path}: can't be read: {explain(error)}", "Run the command again.", path) from error
