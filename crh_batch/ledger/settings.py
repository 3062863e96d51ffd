"""batch.json: what all pilots of a batch share; written once."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from crh_batch.errors import BatchNotFound, LedgerError, NewerSchema
from crh_batch.ledger import durable
from crh_batch.ledger.memory import MemoryRule
from crh_batch.ledger.names import RetryPolicy
from crh_batch.ledger.paths import BatchPaths

SCHEMA = 1
# How long a pilot without work waits for it, where the batch doesn't say.
IDLE_S = 600.0


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
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Settings:
        """Read the plain form.

        Raises:
            KeyError, TypeError, ValueError: it isn't one.
        """
        known = {"schema", "links", "classes", "programs", "charged_attempts", "walltime_attempts", "scratch"}
        known |= {"after", "idle_s", "max_time_s", "memory_mb", "max_memory_mb", "container", "deadline", "keep_going"}
        return cls(
            links=str(data["links"]),
            classes=tuple(ItemClass(int(t), int(a), int(b)) for t, a, b in data["classes"]),
            programs={str(name): dict(entry) for name, entry in dict(data["programs"]).items()},
            policy=RetryPolicy(int(data["charged_attempts"]), int(data["walltime_attempts"])),
            scratch=str(data.get("scratch") or ""),
            after={int(key): tuple(int(one) for one in ids) for key, ids in dict(data.get("after") or {}).items()},
            idle_s=float(data.get("idle_s", IDLE_S)),
            max_time_s=float(data.get("max_time_s", 0)),
            deadline=float(data.get("deadline", 0)),
            keep_going=bool(data.get("keep_going", False)),
            memory_mb=int(data.get("memory_mb", 0)),
            max_memory_mb=int(data.get("max_memory_mb", 0)),
            container=tuple(str(word) for word in data.get("container") or ()),
            extra={key: value for key, value in data.items() if key not in known},
        )


def read_settings(paths: BatchPaths) -> Settings:
    """Read batch.json.

    Raises:
        BatchNotFound: there is none.
        NewerSchema: a newer crh-batch wrote it.
        LedgerError: it is damaged.
    """
    try:
        with open(paths.settings, "rb") as stream:
            data = json.load(stream)
        schema = data["schema"]
        if isinstance(schema, int) and schema > SCHEMA:
            raise NewerSchema(
                f"{paths.settings}: written with schema {schema}, this crh-batch knows {SCHEMA}",
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
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise LedgerError(
            f"{paths.settings}: can't be read: {error}",
            "batch.json is written once; restore it, or move the batch's directory away and submit again with --force.",
            paths.settings,
        ) from error


def write_settings(paths: BatchPaths, settings: Settings) -> None:
    """Write batch.json, durably."""
    durable.write_durable(paths.settings, json.dumps(settings.to_json(), indent=1).encode() + b"\n")
