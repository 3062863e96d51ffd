"""The pilot: claims tomodirs, runs as many side by side as its cores allow, and commits what they gave.

Threads: one a core, and a few more that stage ahead while programs run (short ones only, for a claim that waits is a
claim that nobody else can take); one that commits and one that removes directories; the main thread, which handles
signals, deadlines, and the progress of running inversions. docs/protocol.md, "A pilot", tells one life in order.
"""

from __future__ import annotations

import contextlib
import os
import queue
import select
import shutil
import signal
import sys
import threading
import time
from dataclasses import dataclass
from typing import NoReturn

from crh_batch.errors import CrhBatchError, LedgerError
from crh_batch.ledger.batch import Batch, Item
from crh_batch.ledger.names import Failure, claim_mark
from crh_batch.ledger.pack import PackWriter
from crh_batch.ledger.session import Session
from crh_batch.pilot import stages
from crh_batch.pilot.chooser import Candidate
from crh_batch.pilot.commit import Committer, fail_without_result
from crh_batch.pilot.cores import Cores
from crh_batch.pilot.guard import Guard
from crh_batch.pilot.lanes import Lane, Lanes
from crh_batch.pilot.stages import Attempt
from crh_batch.pilot.watch import Watcher

# Programs that end within this time are staged ahead: an idle core would cost more than a claim that waits.
SHORT_RUN_S = 5.0
# How often a running inversion's progress is looked at, and whether its claim still is ours.
WATCH_S = 5.0
# Failures one after another, of classes that say more about the node than about the tomodirs.
MAX_FAILURES_IN_A_ROW = 10
# How long programs may go on after a warning signal of which nobody said how long before the end it comes.
NOTICE_S = 20.0
# How much later than its program a pilot may hear of a signal that was sent to both.
SIGNAL_LAG_S = 1.0
# A claim must have a fair chance to finish before the job's end.
TIME_MARGIN = 1.2
# With at least this share of its time left a job is fresh.
FRESH_JOB = 0.9


@dataclass(frozen=True)
class PilotOptions:
    """How a pilot was started.

    Args:
        cores: how many cores it may keep busy.
        threads: take only tomodirs of this width; 0 takes all, the widest first.
        end_time: when the job will be ended, seconds since 1970; None if never.
        warn_s: how long before the end SIGUSR1 comes, as the job was submitted; Slurm may send it a minute earlier.
        grace_s: seconds before ``end_time`` at which running programs are ended, so that this can be recorded.
        term_grace_s: seconds from SIGTERM to the same.
    """

    cores: int
    threads: int = 0
    end_time: float | None = None
    warn_s: float = 0.0
    grace_s: float = 20.0
    term_grace_s: float = 3.0
    keep_scratch: bool = False


