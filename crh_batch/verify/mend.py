"""Mending what is proven, with the batch's custody; each step may be done again, and is whole or not done at all."""

from __future__ import annotations

import contextlib
import hashlib
import os
from collections.abc import Callable, Iterable, Sequence

from crh_batch.engines.pilots import send_again, settle_intents
from crh_batch.engines.programs import pilot_archive
from crh_batch.engines.resume import ready_by_class, recover
from crh_batch.errors import CrhBatchError, TomodirError, Unreachable
from crh_batch.hosts.base import Host
from crh_batch.ledger import collect, durable
from crh_batch.ledger.custody import Custody, custody_of
from crh_batch.ledger.identity import this_process
from crh_batch.ledger.names import Failure, StateName, fail_mark
from crh_batch.ledger.pack import Record
from crh_batch.ledger.paths import SHARD_SIZE, session_target
from crh_batch.ledger.placing import remove_old_temporaries
from crh_batch.ledger.registration import read_registration, register, remove_registration, sim_type_of
from crh_batch.ledger.sharing import make_directories
from crh_batch.ledger.steering import give_notice
from crh_batch.verify.compare import Compared, compare_batch, compare_twice
from crh_batch.verify.finding import Finding, Kind
from crh_batch.verify.in_names import is_sound
from crh_batch.verify.look import Look


def mend_batch(
    directory: str,
    top: str,
    host: Host,
    only: frozenset[int] | None,
    *,
    deep: bool = False,
    force: bool = False,
    on_trouble: Callable[[CrhBatchError], None] = lambda error: None,
) -> tuple[list[Finding], Compared]:
    """Mend what can be mended of a batch; return what was, and what a last look still found.

    Args:
        deep: as for ``compare_batch``.
        force: take the custody also from a client that can't be proven dead.
        on_trouble: is told what could not be mended though it should; the rest goes on.

    Raises:
        Busy: another client is at work on the batch.
        CrhBatchError: the batch can't be read, or is not trusted.
    """

    def compare() -> Compared:
        return compare_batch(directory, top, host, only=only, deep=deep, has_custody=True)

    first = compare_batch(directory, top, host, only=only)
    if first.look is None or _is_old(first, on_trouble):
        return [], first
    done: list[Finding] = []
    with custody_of(first.look.batch, force=force) as custody:
        if custody.follows_a_death:
            done.append(Finding(Kind.CUSTODY_DEAD, "names", mends=True))
        found = compare_twice(compare, directory)
        if _is_old(found, on_trouble):
            return done, found
        assert found.look is not None, "it could be read a moment ago"
        mender = _Mender(found, found.look, custody, host)
        for kind, mend in mender.steps():
            done += each([one for one in found.findings if one.kind is kind and one.mends], mend, on_trouble)
        left = compare_twice(compare, directory) if found.findings else found
    return done, left


def _is_old(found: Compared, on_trouble: Callable[[CrhBatchError], None]) -> bool:
    """Tell why nothing may be mended: what is known of the batch may be older than what lies on its clusters."""
    for error in found.silent:
        on_trouble(error)
    return bool(found.silent)


def each(
    findings: Sequence[Finding], mend: Callable[[Finding], bool], on_trouble: Callable[[CrhBatchError], None]
) -> list[Finding]:
    """Mend one after another; return what was mended. What can't be is told, and stops nothing else."""
    done = []
    for one in findings:
        try:
            if mend(one):
                done.append(one)
        except CrhBatchError as error:
            on_trouble(error)
        except OSError as error:
            where = error.filename or one.place
            on_trouble(
                TomodirError(
                    f"{where}: could not be mended: {error.strerror or error}",
                    "Mend the cause (space, permissions), then run the command again.",
                )
            )
    return done


