"""The pilot: claims tomodirs, runs as many side by side as its cores allow, and commits what they gave.

Threads: one a core, and a few more that stage ahead while programs run; one that commits and one that removes
directories; the main thread, which handles signals, deadlines, and the progress of running inversions. What runs where
and when is decided in ``packing``, how long in ``job_time``. docs/protocol.md, "A pilot", tells one life in order.
"""

from __future__ import annotations

import contextlib
import os
import queue
import select
import signal
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NoReturn

from crh_batch.errors import CrhBatchError, LedgerError
from crh_batch.ledger.batch import Batch
from crh_batch.ledger.items import Item
from crh_batch.ledger.names import Failure, claim_mark
from crh_batch.ledger.pack import PackWriter
from crh_batch.ledger.session import Session
from crh_batch.ledger.steering import Notices
from crh_batch.pilot import stages
from crh_batch.pilot.chooser import Candidate
from crh_batch.pilot.commit import Committer, fail_without_result
from crh_batch.pilot.guard import Guard
from crh_batch.pilot.idling import Idling
from crh_batch.pilot.job_time import JobTime, steady_time
from crh_batch.pilot.lanes import Lane, Lanes, Ticket
from crh_batch.pilot.packing import Offer
from crh_batch.pilot.room import Room
from crh_batch.pilot.stages import Attempt
from crh_batch.pilot.watch import Watcher

# Programs that end within this time are staged ahead: an idle core would cost more than a claim that waits.
SHORT_RUN_S = 5.0
# How often a running inversion's progress is looked at, and whether its claim still is ours.
WATCH_S = 5.0
# Failures one after another, of classes that say more about the node than about the tomodirs.
MAX_FAILURES_IN_A_ROW = 10
# How much later than its program a pilot may hear of a signal that was sent to both.
SIGNAL_LAG_S = 1.0


@dataclass(frozen=True)
class PilotOptions:
    """How a pilot was started.

    Args:
        cores: how many cores it may keep busy.
        threads: take only tomodirs of this width; 0 takes all, the widest first.
        group: take only tomodirs of this group; empty takes all.
        memory_bytes: what its programs may take together; 0 if not known.
        processors: those that it may use.
    """

    cores: int
    threads: int = 0
    group: str = ""
    memory_bytes: int = 0
    processors: Sequence[int] = ()
    keep_scratch: bool = False