class Pilot:
    """One life of a pilot; ``run`` is all of it."""

    def __init__(self, batch: Batch, session: Session, options: PilotOptions, guard: Guard, scratch: str) -> None:
        self._batch = batch
        self._session = session
        self._options = options
        self._guard = guard
        self._scratch = scratch
        self._cores = Cores(options.cores)
        classes = [one for one in batch.settings.classes if options.threads in (0, one.threads)]
        self._lanes = Lanes([Lane(batch, one, options.cores) for one in classes], options.cores)
        self._pack = PackWriter(batch.paths.pack(session.token), session.token)
        self._committer = Committer(batch, session, self._pack, scratch, self._give_up)
        self._lock = threading.Lock()
        self._attempts: dict[tuple[int, int], Attempt] = {}
        self._failures_in_a_row = 0
        self._stopping = ""
        self._deadline: float | None = None
        self._trouble: CrhBatchError | None = None
        self._finished = 0
        self._failed = 0
        self._slots_at_work = 0
        self._started = session.header.started
        self._unfit = 0
        # Removing directories takes as long as a small model, so no slot waits for it.
        self._discards: queue.SimpleQueue[Attempt | None] = queue.SimpleQueue()
        self._reading, self._waking = os.pipe()
        os.set_blocking(self._waking, False)

    # ---------------------------------------------------------------- life

    def run(self) -> CrhBatchError | None:
        """Work until nothing is ready, time is up, or something stops it; return that something, or None."""
        self._install_signals()
        slots = [
            threading.Thread(target=self._slot, name=f"slot-{number}")
            for number in range(self._options.cores + self._lanes.max_ahead)
        ]
        self._slots_at_work = len(slots)
        discarding = threading.Thread(target=self._discard, name="discarding")
        discarding.start()
        for slot in slots:
            slot.start()
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
            why=self._stopping or "nothing left to do",
            cpu_s=round(time.process_time(), 3),
            unfit=self._unfit,
        )
        if self._unfit:
            print(f"{self._unfit} tomodirs were left: they may not fit into the time that was left", file=sys.stderr)
        with contextlib.suppress(OSError):
            self._session.sync()
        self._pack.close()
        return self._trouble

    def _discard(self) -> None:
        while (attempt := self._discards.get()) is not None:
            stages.discard(attempt)

    def _install_signals(self) -> None:
        signal.set_wakeup_fd(self._waking, warn_on_full_buffer=False)
        for number in (signal.SIGUSR1, signal.SIGUSR2, signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            signal.signal(number, self._on_signal)

    def _on_signal(self, number: int, frame: object) -> None:
        # Runs in the main thread between two of its steps, which hold no lock; only plain attributes are touched.
        now = time.time()
        if number in (signal.SIGUSR1, signal.SIGUSR2):
            end = self._options.end_time
            until = now + NOTICE_S
            if end is not None or self._options.warn_s:
                until = (now + self._options.warn_s if end is None else end) - self._options.grace_s
        else:
            until = now if self._stopping == signal.Signals(number).name else now + self._options.term_grace_s
        self._stopping = signal.Signals(number).name
        self._deadline = until if self._deadline is None else min(self._deadline, until)

    def _give_up(self, error: CrhBatchError) -> None:
        """Stop because of trouble that is not a tomodir's: nothing more is claimed, what runs is ended."""
        with self._lock:
            self._trouble = self._trouble or error
            self._stopping = self._stopping or "trouble"
            self._deadline = time.time()
        self._lanes.stop()
        self._wake()

    def _wake(self) -> None:
        with contextlib.suppress(OSError):
            os.write(self._waking, b".")

    # ---------------------------------------------------------------- main thread

    def _watch(self) -> None:
        ended = False
        next_look = time.monotonic() + WATCH_S
        watcher = Watcher(self._batch, self._session)
        while self._slots_at_work:
            self._notice_end_of_job()
            if self._stopping:
                self._lanes.stop()
            if self._deadline is not None and time.time() >= self._deadline and not ended:
                ended = True
                for attempt in self._running():
                    attempt.end(Failure.WALLTIME.value)
            if time.monotonic() >= next_look:
                next_look = time.monotonic() + WATCH_S
                watcher.look_at(self._running())
            self._sleep_until(next_look, ended)

    def _sleep_until(self, next_look: float, ended: bool) -> None:
        wait_s = max(0.0, next_look - time.monotonic())
        if self._deadline is not None and not ended:
            wait_s = min(wait_s, max(0.0, self._deadline - time.time()))
        readable, _, _ = select.select([self._reading], [], [], wait_s)
        if readable:
            os.read(self._reading, 4096)

    def _notice_end_of_job(self) -> None:
        end = self._options.end_time
        if end is not None and self._deadline is None and time.time() >= end - self._options.grace_s:
            self._stopping = self._stopping or "end of the job"
            self._deadline = time.time()

    def _running(self) -> list[Attempt]:
        with self._lock:
            return list(self._attempts.values())

    # ---------------------------------------------------------------- slots

    def _slot(self) -> None:
        try:
            while (claimed := self._claim_next()) is not None:
                lane, item, number = claimed
                self._run_claim(lane, item, number)
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

    def _claim_next(self) -> tuple[Lane, Item, int] | None:
        """Claim the next tomodir that fits; None when there is none and none can come."""
        while (lane := self._lanes.enter()) is not None:
            claimed: tuple[Item, int] | None = None
            try:
                with lane.lock:
                    claimed = self._claim_in(lane)
            finally:
                if claimed is None:
                    self._lanes.leave(lane, has_begun=False)
            if claimed is not None:
                return lane, *claimed
        return None

    def _claim_in(self, lane: Lane) -> tuple[Item, int] | None:
        links = self._batch.settings.links
        while not self._stopping:
            candidate = lane.chooser.next()
            if candidate is None:
                lane.exhausted = True
                return None
            item = self._batch.items[candidate.item_id]
            if not self._fits(item):
                lane.chooser.skip(candidate.item_id)
                self._unfit += 1
                continue
            if self._win(candidate, links):
                lane.chooser.won()
                self._session.append("claim", id=candidate.item_id, attempt=candidate.attempt)
                return item, candidate.attempt
            lane.chooser.lost()
        return None

    def _win(self, candidate: Candidate, links: str) -> bool:
        return self._session.win(candidate.item_id, claim_mark(candidate.attempt), links)

    def _fits(self, item: Item) -> bool:
        """Return whether a tomodir may be begun: estimates are guesses, so a fresh job tries whatever there is."""
        end = self._options.end_time
        if end is None:
            return True
        usable_s = end - self._options.grace_s - time.time()
        whole_s = end - self._options.grace_s - self._started
        return usable_s > 0 and usable_s >= min(TIME_MARGIN * item.estimate_s, FRESH_JOB * whole_s)

    def _run_claim(self, lane: Lane, item: Item, number: int) -> None:
        attempt: Attempt | None = None
        has_begun = False
        try:
            try:
                attempt = stages.prepare(self._batch, item, number, self._scratch)
            except CrhBatchError as error:
                self._settle(lane, item, number, stages.failed_before_start(item, number, error), None)
                return
            except OSError as error:
                self._give_back_unstaged(item, number, error)
            assert attempt is not None
            with self._lock:
                self._attempts[item.item_id, number] = attempt
            granted = self._cores.take(lane.width)
            has_begun = True
            self._lanes.began()
            try:
                result = self._run(attempt)
            finally:
                self._cores.give_back(granted)
            self._settle(lane, item, number, result, attempt)
        finally:
            with self._lock:
                self._attempts.pop((item.item_id, number), None)
            self._lanes.leave(lane, has_begun=has_begun)
            if attempt is not None and not self._options.keep_scratch:
                self._discards.put(attempt)

    def _run(self, attempt: Attempt) -> stages.Result:
        if self._deadline is not None and time.time() >= self._deadline:
            attempt.end(Failure.WALLTIME.value)
        began = time.monotonic()
        result = stages.run(self._batch, attempt, self._guard, self._on_stage, self._is_stopping)
        self._lanes.short_runs = time.monotonic() - began < SHORT_RUN_S
        return result

    def _is_stopping(self) -> bool:
        """Return whether this pilot was told to end; RACE: the same signal may reach it a moment after its program."""
        deadline = time.monotonic() + SIGNAL_LAG_S
        while not self._stopping and time.monotonic() < deadline:
            time.sleep(0.05)
        return bool(self._stopping)

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
            attempt.program.end(attempt.ended_by)
        self._session.append("stage", id=attempt.item.item_id, attempt=attempt.number, stage=attempt.stage)

    def _settle(self, lane: Lane, item: Item, number: int, result: stages.Result, attempt: Attempt | None) -> None:
        if attempt is not None and attempt.ended_by in (Failure.LOST.value, Failure.CANCELLED.value):
            # RACE: another process has already said how this attempt ended; its name stands.
            self._session.append("fail", **{**result.event, "failure": attempt.ended_by})
            return
        self._committer.hand_over(result)
        if result.failure is None:
            self._finished += 1
            self._failures_in_a_row = 0
            return
        self._failed += 1
        print(f"{item.path}: attempt {number}: {result.failure.value}: {result.error}", file=sys.stderr, flush=True)
        if result.failure is Failure.PROGRAM:
            raise LedgerError(result.error, "Check the program on this node; the tomodirs stay ready.")
        own_fault = result.failure in (Failure.INPUT, Failure.WALLTIME)
        self._failures_in_a_row = 0 if own_fault else self._failures_in_a_row + 1
        if self._failures_in_a_row >= MAX_FAILURES_IN_A_ROW:
            raise LedgerError(
                f"{self._failures_in_a_row} attempts in a row failed on this node, the last one: {result.error}",
                "Look at the node; the tomodirs that were not tried stay ready.",
            )
        lane.reopen()


def _unwritable(batch: Batch, error: OSError) -> LedgerError:
    return LedgerError(
        f"{error.filename or batch.paths.directory}: {error.strerror or error}",
        "The batch's directory must be writable, with free space; then submit again: nothing is lost.",
        batch.paths.directory,
    )


def make_scratch(path: str) -> None:
    """Make a pilot's private directory.

    Raises:
        LedgerError: the directory that it is to lie in can't be written.
    """
    try:
        os.makedirs(os.path.dirname(path), exist_ok=True)
        os.mkdir(path, 0o700)
    except OSError as error:
        raise LedgerError(
            f"{path}: the scratch directory can't be made: {error.strerror}",
            "Choose another one with --scratch or in the profile.",
            path,
        ) from error


def remove_scratch(path: str) -> None:
    """Remove a pilot's private directory."""
    shutil.rmtree(path, ignore_errors=True)
