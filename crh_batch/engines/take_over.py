"""What may be done with a tomodir that has a .crh file: leave it to its batch, or free it to be submitted again.

Freed are: registrations of half-made batches whose client is dead; what a dead client did not come to remove after
collecting; failed tomodirs whose input has changed since, and those that wait for their results. With ``--force`` also:
empty or foreign .crh files, those whose batch is gone, tomodirs that failed with the same input, and finished ones
whose input has changed since they ran, or whose result is damaged.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from contextlib import ExitStack

from crh_batch.engines.fetched import fetched
from crh_batch.errors import Busy, CrhBatchError, PackDamaged, StageGone
from crh_batch.ledger.batch import Batch, counts
from crh_batch.ledger.custody import Custody
from crh_batch.ledger.inputs import changed_inputs
from crh_batch.ledger.items import Item, write_items
from crh_batch.ledger.names import Failure, Marks, StateName, fail_mark, gather, list_shard
from crh_batch.ledger.pack import Record, verify
from crh_batch.ledger.paths import SHARD_SIZE, BatchPaths
from crh_batch.ledger.registration import Registration, read_registration, remove_registration
from crh_batch.ledger.session import Session, holder_of, read_events
from crh_batch.ledger.settings import read_settings
from crh_batch.ledger.sources import collected_sources
from crh_batch.ledger.trust import user_name
from crh_batch.mirror.refresh import refresh

_FORCE = "If nobody is at work on it, repeat with --force."


class TakeOver:
    """Frees tomodirs, taking the custody of each batch concerned once; ``close`` ends it."""

    def __init__(self, *, force: bool) -> None:
        self._force = force
        self._stack = ExitStack()
        self._batches: dict[str, Batch] = {}
        self._custody: dict[str, Busy | None] = {}
        self._sessions: dict[str, Session] = {}
        self._marks: dict[tuple[str, int], dict[int, Marks]] = {}
        self._failures: dict[tuple[str, str], dict[tuple[object, object], dict[str, object]]] = {}
        self._fetched: dict[str, Callable[[Item], bool] | None] = {}

    def close(self) -> None:
        """Give all custodies back."""
        self._stack.close()

    def try_to_free(self, tomodir: str, registration: Registration) -> str | None:
        """Free a tomodir if that is right; return None then.

        Returns:
            Empty if it goes on in its own batch, else why it is left alone.
        """
        try:
            if registration.flaw:
                return self._free_flawed(registration)
            if not counts(registration.batch_directory):
                return self._free_half_made(registration)
            return self._free_from_batch(tomodir, registration)
        except CrhBatchError as error:
            return str(error)
        except OSError as error:
            return f"{registration.path}: can't be removed: {error.strerror or error}"

    def _free_flawed(self, registration: Registration) -> str | None:
        if os.path.exists(registration.path) and not os.access(registration.path, os.R_OK):
            # Who can't see whether somebody is at work can't say that nobody is.
            return f"{registration.path}: {registration.flaw}. Ask its owner"
        if not self._force:
            return f"{registration.path}: {registration.flaw}. {_FORCE}"
        return _gone(registration)

    def _free_half_made(self, registration: Registration) -> str | None:
        directory = registration.batch_directory
        if hidden := _hidden_by(directory):
            return f"{registration.describe()}. That batch is not yours to read ({hidden}): ask {hidden} about it"
        if not os.path.isfile(BatchPaths(directory).settings):
            if not self._force:
                return (
                    f"{registration.path}: its batch {registration.batch_id} is gone ({directory}). "
                    "If it was moved, move it back; if it was deleted, repeat with --force."
                )
            return _gone(registration)
        busy = self._take_custody(directory)
        if busy is not None:
            return f"{registration.describe()}, which is not complete yet: {busy.message}. {_FORCE}"
        if counts(directory):
            # RACE: its client was only slow, and finished it before this one had custody.
            return ""
        return _gone(registration)

    def close_half_made(self, directory: str) -> Busy | None:
        """Make sure that a half-made batch never counts; return who is at work on it, None if it is done."""
        return self._take_custody(directory)

    def _take_custody(self, directory: str) -> Busy | None:
        """Take custody of a batch once; of a half-made one its list of items is closed, so that it never counts."""
        if directory not in self._custody:
            paths = BatchPaths(directory)
            try:
                links = read_settings(paths).links
                custody = self._stack.enter_context(Custody(paths, links, force=self._force))
                self._sessions[directory] = custody.session
                if not os.path.exists(paths.items):
                    write_items(paths, [])
                self._custody[directory] = None
            except Busy as error:
                self._custody[directory] = error
        return self._custody[directory]

    def _free_from_batch(self, tomodir: str, registration: Registration) -> str | None:
        directory = registration.batch_directory
        batch = self._batches.get(directory)
        if batch is None:
            batch = self._batches[directory] = Batch(directory)
        item_id = registration.item_id
        if item_id not in batch.items or os.path.abspath(batch.tomodir(batch.items[item_id])) != os.path.abspath(
            tomodir
        ):
            # A copied or renamed tomodir took a .crh file along that speaks of another one.
            return self._free_flawed_of(registration)
        marks = self._marks_of(batch, item_id)
        state = marks.state(batch.settings.policy)
        if state.name in (StateName.COLLECTED, StateName.MOVED):
            # What is left to do after such a name is to remove the .crh file, and a client died before it did.
            return self._free_with_custody(registration)
        if state.name is StateName.DONE and self._force and self._can_not_be_collected(batch, item_id):
            return self._move_away(batch, registration)
        if state.name in (StateName.READY, StateName.HELD) and self._waits_in_vain(batch, item_id):
            return self._move_away(batch, registration)
        if state.name is not StateName.FAILED:
            return ""
        why = self._why_failed_again(batch, batch.items[item_id], state.attempt, state.failure)
        if why and not self._force:
            return why
        return self._move_away(batch, registration)

    def _move_away(self, batch: Batch, registration: Registration) -> str | None:
        """Free a tomodir that this batch will never finish, and say so in its names first."""
        busy = self._take_custody(registration.batch_directory)
        if busy is not None:
            return busy.message
        session = self._sessions[registration.batch_directory]
        session.win(registration.item_id, "moved", batch.settings.links)
        self._marks_of(batch, registration.item_id).moved = True
        return _gone(registration)

    def _waits_in_vain(self, batch: Batch, item_id: int) -> bool:
        """Return whether a tomodir takes a result of one that this batch will never finish."""
        return any(self._is_given_up(batch, source) for source in batch.settings.after.get(item_id, ()))

    def _is_given_up(self, batch: Batch, item_id: int) -> bool:
        """Return whether a tomodir has moved, or has failed and lost its registration: it was cancelled."""
        state = self._marks_of(batch, item_id).state(batch.settings.policy)
        if state.name is not StateName.FAILED:
            return state.name is StateName.MOVED
        found = read_registration(batch.tomodir(batch.items[item_id]))
        return found is None or (found.batch_id, found.item_id) != (batch.batch_id, item_id)

    def _free_flawed_of(self, registration: Registration) -> str | None:
        if not self._force:
            return f"{registration.path}: speaks of another tomodir (was this one copied or renamed?). {_FORCE}"
        return self._free_with_custody(registration)

    def _free_with_custody(self, registration: Registration) -> str | None:
        busy = self._take_custody(registration.batch_directory)
        return busy.message if busy is not None else _gone(registration)

    def _marks_of(self, batch: Batch, item_id: int) -> Marks:
        shard = item_id // SHARD_SIZE
        key = (batch.paths.directory, shard)
        if key not in self._marks:
            self._marks[key] = gather(list_shard(batch.paths, shard))
        return self._marks[key].setdefault(item_id, Marks())

    def _why_failed_again(self, batch: Batch, item: Item, attempt: int, failure: Failure | None) -> str:
        """Return why a failed tomodir would fail again: its input is the same. Empty if it changed."""
        assert failure is not None
        token = holder_of(batch.paths.name(item.item_id, fail_mark(attempt, failure))) or ""
        event = self._failures_of(batch, token).get((item.item_id, attempt), {})
        inputs = event.get("inputs")
        if not isinstance(inputs, list) or changed_inputs(batch.tomodir(item), inputs, collected_sources(batch, item)):
            return ""
        return (
            f"failed in batch {batch.batch_id} ({failure.value}): {event.get('error') or failure.value}\n"
            "  Its input hasn't changed since. Mend it and submit again, or run it as it is: crh-batch retry."
        )

    def _can_not_be_collected(self, batch: Batch, item_id: int) -> bool:
        """Return whether a finished tomodir's input has changed since it ran, or its result is damaged or gone."""
        token = holder_of(batch.paths.name(item_id, "done")) or ""
        for event in read_events(batch.paths, token):
            if event["event"] == "done" and event.get("id") == item_id:
                item = batch.items[item_id]
                inputs = event.get("inputs") or []
                if changed_inputs(batch.tomodir(item), inputs, collected_sources(batch, item)):
                    return True
                return self._is_fetched(batch, item) and not _is_sound(batch, token, event)
        return True

    def _is_fetched(self, batch: Batch, item: Item) -> bool:
        """Return whether a result would be here if there were one: what is still on a silent cluster isn't damaged."""
        directory = batch.paths.directory
        if directory not in self._fetched:
            silent = [one for one in refresh(batch, packs=True) if not isinstance(one, StageGone)]
            self._fetched[directory] = fetched(batch, silent)
        takes = self._fetched[directory]
        return takes is None or takes(item)

    def _failures_of(self, batch: Batch, token: str) -> dict[tuple[object, object], dict[str, object]]:
        key = (batch.paths.directory, token)
        if key not in self._failures:
            self._failures[key] = {
                (event.get("id"), event.get("attempt")): event
                for event in read_events(batch.paths, token)
                if event["event"] == "fail"
            }
        return self._failures[key]


def _hidden_by(directory: str) -> str:
    """Return whose a batch is that this user may not look into; empty if it can be seen, or isn't there."""
    try:
        os.stat(BatchPaths(directory).settings)
    except PermissionError:
        while True:
            try:
                return user_name(os.stat(directory).st_uid)
            except PermissionError:
                directory = os.path.dirname(directory)
            except OSError:
                return "another user"
    except OSError:
        pass
    return ""


def _gone(registration: Registration) -> str | None:
    return None if remove_registration(registration) else f"{registration.path}: changed while it was looked at"


def _is_sound(batch: Batch, token: str, event: Mapping[str, object]) -> bool:
    record = event.get("record")
    try:
        verify(batch.paths.pack(token), Record.from_json(token, record if isinstance(record, Mapping) else {}))
    except (PackDamaged, ValueError):
        return False
    return True
