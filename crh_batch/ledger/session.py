"""Sessions: one control file for one life of a pilot or client.

The first line says who it is and is durable before the session makes any name. Each line after it is one event, a JSON
object with ``event`` and ``time`` (seconds since 1970, this machine's clock: for reading, never for deciding). A torn
last line is what a crash leaves; readers pass over it.
"""

from __future__ import annotations

import errno
import json
import os
import threading
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from crh_batch.errors import LedgerError, NewerSchema
from crh_batch.ledger import durable
from crh_batch.ledger.arbiter import arbiter_of, is_ours, refuse_mirror
from crh_batch.ledger.events import parse_event
from crh_batch.ledger.identity import Who, this_process
from crh_batch.ledger.paths import BatchPaths, session_target, token_of
from crh_batch.ledger.reading import lines_of, moment, open_regular, parse_json, taken, text, whole_number
from crh_batch.ledger.trust import check_batch
from crh_batch.tomodir.files import explain

SCHEMA = 1
# What opening something else than a name gives.
_NO_NAME = frozenset({errno.EINVAL, errno.ENXIO, errno.EISDIR, errno.ENODEV})


@dataclass(frozen=True)
class Job:
    """The scheduler's job that a session runs in.

    Args:
        scheduler: ``slurm`` or ``sge``; empty outside of jobs.
        job_id: the job's id, of the array when it is one.
        task: the array task's index, empty if it is none.
        restart: how often the scheduler has started this job again; SGE says only whether (1) or not (0).
    """

    scheduler: str = ""
    job_id: str = ""
    task: str = ""
    restart: int = 0

    def to_json(self) -> dict[str, Any]:
        """Return the plain form."""
        return {"scheduler": self.scheduler, "job_id": self.job_id, "task": self.task, "restart": self.restart}

    @classmethod
    def from_json(cls, data: Any) -> Job:
        """Read the plain form; anything unexpected gives a job that nothing is known about."""
        if not isinstance(data, Mapping):
            return cls()
        scheduler, job_id, task = (taken(text, data.get(key), "") for key in ("scheduler", "job_id", "task"))
        return cls(scheduler, job_id, task, taken(whole_number, data.get("restart"), 0))


@dataclass(frozen=True)
class SessionHeader:
    """A session's first line."""

    token: str
    kind: str
    who: Who
    job: Job
    started: float
    submission: str = ""
    cores: int = 0


class Session:
    """The running process's own session, open for appending; safe to use from several threads.

    Events are not durable before ``sync``; the protocol calls it where an order matters.
    """

    def __init__(self, paths: BatchPaths, header: SessionHeader, descriptor: int) -> None:
        self.paths = paths
        self.header = header
        self.token = header.token
        self._descriptor = descriptor
        self._lock = threading.Lock()
        self._torn = False

    @classmethod
    def begin(
        cls,
        paths: BatchPaths,
        kind: str,
        *,
        label: str = "",
        job: Job | None = None,
        submission: str = "",
        cores: int = 0,
    ) -> Session:
        """Create a session's control file, durably.

        Args:
            kind: ``pilot`` or ``client``.
            label: begins the token, so that a listing of sessions can be read; letters, digits, dots, dashes.

        Raises:
            NotTrusted: others than this user could have written to the batch.
            LedgerError: a pilot can't work on this copy of the batch.
        """
        check_batch(paths)
        if kind == "pilot":
            refuse_mirror(paths)
        token = f"{label or kind}-{durable.random_word(10)}"
        header = SessionHeader(token, kind, this_process(), job or Job(), time.time(), submission, cores)
        line = {
            "schema": SCHEMA,
            "session": token,
            "kind": kind,
            "who": header.who.to_json(),
            "job": header.job.to_json(),
            "time": header.started,
            "submission": submission,
            "cores": cores,
        }
        path = paths.session(token)
        if not durable.create_exclusively(path, json.dumps(line).encode() + b"\n"):
            raise LedgerError(f"{path}: a session of this name exists already", "Run the command again.", path)
        durable.sync_directory(paths.sessions)
        descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CLOEXEC)
        return cls(paths, header, descriptor)

    def append(self, event: str, **fields: Any) -> None:
        """Add one event."""
        line = json.dumps({"event": event, "time": round(time.time(), 3), **fields}) + "\n"
        with self._lock:
            # A line that an error cut short must not swallow this one.
            data = (b"\n" if self._torn else b"") + line.encode()
            self._torn = True
            durable.write_all(self._descriptor, data)
            self._torn = False

    def sync(self) -> None:
        """Make all events so far durable."""
        durable.sync(self._descriptor)

    def close(self) -> None:
        """Close the file; nothing more can be appended."""
        with self._lock:
            if self._descriptor >= 0:
                os.close(self._descriptor)
                self._descriptor = -1

    def win(self, item_id: int, mark: str, links: str, *, wait_s: float = durable.VISIBILITY_WAIT_S) -> bool:
        """Make a tomodir's name for this session; return whether it is ours."""
        if not is_ours(mark) and (arbiter := arbiter_of(self.paths)) is not None:
            return arbiter.win(self, [(item_id, mark)])[0]
        return self.win_here(item_id, mark, links, wait_s=wait_s)

    def win_here(self, item_id: int, mark: str, links: str, *, wait_s: float = durable.VISIBILITY_WAIT_S) -> bool:
        """Make a tomodir's name in this directory, whoever else has a word in it."""
        target = session_target(self.token, in_shard=True)
        return durable.win_name(self.paths.name(item_id, mark), target, links, wait_s=wait_s)

    def win_for_batch(self, mark: str, links: str) -> bool:
        """Make a name for the whole batch; return whether it is ours."""
        if not is_ours(mark) and (arbiter := arbiter_of(self.paths)) is not None:
            return arbiter.win_for_batch(self, mark)
        target = session_target(self.token, in_shard=False)
        return durable.win_name(self.paths.batch_name(mark), target, links)


