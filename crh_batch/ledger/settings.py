"""batch.json: what all pilots of a batch share; written once."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from crh_batch.errors import BatchNotFound, LedgerError, NewerSchema
from crh_batch.ledger import durable
from crh_batch.ledger.memory import MemoryRule
from crh_batch.ledger.names import RetryPolicy
from crh_batch.ledger.paths import ID_DIGITS, MAX_ITEMS, BatchPaths
from crh_batch.ledger.reading import FILE_LIMIT_BYTES, any_number, moment, parse_json, read_bytes, text, whole_number
from crh_batch.tomodir.files import explain

SCHEMA = 1
# How long a pilot without work waits for it, where the batch doesn't say.
IDLE_S = 600.0
_FILE_OF_PROGRAM = re.compile(r"[^/\n]+\Z(?<!^\.)(?<!^\.\.)")


@dataclass(frozen=True)
class ItemClass:
    """Tomodirs that run alike: ids from ``first`` up to but not including ``stop``, all with ``threads`` cores."""

    threads: int
    first: int
    stop: int


@dataclass(frozen=True)
class Settings:
    """What all pilots of a batch share: the content of batch.json.

    Args:
        links: the kind of exclusive names, ``symlink`` or ``file`` (durable.find_link_kind).
        classes: id ranges, widest threads first; inside a range the longest comes first.
        programs: for each program its file below ``bin/`` and its sha256.
        after: for each tomodir that takes results of others of this batch, their ids; the same as in the items, so
            that states can be told without reading those.
        idle_s: how long a pilot stays that has nothing to do but may soon, in seconds.
        max_time_s: how long one attempt may take, in seconds; 0 for as long as its job.
        deadline: when nothing may run any more, seconds since 1970; 0 for never.
        keep_going: whether follow-up jobs are started as long as tomodirs are left.
        memory_mb: memory of a job that runs one tomodir at a time, as the user says, in MB of 2^20 bytes; 0 if it
            follows from the estimates.
        max_memory_mb: the most memory that a job can have; 0 if not known.
        container: words that are put before a program's path.
        share_gid: number of the group that the batch is shared with; 0 for none.
        extra: whatever else is worth knowing later: version, profile, who submitted.
    """

    links: str
    classes: tuple[ItemClass, ...]
    programs: Mapping[str, Mapping[str, str]]
    policy: RetryPolicy = RetryPolicy()
    scratch: str = ""
    after: Mapping[int, tuple[int, ...]] = field(default_factory=dict)
    idle_s: float = IDLE_S
    max_time_s: float = 0.0
    deadline: float = 0.0
    keep_going: bool = False
    memory_mb: int = 0
    max_memory_mb: int = 0
    container: tuple[str, ...] = ()
    share_gid: int = 0
    extra: Mapping[str, Any] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """Return the plain form."""
        return {
            "schema": SCHEMA,
            "links": self.links,
            "classes": [[one.threads, one.first, one.stop] for one in self.classes],
            "programs": {name: dict(entry) for name, entry in self.programs.items()},
            "charged_attempts": self.policy.charged_attempts,
            "walltime_attempts": self.policy.walltime_attempts,
            "scratch": self.scratch,
            **({"after": {str(key): list(ids) for key, ids in self.after.items()}} if self.after else {}),
            "idle_s": self.idle_s,
            **{key: value for key, value in self._if_set().items() if value},
            **self.extra,
        }

    @property
    def memory_rule(self) -> MemoryRule:
        """How much memory its tomodirs are given."""
        return MemoryRule(self.memory_mb, self.max_memory_mb)

    def _if_set(self) -> dict[str, Any]:
        return {
            "max_time_s": self.max_time_s,
            "deadline": self.deadline,
            "keep_going": self.keep_going,
            "memory_mb": self.memory_mb,
            "max_memory_mb": self.max_memory_mb,
            "container": list(self.container),
            "share_gid": self.share_gid,
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Settings:
        """Read the plain form.

        Raises:
            KeyError, TypeError, ValueError: it isn't one.
        """
        known = {"schema", "links", "classes", "programs", "charged_attempts", "walltime_attempts", "scratch"}
        known |= {"after", "idle_s", "max_time_s", "memory_mb", "max_memory_mb", "container", "deadline", "keep_going"}
        known |= {"share_gid"}
        return cls(
            links=_one_of(data["links"], (durable.SYMLINK, durable.FILE)),
            classes=tuple(_class(one) for one in data["classes"]),
            programs={text(name): _program(entry) for name, entry in data["programs"].items()},
            policy=RetryPolicy(whole_number(data["charged_attempts"]), whole_number(data["walltime_attempts"])),
            scratch=text(data.get("scratch", "")),
            after={
                _id(int(key[: ID_DIGITS + 1])): tuple(_id(one) for one in ids)
                for key, ids in data.get("after", {}).items()
            },
            idle_s=any_number(data.get("idle_s", IDLE_S)),
            max_time_s=any_number(data.get("max_time_s", 0)),
            deadline=moment(data.get("deadline", 0)),
            keep_going=bool(data.get("keep_going", False)),
            memory_mb=whole_number(data.get("memory_mb", 0)),
            max_memory_mb=whole_number(data.get("max_memory_mb", 0)),
            container=tuple(text(word) for word in data.get("container", ())),
            share_gid=whole_number(data.get("share_gid", 0)),
            extra={key: value for key, value in data.items() if key not in known},
        )


def _one_of(value: Any, known: tuple[str, ...]) -> str:
    if value not in known:
        raise ValueError(f"links is none of {', '.join(known)}")
    return str(value)


def _id(value: Any) -> int:
    return whole_number(value, 0, MAX_ITEMS - 1)


def _class(value: Any) -> ItemClass:
    threads, first, stop = value
    return ItemClass(whole_number(threads, 1), whole_number(first, 0, MAX_ITEMS), whole_number(stop, first, MAX_ITEMS))


def _program(entry: Any) -> dict[str, str]:
    found = {text(key): text(value) for key, value in entry.items()}
    if not _FILE_OF_PROGRAM.match(found.get("file", "x")):
        raise ValueError("the file of a program is no plain name below bin/")
    return found


def read_settings(paths: BatchPaths) -> Settings:
    """Read batch.json.

    Raises:
        BatchNotFound: there is none.
        NewerSchema: a newer crh-batch wrote it.
        LedgerError: it is damaged.
    """
    try:
        data = parse_json(read_bytes(paths.settings, FILE_LIMIT_BYTES))
        schema = data["schema"]
        if isinstance(schema, int) and schema > SCHEMA:
            raise NewerSchema(
                f"{paths.settings}: written with schema {str(schema)[:20]}, this crh-batch knows {SCHEMA}",
                "Use the newer crh-batch.",
                paths.settings,
                schema,
                SCHEMA,
            )
        return Settings.from_json(data)
    except FileNotFoundError:
        raise BatchNotFound(
            f"{paths.directory}: not a batch (it has no batch.json)",
            "Give a directory below .crh-batch, or run the command in the survey.",
            paths.directory,
        ) from None
    except (OSError, ValueError, LookupError, TypeError, AttributeError) as error:
        raise LedgerError(
            f"{paths.settings}: can't be read: {_why(error)}",
            "batch.json is written once; restore it, or move the batch's directory away and submit again with --force.",
            paths.settings,
        ) from error


def _why(error: Exception) -> str:
    if isinstance(error, LookupError):
        return f"it lacks {error}"
    return explain(error) if isinstance(error, (OSError, ValueError)) else f"it is not of the known form ({error})"


def write_settings(paths: BatchPaths, settings: Settings) -> None:
    """Write batch.json, durably."""
    durable.write_durable(paths.settings, json.dumps(settings.to_json(), indent=1).encode() + b"\n")
    if settings.share_gid:
        # It says whom the batch is shared with, so no one else may change it.
        os.chmod(paths.settings, 0o640)
