"""submissions.jsonl: what was asked of schedulers, written before it is asked and again when it was answered.

An intent without an answer is a submission that may or may not exist; whoever has the batch's custody next looks for
its token at the scheduler before anything is sent again.
"""

from __future__ import annotations

import json
import os
import re
import time
from dataclasses import dataclass, replace
from typing import Any

from crh_batch.errors import LedgerError
from crh_batch.ledger import durable
from crh_batch.ledger.identity import Who
from crh_batch.ledger.paths import BatchPaths
from crh_batch.ledger.reading import (
    FILE_LIMIT_BYTES,
    moment,
    open_regular,
    parse_json,
    read_bytes,
    text,
    whole_number,
)
from crh_batch.ledger.sharing import share
from crh_batch.tomodir.files import explain

# A word that can't be taken for an option, a path or a list.
_WORD = re.compile(r"\w[\w.-]*\Z", re.ASCII)


@dataclass(frozen=True)
class Submission:
    """One request for pilots.

    Args:
        token: unique; part of the job's name, and of the pilots' sessions.
        engine: ``slurm``, ``sge`` or ``local``.
        threads: the class that the pilots take; 0 for all.
        pilots: how many were asked for.
        job_id: the scheduler's answer; empty while there is none.
        process: for a local pilot, which process it is.
        refused: why the scheduler refused; empty if it didn't.
        time: when it was asked, seconds since 1970.
        cores: cores a pilot, as asked for; 0 if that isn't written.
        memory_bytes: memory a pilot, as asked for; 0 if that isn't written.
        after: the job behind which it comes, as a follow-up; empty if it is none.
        uid: the user who asked, by number; None if that isn't written.
        host: the machine behind SSH whose scheduler was asked; empty for the one that the client ran on.
        stage: the number of the stage that the pilots run in; 0 where they see this filesystem.
    """

    token: str
    engine: str
    threads: int
    pilots: int
    time: float
    job_id: str = ""
    process: Who | None = None
    refused: str = ""
    cores: int = 0
    memory_bytes: int = 0
    after: str = ""
    uid: int | None = None
    host: str = ""
    stage: int = 0

    @property
    def is_open(self) -> bool:
        """Whether nobody knows if it reached the scheduler."""
        return not self.job_id and self.process is None and not self.refused


def _append(paths: BatchPaths, **fields: Any) -> None:
    line = json.dumps({"time": round(time.time(), 3), **fields}).encode() + b"\n"
    descriptor = os.open(paths.submissions, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o644)
    try:
        share(descriptor, paths.directory)
        # Asked of the open file: a node may take one that another has just made for missing.
        if not _ends_with_newline(paths.submissions):
            # A torn line of a client that died must not swallow this one.
            line = b"\n" + line
        durable.write_all(descriptor, line)
        durable.sync(descriptor)
    finally:
        os.close(descriptor)
    # Each time: the one that made the file may have failed at this step.
    durable.sync_directory(paths.directory)


def _ends_with_newline(path: str) -> bool:
    with open_regular(path) as stream:
        if not stream.seek(0, os.SEEK_END):
            return True
        stream.seek(-1, os.SEEK_END)
        return stream.read(1) == b"\n"


def record_intent(
    paths: BatchPaths,
    engine: str,
    threads: int,
    pilots: int,
    *,
    cores: int = 0,
    memory_bytes: int = 0,
    after: str = "",
    host: str = "",
    stage: int = 0,
) -> Submission:
    """Write down, durably, that pilots will be asked for; return the submission with its new token."""
    token = durable.random_word(10)
    more: dict[str, Any] = {
        "cores": cores,
        "memory_bytes": memory_bytes,
        "after": after,
        "host": host,
        "stage": stage,
    }
    more = {key: value for key, value in more.items() if value}
    _append(paths, event="intent", token=token, engine=engine, threads=threads, pilots=pilots, uid=os.geteuid(), **more)
    return Submission(token, engine, threads, pilots, time.time(), **more)


def record_submitted(paths: BatchPaths, submission: Submission, job_id: str) -> Submission:
    """Write down the scheduler's answer."""
    _append(paths, event="submitted", token=submission.token, job_id=job_id)
    return replace(submission, job_id=job_id)


def record_started(paths: BatchPaths, submission: Submission, who: Who) -> Submission:
    """Write down which process a local pilot is."""
    _append(paths, event="started", token=submission.token, process=who.to_json())
    return replace(submission, process=who)


def record_refused(paths: BatchPaths, submission: Submission, why: str) -> Submission:
    """Write down that the scheduler refused, or that an open intent never reached it."""
    _append(paths, event="refused", token=submission.token, why=why)
    return replace(submission, refused=why or "refused")


def submission_mark(token: str) -> str:
    """Return the name, for the whole batch, of the job that has a submission."""
    return f"submission.{token}"


def read_submissions(paths: BatchPaths) -> list[Submission]:
    """Return all submissions of a batch in the order of their intents; unreadable lines are passed over."""
    found: dict[str, Submission] = {}
    try:
        lines = read_bytes(paths.submissions, FILE_LIMIT_BYTES).split(b"\n")
    except FileNotFoundError:
        return []
    except (OSError, ValueError) as error:
        # What was asked of the scheduler is not known then, and nothing may be asked again.
        raise LedgerError(
            f"{paths.submissions}: can't be read: {explain(error)}",
            "It must be a plain file that you can read; put back what was there, then run the command again.",
            paths.submissions,
        ) from error
    for line in lines:
        try:
            _take_in(found, parse_json(line))
        except (ValueError, KeyError, TypeError):
            continue
    return list(found.values())


def _take_in(found: dict[str, Submission], data: dict[str, Any]) -> None:
    token = _word(data["token"])
    event = data["event"]
    if event == "intent":
        found[token] = Submission(
            token,
            _word(data["engine"]),
            whole_number(data["threads"]),
            whole_number(data["pilots"]),
            moment(data["time"]),
            cores=whole_number(data.get("cores", 0)),
            memory_bytes=whole_number(data.get("memory_bytes", 0)),
            after=text(data.get("after", "")),
            uid=whole_number(data["uid"]) if "uid" in data else None,
            host=text(data.get("host", "")),
            stage=whole_number(data.get("stage", 0)),
        )
    elif event == "submitted":
        found[token] = replace(found[token], job_id=_word(data["job_id"]))
    elif event == "started":
        found[token] = replace(found[token], process=Who.from_json(data["process"]))
    elif event == "refused":
        found[token] = replace(found[token], refused=text(data["why"]) or "refused")


def _word(value: Any) -> str:
    """Return a word that goes into names, and into arguments of a scheduler's commands.

    Raises:
        ValueError: it is something else.
    """
    if not isinstance(value, str) or not _WORD.match(value):
        raise ValueError("not a word")
    return value