def holder_of(path: str, *, wait_s: float = 0.0) -> str | None:
    """Return the token of the session that a name belongs to; None if the name isn't there.

    Where something stands that is no name (a directory, a pipe), it is there and nobody's: empty.

    Raises:
        LedgerError: it can't be read now.
    """
    try:
        target = durable.read_name(path, wait_s=wait_s)
    except OSError as error:
        if error.errno in _NO_NAME:
            return ""
        raise LedgerError(
            f"{path}: the name can't be read: {explain(error)}",
            "Check the filesystem and your rights there, then run the command again.",
            path,
        ) from error
    return None if target is None else token_of(target)


def read_header(paths: BatchPaths, token: str) -> SessionHeader | None:
    """Read a session's first line; None if the file is missing or has no complete first line.

    Raises:
        NewerSchema: a newer crh-batch wrote it.
    """
    try:
        with open_regular(paths.session(token)) as stream:
            line = stream.readline(1 << 20)
    except (OSError, ValueError):
        # Nobody is judged by a file that can't be read: who it belongs to is unknown, and never dead.
        return None
    return _parse_header(paths, token, line)


def _parse_header(paths: BatchPaths, token: str, line: bytes) -> SessionHeader | None:
    try:
        data = parse_json(line) if line.endswith(b"\n") else None
    except ValueError:
        return None
    if not isinstance(data, dict):
        return None
    schema = data.get("schema")
    if isinstance(schema, int) and schema > SCHEMA:
        raise NewerSchema(
            f"{paths.session(token)}: written with schema {schema}, this crh-batch knows {SCHEMA}",
            "Use the newer crh-batch.",
            paths.session(token),
            schema,
            SCHEMA,
        )
    return SessionHeader(
        token,
        taken(text, data.get("kind"), ""),
        Who.from_json(data.get("who")),
        Job.from_json(data.get("job")),
        taken(moment, data.get("time"), 0.0),
        taken(text, data.get("submission"), ""),
        taken(whole_number, data.get("cores"), 0),
    )


def read_events(paths: BatchPaths, token: str) -> Iterator[dict[str, Any]]:
    """Yield a session's events in order; torn and unreadable lines are passed over."""
    try:
        stream = open_regular(paths.session(token))
    except (OSError, ValueError):
        return
    with stream:
        for number, line in enumerate(lines_of(stream)):
            event = parse_event(line) if number else None
            if event is not None:
                yield event


def list_sessions(paths: BatchPaths) -> list[str]:
    """Return the tokens of all sessions of a batch."""
    try:
        names = os.listdir(paths.sessions)
    except FileNotFoundError:
        return []
    return sorted(name[: -len(".crh")] for name in names if name.endswith(".crh") and not name.startswith("."))
