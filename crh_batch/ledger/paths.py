"""Every name that crh-batch uses on disk, spelled once.

A batch directory lies in ``<root>/.crh-batch/<batch id>/``; docs/protocol.md, "Layout", shows it as a listing.
"""

from __future__ import annotations

import os
from dataclasses import dataclass

STATE_DIRECTORY = ".crh-batch"
REGISTRATION_SUFFIX = ".crh"
PROVENANCE = "exe/crh.json"
SHARD_SIZE = 1000
ID_DIGITS = 6
MAX_ITEMS = 10**ID_DIGITS


def registration_path(tomodir: str) -> str:
    """Return the control file of a tomodir: beside it, named after it."""
    return os.path.normpath(tomodir) + REGISTRATION_SUFFIX


def program_log(stage: str, stream: str) -> str:
    """Return where a stage's output is kept in the tomodir; ``stream`` is ``out`` or ``err``."""
    return f"exe/crh.{stage}.{stream}"


@dataclass(frozen=True)
class BatchPaths:
    """The places inside one batch directory.

    Args:
        directory: the batch directory, as the process at hand sees it.
    """

    directory: str

    def _in(self, *parts: str) -> str:
        return os.path.join(self.directory, *parts)

    @property
    def batch_id(self) -> str:
        """The batch's name, which is its directory's."""
        return os.path.basename(os.path.abspath(self.directory))

    @property
    def root(self) -> str:
        """The directory that item paths are relative to."""
        return os.path.dirname(os.path.dirname(os.path.abspath(self.directory)))

    @property
    def settings(self) -> str:
        """batch.json: settings, written once."""
        return self._in("batch.json")

    @property
    def items(self) -> str:
        """items.jsonl: one line a tomodir, written once; a batch counts from the moment it exists."""
        return self._in("items.jsonl")

    @property
    def submissions(self) -> str:
        """submissions.jsonl: intents and job ids, appended by clients."""
        return self._in("submissions.jsonl")

    @property
    def liveness(self) -> str:
        """liveness.json: when jobs were first missing from the scheduler's answers; a hint that may be lost."""
        return self._in("liveness.json")

    @property
    def pilot(self) -> str:
        """pilot.pyz: the frozen pilot."""
        return self._in("pilot.pyz")

    @property
    def programs(self) -> str:
        """bin/: the frozen programs."""
        return self._in("bin")

    @property
    def jobs(self) -> str:
        """jobs/: scripts as submitted."""
        return self._in("jobs")

    @property
    def logs(self) -> str:
        """logs/: what schedulers and local pilots wrote, sharded by submission."""
        return self._in("logs")

    @property
    def sessions(self) -> str:
        """sessions/: one control file a session."""
        return self._in("sessions")

    @property
    def packs(self) -> str:
        """packs/: one file of results a session."""
        return self._in("packs")

    @property
    def dask(self) -> str:
        """dask/: a directory for each dask scheduler of the batch, which nobody but its owner can read."""
        return self._in("dask")

    @property
    def stages(self) -> str:
        """stages/: where the batch's pilots run if they don't see this filesystem; a directory for each such place."""
        return self._in("stages")

    @property
    def names(self) -> str:
        """names/: the exclusive names, sharded."""
        return self._in("names")

    def registering(self, item_id: int) -> str:
        """Return the file that becomes a tomodir's registration by a link; it exists for moments only."""
        return self._in("registering", f"{item_id:0{ID_DIGITS}d}")

    @property
    def replaced(self) -> str:
        """replaced/: old outputs that collect moved out of a tomodir; nothing is lost."""
        return self._in("replaced")

    def session(self, token: str) -> str:
        """Return a session's control file."""
        return self._in("sessions", f"{token}.crh")

    def pack(self, token: str) -> str:
        """Return a session's pack."""
        return self._in("packs", f"{token}.pack")

    def shard(self, number: int) -> str:
        """Return the directory of one shard of names."""
        return self._in("names", f"{number:03d}")

    def name(self, item_id: int, mark: str) -> str:
        """Return the path of a name such as ``000017.claim.001``."""
        return self._in("names", f"{item_id // SHARD_SIZE:03d}", f"{item_id:0{ID_DIGITS}d}.{mark}")

    def batch_name(self, mark: str) -> str:
        """Return the path of a name that stands for the whole batch, such as ``custody.001``."""
        return self._in("names", mark)

    def directories(self, shards: int) -> list[str]:
        """Return the directories that a new batch needs, parents first."""
        fixed = [self.programs, self.jobs, self.logs, self.sessions, self.packs, self.names, self._in("registering")]
        return fixed + [self.shard(number) for number in range(shards)]


def session_target(token: str, *, in_shard: bool) -> str:
    """Return what a name points to: the session's control file, relative to the name."""
    return f"{'../../' if in_shard else '../'}sessions/{token}.crh"


def token_of(target: str) -> str:
    """Return the session token in what a name points to."""
    return os.path.basename(target)[: -len(".crh")]