class _Mender:
    """The steps of one mend, each for one finding; a step returns whether it did something."""

    def __init__(self, found: Compared, look: Look, custody: Custody, host: Host) -> None:
        self._found = found
        self._look = look
        self._batch = look.batch
        self._paths = look.paths
        self._links = look.batch.settings.links
        self._session = custody.session
        self._custody = custody
        self._host = host
        self._lost_are_declared = False
        self._intents_are_settled = False

    def steps(self) -> Iterable[tuple[Kind, Callable[[Finding], bool]]]:
        """Return the steps in their order: directories before what lies in them, results before lost claims."""
        return (
            (Kind.DIRECTORY_MISSING, self._make_directory),
            (Kind.TEMPORARY, self._remove_file),
            (Kind.CACHE, self._remove_file),
            (Kind.PROGRAM_MISSING, self._copy_program),
            (Kind.PROGRAM_DAMAGED, self._copy_program),
            (Kind.PILOT_MISSING, self._make_pilot),
            (Kind.PILOT_DAMAGED, self._make_pilot),
            (Kind.RESULT_WITHOUT_NAME, self._name_result),
            (Kind.HALF_NAME, self._write_name),
            (Kind.CLAIM_DEAD, self._declare_lost),
            (Kind.INTENT_OPEN, self._settle),
            (Kind.REGISTRATION_WRONG_ID, self._register_again),
            (Kind.REGISTRATION_MISSING, self._register),
            (Kind.REGISTERED_ELSEWHERE, self._move),
            (Kind.REGISTRATION_LEFT, self._release),
            (Kind.COLLECT_LEFT, self._clean),
        )

    def _path(self, one: Finding) -> str:
        return os.path.join(self._paths.directory, one.place)

    def _tomodir(self, one: Finding) -> str:
        return self._batch.tomodir(self._batch.items[one.item_id])

    def _make_directory(self, one: Finding) -> bool:
        make_directories(self._path(one))
        durable.sync_directory(os.path.dirname(self._path(one)))
        return True

    def _remove_file(self, one: Finding) -> bool:
        with contextlib.suppress(FileNotFoundError):
            durable.calls.unlink(self._path(one))
        return True

    def _copy_program(self, one: Finding) -> bool:
        with open(one.note, "rb") as stream:
            content = stream.read()
        if hashlib.sha256(content).hexdigest() != self._batch.settings.programs[one.detail].get("sha256"):
            return False
        durable.write_durable(self._path(one), content, mode=0o755)
        return True

    def _make_pilot(self, one: Finding) -> bool:
        content = pilot_archive()
        if hashlib.sha256(content).hexdigest() != self._batch.settings.extra.get("pilot_sha256"):
            return False
        durable.write_durable(self._path(one), content)
        return True

    def _name_result(self, one: Finding) -> bool:
        """Make the name that a dead pilot did not come to, if its record is whole."""
        record = Record.from_json(one.note, self._look.sessions[one.note].done[one.item_id]["record"])
        if not is_sound(self._look, record):
            return False
        # As in a commit: the name must not speak of what a crash can still take away.
        durable.sync_file(self._paths.pack(one.note))
        durable.sync_file(self._paths.session(one.note))
        target = session_target(one.note, in_shard=True)
        won = durable.win_name(self._paths.name(one.item_id, "done"), target, self._links)
        durable.sync_directory(self._paths.shard(one.item_id // SHARD_SIZE))
        give_notice(self._session, self._links)
        return won

    def _write_name(self, one: Finding) -> bool:
        """Write what a name should have said; all who could have begun it are dead."""
        token = self._session.token
        if one.note == "done":
            token = next((own for own in self._look.finished[one.item_id] if self._is_whole(own, one.item_id)), "")
            if not token:
                return False
        target = session_target(token, in_shard=one.item_id >= 0)
        durable.write_durable(self._path(one), target.encode())
        kind, _, number = one.note.partition(".")
        state = self._look.states.get(one.item_id)
        if kind == "claim" and state is not None and state.name is StateName.RUNNING and int(number) == state.attempt:
            self._session.append("lost", id=one.item_id, attempt=state.attempt, session="", failure="lost")
            self._session.win(one.item_id, fail_mark(state.attempt, Failure.LOST), self._links)
        return True

    def _is_whole(self, token: str, item_id: int) -> bool:
        try:
            record = Record.from_json(token, self._look.sessions[token].done[item_id]["record"])
        except (KeyError, TypeError, ValueError, AttributeError):
            return False
        return is_sound(self._look, record)

    def _declare_lost(self, one: Finding) -> bool:
        """Declare all claims of the dead lost, at the first of them."""
        assert self._found.work is not None, "a claim was found"
        if not self._lost_are_declared:
            recover(self._batch, self._found.work.living, self._custody)
            give_notice(self._session, self._links)
            self._lost_are_declared = True
        return True

    def _settle(self, one: Finding) -> bool:
        """Write down what became of submissions; nothing is sent."""
        if not self._intents_are_settled:
            try:
                settle_intents(self._batch, self._host)
            except Unreachable:
                return False
            if not any(ready_by_class(self._batch).values()):
                send_again(self._batch, self._host, ())
            self._intents_are_settled = True
        return True

    def _register(self, one: Finding) -> bool:
        item = self._batch.items[one.item_id]
        sim_type = sim_type_of(str(stage["stage"]) for stage in item.stages)
        return register(self._tomodir(one), self._paths, one.item_id, this_process(), sim_type) is None

    def _register_again(self, one: Finding) -> bool:
        # All that the old one says, a batch and a number of it, stands in items.jsonl as well.
        found = read_registration(self._tomodir(one))
        if found is None or found.batch_id != self._batch.batch_id or not remove_registration(found):
            return False
        return self._register(one)

    def _move(self, one: Finding) -> bool:
        return self._session.win(one.item_id, "moved", self._links)

    def _release(self, one: Finding) -> bool:
        collect.release(self._batch, self._batch.items[one.item_id])
        return True

    def _clean(self, one: Finding) -> bool:
        remove_old_temporaries(self._tomodir(one), self._batch.batch_id)
        return True