class Pilot:
    """One life of a pilot; ``run`` is all of it."""

    def __init__(
        self,
        batch: Batch,
        session: Session,
        options: PilotOptions,
        job_time: JobTime,
        guard: Guard,
        scratch: str,
    ) -> None:
        self._batch = batch
        self._session = session
        self._options = options
        self._time = job_time
        self._guard = guard
        self._scratch = scratch
        room = Room(options.cores, options.memory_bytes, options.processors)
        classes = [one for one in batch.settings.classes if options.threads in (0, one.threads)]
        self._lanes = Lanes(
            [Lane(batch, one, options.cores, self._admit) for one in classes],
            room,
            Idling(batch.settings.idle_s),
            Notices(batch.paths).changed,
        )
        self._notices = Notices(batch.paths)
        self._pack = PackWriter(batch.paths.pack(session.token), session.token)
        self._committer = Committer(batch, session, self._pack, scratch, self._give_up, self._lanes.look_again)
        self._lock = threading.Lock()
        self._attempts: dict[tuple[int, int], Attempt] = {}
        self._failures_in_a_row = 0
        self._trouble: CrhBatchError | None = None
        self._finished = 0
        self._failed = 0
        self._slots_at_work = 0
        self._unfit = 0
        self._unfit_memory = 0
        # Removing directories takes as long as a small model, so no slot waits for it.
        self._discards: queue.SimpleQueue[Attempt | None] = queue.SimpleQueue()
        self._reading, self._waking = os.pipe()
        os.set_blocking(self._waking, False)

    # ---------------------------------------------------------------- life

    def run(self) -> CrhBatchError | None:
        """Work until nothing is ready, time is up, or something stops it; return that something, or None."""
        self._install_signals()
        discarding = threading.Thread(target=self._discard, name="discarding")
        discarding.start()
        slots = self._start_slots()
        self._watch()
        for slot in slots:
            slot.join()
        self._committer.close()
        self._discards.put(None)
        discarding.join()
        self._session.append(
            "end",
            finished=self._finished,
            failed=self._failed,
            why=self._time.stopping or "nothing left to do",
            cpu_s=round(time.process_time(), 3),
            unfit=self._unfit,
            unfit_memory=self._unfit_memory,
        )
        if self._unfit:
            print(f"{self._unfit} tomodirs were left: they may not fit into the time that was left", file=sys.stderr)
        if self._unfit_memory:
            print(f"{self._unfit_memory} tomodirs were left: they need more memory than this job has", file=sys.stderr)
        with contextlib.suppress(OSError):
            self._session.sync()
        self._pack.close()
        return self._trouble

    def _start_slots(self) -> list[threading.Thread]:
        """Start the slots, or as many as a limit on virtual memory lets start: each thread has a stack."""
        slots: list[threading.Thread] = []
        wanted = self._options.cores + self._lanes.max_ahead
        for number in range(wanted):
            slot = threading.Thread(target=self._slot, name=f"slot-{number}")
            with self._lock:
                self._slots_at_work += 1
            try:
                slot.start()
            except RuntimeError as error:
                with self._lock:
                    self._slots_at_work -= 1
                if not slots:
                    self._give_up(_starved(self._batch, f"no thread can be started ({error})"))
                break
            slots.append(slot)
        return slots

    def _discard(self) -> None:
        while (attempt := self._discards.get()) is not None:
            stages.discard(attempt)

    def _install_signals(self) -> None:
        signal.set_wakeup_fd(self._waking, warn_on_full_buffer=False)
        for number in (signal.SIGUSR1, signal.SIGUSR2, signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            signal.signal(number, self._on_signal)

    def _on_signal(self, number: int, frame: object) -> None:
        # Runs in the main thread between two of its steps, which hold no lock; only plain attributes are touched.
        self._time.signalled(number)

    def _give_up(self, error: CrhBatchError) -> None:
        """Stop because of trouble that is not a tomodir's: nothing more is claimed, what runs is ended."""
        with self._lock:
            self._trouble = self._trouble or error
            self._time.stop("trouble")
        self._stop_claiming()
        self._wake()

    def _stop_claiming(self) -> None:
        """Claim nothing more; may be called again and again, from any thread."""
        self._lanes.stop()

    def _wake(self) -> None:
        with contextlib.suppress(OSError):
            os.write(self._waking, b".")

    # ---------------------------------------------------------------- main thread

    def _watch(self) -> None:
        ended = False
        next_look = time.monotonic() + WATCH_S
        watcher = Watcher(self._batch, self._session)
        while self._slots_at_work:
            self._time.notice_end()
            if self._time.stopping:
                self._stop_claiming()
            if self._time.is_over and not ended:
                ended = True
                for attempt in self._running():
                    self._end_with_job(attempt)
            self._end_overdue()
            if time.monotonic() >= next_look:
                next_look = time.monotonic() + WATCH_S
                watcher.look_at(self._running())
                if self._notices.changed():
                    # Something was released or retried.
                    self._lanes.look_again()
            self._sleep_until(next_look, ended)

    def _sleep_until(self, next_look: float, ended: bool) -> None:
        wait_s = max(0.0, next_look - time.monotonic())
        if self._time.deadline is not None and not ended:
            wait_s = min(wait_s, max(0.0, self._time.deadline - steady_time()))
        limit_s = self._batch.settings.max_time_s
        if limit_s:
            ends = [attempt.began + limit_s for attempt in self._running() if attempt.began and not attempt.ended_by]
            wait_s = min(wait_s, max(0.0, min(ends, default=wait_s + steady_time()) - steady_time()))
        readable, _, _ = select.select([self._reading], [], [], wait_s)
        if readable:
            os.read(self._reading, 4096)

    def _end_with_job(self, attempt: Attempt) -> None:
        too_long = self._time.too_long(attempt.began or steady_time())
        attempt.end(Failure.TOO_LONG if too_long else Failure.WALLTIME, too_long)

    def _end_overdue(self) -> None:
        """End attempts that have taken as long as one may."""
        limit_s = self._batch.settings.max_time_s
        for attempt in self._running() if limit_s else ():
            if attempt.began and steady_time() >= attempt.began + limit_s:
                attempt.end(
                    Failure.TOO_LONG,
                    f"needs more than the {limit_s / 60:g} minutes of --max-time\n"
                    "submit it with a longer one, or with none",
                )

    def _running(self) -> list[Attempt]:
        with self._lock:
            return list(self._attempts.values())

    # ---------------------------------------------------------------- slots

    def _slot(self) -> None:
        with self._leaving():
            while (ticket := self._lanes.claim(self._win)) is not None:
                self._run_claim(ticket)

    @contextlib.contextmanager
    def _leaving(self) -> Iterator[None]:
        """Take a slot's trouble, and count the slot out when it is through; it was counted in before."""
        try:
            yield
        except CrhBatchError as error:
            self._give_up(error)
        except OSError as error:
            self._give_up(_unwritable(self._batch, error))
        except BaseException as error:
            self._give_up(LedgerError(f"the pilot has a fault: {error!r}", "Please report this."))
            raise
        finally:
            # Counted, for a thread is still alive when it wakes the main one, which would sleep again.
            with self._lock:
                self._slots_at_work -= 1
            self._wake()

    def _admit(self, candidate: Candidate, item: Item) -> bool:
        """Return whether this pilot may ever take a tomodir."""
        if self._options.group and item.group != self._options.group:
            return False
        if not self._time.fits(item):
            self._unfit += 1
            return False
        needed = self._batch.need_bytes(item, candidate.memory_failures)
        if 0 < self._options.memory_bytes < needed:
            self._unfit_memory += 1
            return False
        return True

    def _win(self, offer: Offer) -> bool:
        item_id, attempt = offer.item.item_id, offer.candidate.attempt
        if not self._session.win(item_id, claim_mark(attempt), self._batch.settings.links):
            return False
        self._session.append("claim", id=item_id, attempt=attempt)
        return True

    def _run_claim(self, ticket: Ticket) -> stages.Result | None:
        """Run what was claimed; return what came of it, None if somebody else has said that."""
        item, number = ticket.offer.item, ticket.offer.candidate.attempt
        attempt: Attempt | None = None
        has_place = True
        try:
            try:
                attempt = stages.prepare(self._batch, item, number, self._scratch)
            except CrhBatchError as error:
                return self._settle(ticket, stages.failed_before_start(item, number, error), None)
            except OSError as error:
                self._give_back_unstaged(item, number, error)
            except MemoryError:
                fail_without_result(self._session, item.item_id, number, Failure.MEMORY, self._batch.settings.links)
                raise _starved(self._batch, f"{item.path} could not be staged") from None
            assert attempt is not None
            with self._lock:
                self._attempts[item.item_id, number] = attempt
            attempt.processors = self._lanes.begin(ticket).processors
            result = self._run(ticket, attempt)
            # Others may have its place while its results are packed.
            has_place = False
            self._lanes.end(ticket)
            return self._settle(ticket, result, attempt)
        finally:
            with self._lock:
                self._attempts.pop((item.item_id, number), None)
            if has_place:
                self._lanes.end(ticket)
            self._lanes.leave(ticket)
            if attempt is not None and not self._options.keep_scratch:
                self._discards.put(attempt)

    def _run(self, ticket: Ticket, attempt: Attempt) -> stages.Result:
        attempt.began = steady_time()
        if self._time.is_over:
            attempt.end(Failure.WALLTIME)
        if self._batch.settings.max_time_s:
            self._wake()
        result = stages.run(self._batch, attempt, self._guard, self._on_stage, self._is_stopping)
        ticket.lane.short_runs = steady_time() - attempt.began < SHORT_RUN_S
        return result

    def _is_stopping(self) -> bool:
        """Return whether this pilot was told to end; RACE: the same signal may reach it a moment after its program."""
        deadline = time.monotonic() + SIGNAL_LAG_S
        while not self._time.stopping and time.monotonic() < deadline:
            time.sleep(0.05)
        return bool(self._time.stopping)

    def _give_back_unstaged(self, item: Item, number: int, error: OSError) -> NoReturn:
        """Give an attempt back that can't be staged here: the node is at fault, not the tomodir.

        Raises:
            LedgerError: always; the pilot has no use for its node then.
        """
        fail_without_result(self._session, item.item_id, number, Failure.PROGRAM, self._batch.settings.links)
        raise LedgerError(
            f"{self._scratch}: the scratch directory can't be used: {error.strerror or error}",
            "Choose another one with --scratch or in the profile; its tomodirs stay ready.",
            self._scratch,
        ) from error

    def _on_stage(self, attempt: Attempt) -> None:
        if attempt.ended_by and attempt.program is not None:
            attempt.program.end(attempt.ended_by.value)
        self._session.append("stage", id=attempt.item.item_id, attempt=attempt.number, stage=attempt.stage)

    def _settle(self, ticket: Ticket, result: stages.Result, attempt: Attempt | None) -> stages.Result | None:
        item, number = ticket.offer.item, ticket.offer.candidate.attempt
        if attempt is not None and attempt.ended_by in (Failure.LOST, Failure.CANCELLED):
            # RACE: another process has already said how this attempt ended; its name stands.
            self._session.append("fail", **{**result.event, "failure": attempt.ended_by.value})
            return None
        self._committer.hand_over(result)
        if result.failure is None:
            self._finished += 1
            self._failures_in_a_row = 0
            return result
        self._failed += 1
        print(f"{item.path}: attempt {number}: {result.failure.value}: {result.error}", file=sys.stderr, flush=True)
        if result.failure is Failure.PROGRAM:
            raise LedgerError(result.error, "Check the program on this node; the tomodirs stay ready.")
        own_fault = result.failure in (Failure.INPUT, Failure.WALLTIME, Failure.TOO_LONG)
        self._failures_in_a_row = 0 if own_fault else self._failures_in_a_row + 1
        if self._failures_in_a_row >= MAX_FAILURES_IN_A_ROW:
            raise LedgerError(
                f"{self._failures_in_a_row} attempts in a row failed on this node, the last one: {result.error}",
                "Look at the node; the tomodirs that were not tried stay ready.",
            )
        self._lanes.look_again()
        return result


def _starved(batch: Batch, what: str) -> LedgerError:
    return LedgerError(
        f"the pilot itself is out of memory: {what}",
        "Raise memory_mb in the profile; nothing is lost.",
        batch.paths.directory,
    )


def _unwritable(batch: Batch, error: OSError) -> LedgerError:
    return LedgerError(
        f"{error.filename or batch.paths.directory}: {error.strerror or error}",
        "The batch's directory must be writable, with free space; then submit again: nothing is lost.",
        batch.paths.directory,
    )
