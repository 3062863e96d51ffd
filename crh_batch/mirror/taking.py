"""Names of a stage: taken from there first, written here when the sessions that they speak of are here."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from crh_batch.errors import MirrorDiffers
from crh_batch.hosts.base import FarHost
from crh_batch.ledger import durable
from crh_batch.ledger.paths import token_of
from crh_batch.ledger.session import holder_of, list_sessions
from crh_batch.ledger.settings import read_settings
from crh_batch.mirror.answers import parse_counts, parse_names, size_of, understood
from crh_batch.mirror.for_all import is_of_all, note_for_stage
from crh_batch.mirror.naming import is_of_stage, names_here, shards_of
from crh_batch.mirror.stage import Stage, read_stages

_TIMEOUT_S = 600.0


class Taken:
    """Names that were taken and are not written here yet.

    Args:
        answers: as they came, still packed: names of 100,000 tomodirs are 100 MB otherwise.
        here: how many names of each shard were here before, if that was looked at.
    """

    def __init__(
        self, stage: Stage, far: FarHost, answers: Sequence[Mapping[str, Any]], here: Mapping[str, int]
    ) -> None:
        self._stage = stage
        self._host = far.name
        self._answers = answers
        self._here = dict(here)
        self._of_batch: set[str] = set()
        self.size = sum(size_of(answer) for answer in answers)

    def write(self) -> bool:
        """Make the names here; return whether all could be: one whose session isn't here has to wait.

        Raises:
            LedgerError: one can't be made, or stands here for another session.
        """
        tokens = set(list_sessions(self._stage.batch))
        links = read_settings(self._stage.batch).links
        several = len(read_stages(self._stage.batch)) > 1
        complete = True
        for answer in self._answers:
            of_all = []
            for path, target in self._names(answer):
                shard, _, name = path.rpartition("/")
                if not shard:
                    self._of_batch.add(name)
                if token_of(target) not in tokens:
                    complete = False
                elif not is_of_stage(self._stage, shard, name):
                    # Of a newer crh-batch, or nothing of ours.
                    continue
                elif several and not shard and is_of_all(name):
                    of_all.append((name, target))
                else:
                    self._make(path, target, links)
            note_for_stage(self._stage, of_all)
        return complete

    def lacking(self) -> list[str]:
        """Return the shards of which more names are here than there, if that was looked at; after ``write``.

        Those of the whole batch, which are few, are always taken all again then.
        """
        if not self._here:
            return []
        with understood(self._host, self._stage.there.names):
            there = parse_counts(self._answers[-1])
        found = [shard for shard, count in self._here.items() if count > there.get(shard, 0)]
        of_batch = {name for name in names_here(self._stage, "") if is_of_all(name)}
        return found if of_batch <= self._of_batch else ["", *found]

    def _names(self, answer: Mapping[str, Any]) -> list[tuple[str, str]]:
        with understood(self._host, self._stage.there.names):
            return parse_names(answer)

    def _make(self, path: str, target: str, links: str) -> None:
        paths = self._stage.batch
        name = os.path.join(paths.names, path)
        if not durable.win_name(name, target, links):
            raise MirrorDiffers(
                f"{name}: is the name of {holder_of(name)!r}, and of {token_of(target)!r} on {self._host}",
                "That can't be unless files of the batch were changed by hand, here or there. crh-batch verify there, "
                "and move the batch's directory here away, if what is there is right.",
                name,
            )


def take_names(stage: Stage, far: FarHost, *, all_again: bool) -> Taken:
    """Take the names that a stage has.

    Args:
        all_again: all that aren't here; else those that this connection didn't bring yet.

    Raises:
        HostError: the machine can't be reached.
    """
    have = {shard: _count_and_sum(names) for shard, names in _all_here(stage)} if all_again else {}
    answers = []
    sent = "first"
    while True:
        answer = far.ask("names", directory=stage.there.names, sent=sent, have=have, timeout_s=_TIMEOUT_S)
        answers.append(answer)
        if not answer.get("more"):
            return Taken(stage, far, answers, {shard: count for shard, (count, _) in have.items()})
        sent = "more"


def _all_here(stage: Stage) -> Iterator[tuple[str, list[str]]]:
    for shard in shards_of(stage):
        yield shard, names_here(stage, shard)


def _count_and_sum(names: Iterable[str]) -> tuple[int, str]:
    """Return what the other side compares with what it has (``names`` in hosts/remote_ledger.py)."""
    ordered = sorted(os.fsencode(name) for name in names)
    return len(ordered), hashlib.sha256(b"\n".join(ordered)).hexdigest()
