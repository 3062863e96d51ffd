"""The kinds of oddities that verify knows."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum


class Kind(Enum):
    """What is odd; the value stands in the JSON. report/oddities.py has a sentence and a next step for each."""

    # Files of a batch's directory.
    SETTINGS = "settings-unreadable"
    ITEMS = "items-unreadable"
    ITEM_WITHOUT_CLASS = "item-without-class"
    SOURCE_UNKNOWN = "source-unknown"
    PROGRAM_UNKNOWN = "program-unknown"
    PROGRAM_MISSING = "program-missing"
    PROGRAM_DAMAGED = "program-damaged"
    PILOT_MISSING = "pilot-missing"
    PILOT_DAMAGED = "pilot-damaged"
    DIRECTORY_MISSING = "directory-missing"
    NOT_TRUSTED = "not-trusted"
    TEMPORARY = "temporary-file"
    FOREIGN = "foreign-file"
    CACHE = "cache-unreadable"
    # Names, sessions and packs.
    HALF_NAME = "name-half-made"
    NAME_WITHOUT_ITEM = "name-without-item"
    GAP = "names-missing"
    SESSION_MISSING = "session-missing"
    SESSION_HEADLESS = "session-without-header"
    SESSION_EMPTY = "session-empty"
    DONE_WITHOUT_EVENT = "result-without-event"
    RECORD_UNREADABLE = "record-unreadable"
    PACK_MISSING = "pack-missing"
    PACK_SHORT = "pack-short"
    PACK_DAMAGED = "pack-damaged"
    LOG_GONE = "log-gone"
    COLLECTED_WITHOUT_DONE = "collected-without-done"
    EVENT_WITHOUT_ITEM = "event-without-item"
    RESULT_WITHOUT_NAME = "result-without-name"
    # What is at work, or was.
    CUSTODY_DEAD = "custody-of-the-dead"
    CLAIM_DEAD = "claim-of-the-dead"
    INTENT_OPEN = "submission-open"
    # Registrations and tomodirs.
    TOMODIR_GONE = "tomodir-gone"
    REGISTRATION_MISSING = "registration-missing"
    REGISTRATION_LEFT = "registration-left"
    REGISTRATION_WRONG_ID = "registration-wrong-number"
    REGISTERED_ELSEWHERE = "registered-elsewhere"
    REGISTRATION_FLAWED = "registration-unreadable"
    INPUT_MISSING = "input-missing"
    INPUT_CHANGED = "input-changed"
    RESULT_GONE = "result-gone"
    RESULT_CHANGED = "result-changed"
    COLLECT_LEFT = "collect-left-over"
    # Batches whose pilots run on other filesystems.
    STAGE_UNREADABLE = "stage-unreadable"
    STAGE_GONE = "stage-gone"
    STAGE_CLEANED = "stage-cleaned"
    NAME_DIFFERS = "name-differs"
    # A tree as a whole.
    HALF_MADE_BATCH = "batch-half-made"
    PRUNE_LEFT = "prune-left-over"
    ASTRAY = "registration-astray"
    ORPHANED = "registration-orphaned"
    COPIED = "registration-copied"
    RENAMED = "tomodir-renamed"
    HISTORY = "history-damaged"


# Nothing is wrong or can get lost by them; they are told, and don't count for the exit code.
HARMLESS = frozenset({Kind.FOREIGN, Kind.GAP, Kind.LOG_GONE, Kind.SESSION_EMPTY, Kind.COLLECTED_WITHOUT_DONE})
# What another node made may not be seen here yet.
LATE = frozenset(
    {
        Kind.SESSION_MISSING,
        Kind.SESSION_HEADLESS,
        Kind.SESSION_EMPTY,
        Kind.DONE_WITHOUT_EVENT,
        Kind.RECORD_UNREADABLE,
        Kind.PACK_MISSING,
        Kind.PACK_SHORT,
        Kind.PACK_DAMAGED,
        Kind.HALF_NAME,
        Kind.COLLECTED_WITHOUT_DONE,
        Kind.DIRECTORY_MISSING,
        Kind.TOMODIR_GONE,
        Kind.REGISTRATION_MISSING,
        Kind.INPUT_MISSING,
        Kind.RESULT_GONE,
    }
)


@dataclass(frozen=True)
class Finding:
    """One oddity.

    Args:
        kind: which.
        place: the tomodir, relative to the batch's root, or the file, relative to the batch's directory (of a tree: to
            the tree).
        detail: what is special about this one, such as the tomodir that a file is about.
        item_id: the tomodir's number; -1 where it is about none.
        mends: whether ``--fix`` mends it.
        note: for the mend alone: a token, a path, an attempt's number.
    """

    kind: Kind
    place: str
    detail: str = ""
    item_id: int = -1
    mends: bool = False
    note: str = ""

    @property
    def is_harmless(self) -> bool:
        """Whether it may stay as it is."""
        return self.kind in HARMLESS
