"""The last steps that commands share: wait with a bar, collect, show results, decide on the exit code."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Sequence

from crh_batch.cli.common import bar, complain, talk, talk_problems
from crh_batch.cli.fetching import fetch_logs_of
from crh_batch.cli.seeing import see_with_results
from crh_batch.engines.base import plural
from crh_batch.engines.fetched import fetched
from crh_batch.engines.history_file import remember
from crh_batch.engines.target import Target, is_over
from crh_batch.engines.wait import End, wait_for
from crh_batch.errors import CrhBatchError
from crh_batch.hosts.this_machine import ThisMachine
from crh_batch.ledger.batch import Batch
from crh_batch.ledger.collect import CollectReport, collect_batch
from crh_batch.ledger.custody import custody_of, was_left_by_the_dead
from crh_batch.ledger.items import Item
from crh_batch.ledger.names import State, StateName
from crh_batch.ledger.submissions import read_submissions
from crh_batch.report.states import Status, count, status_of
from crh_batch.report.table import console, counts_line, failed_table, results_table
from crh_batch.report.unfit import left_as_unfit

TIMED_OUT = 1

Takes = Callable[[Item], bool]


def wait_with_bar(targets: Sequence[Target], timeout_s: float | None = None) -> int:
    """Wait for targets with a bar; return the exit code: 0 if all ended well, 1 if not all did (yet)."""
    return say_end(targets, wait_for_end(targets, timeout_s))


def say_end(targets: Sequence[Target], end: End) -> int:
    """Say how waiting for targets ended; return the exit code."""
    statuses = [status_of(target.batch, _is_waiting, target.only) for target in targets]
    for status in statuses:
        talk(f"batch {status.batch.batch_id}: {counts_line(status)}")
        talk_held(status)
        talk_stuck(status)
    if end is End.TIMEOUT:
        talk("not over yet: the time to wait is up; crh-batch wait goes on")
        return TIMED_OUT
    if end is End.STALLED:
        talk("no pilot is left, though tomodirs are: crh-batch submit starts some again")
        for target in targets:
            talk_unfit(target.batch)
            talk_last_words(target.batch)
        return 3
    return 0 if all(status.complete for status in statuses) else 1


def talk_held(status: Status) -> None:
    """Say what to do about tomodirs that are held: nobody else will."""
    if held := status.counts[StateName.HELD]:
        talk(f"  {held} held: crh-batch release, then crh-batch submit starts pilots for them")


def _is_waiting(item_id: int, state: State) -> bool:
    return state.name is StateName.WAITING


def talk_stuck(status: Status) -> None:
    """Say which tomodirs wait for results that won't come by themselves, and what to do."""
    stuck = [(row.path, row.error) for row in status.rows if row.is_stuck]
    talk_problems(stuck, "wait in vain")
    if stuck:
        talk("  Mend what they wait for and submit again (or crh-batch release it); they follow by themselves.")


def wait_for_end(targets: Sequence[Target], timeout_s: float | None = None) -> End:
    """Wait for targets with a bar."""
    with bar("running") as show:

        def on_counts(counts: Counter[StateName]) -> None:
            over = counts[StateName.DONE] + counts[StateName.COLLECTED] + counts[StateName.FAILED]
            show(over, sum(counts.values()))

        return wait_for(
            targets,
            ThisMachine(),
            timeout_s=timeout_s,
            on_counts=on_counts,
            on_started=lambda one: talk(f"started {one.where}"),
            on_silent=lambda batch, error: talk(f"{error.message}; tried again as long as this waits"),
        )


def talk_unfit(batch: Batch) -> None:
    """Say what pilots left because it may not fit into a job, and what to change; more of such jobs would not help."""
    unfit = left_as_unfit(batch)
    if unfit.time:
        near = ", or give a later --deadline" if batch.settings.deadline else ""
        talk(
            f"  {unfit.time} that are ready may not fit into the time that their pilots had: raise time_minutes in the "
            f"profile{near}, then crh-batch submit"
        )
    if unfit.memory:
        talk(
            f"  {unfit.memory} that are ready need more memory than their pilots had: raise memory_mb (or "
            "max_memory_mb) in the profile, then crh-batch submit"
        )


def talk_last_words(batch: Batch) -> None:
    """Show how the logs of the last submission's pilots ended, for a user who wonders why they are gone."""
    # Of each place where it runs: on which cluster somebody has to look depends on that.
    last = {one.stage: one for one in read_submissions(batch.paths)}
    for submission in last.values():
        fetch_logs_of(batch, submission)
        _talk_ends(os.path.join(batch.paths.logs, submission.token))


def _talk_ends(directory: str) -> None:
    try:
        logs = sorted(os.path.join(directory, name) for name in os.listdir(directory))
    except OSError:
        return
    for path in logs[:3]:
        with open(path, "rb") as stream:
            stream.seek(max(0, os.path.getsize(path) - 2000))
            lines = stream.read().decode(errors="replace").strip().splitlines()[-4:]
        if lines:
            talk(f"{path} ends with:")
            for line in lines:
                talk(f"  {line}")


def collect_all(batches: Sequence[Batch], *, force: bool = False, tables: bool = True) -> int:
    """Collect batches and say how it went, with tables on stdout or without; return the exit code."""
    code = 0
    for batch in batches:
        try:
            report = collect_target(Target(batch), force=force)
        except CrhBatchError as error:
            complain([error])
            code = max(code, error.exit_code)
            continue
        code = max(code, say_collected(Target(batch), report, tables=tables))
    return code


def collect_target(target: Target, *, force: bool = False, force_custody: bool = False) -> CollectReport:
    """Collect what is done of a target, with a bar; takes custody only if there is something.

    Raises:
        Busy: another client is at work on the batch.
    """
    batch = target.batch
    silent = see_with_results(batch)
    status = count(batch)
    if not status.counts[StateName.DONE] and not was_left_by_the_dead(batch):
        return CollectReport(trouble=[*silent])
    with bar("collecting") as on_progress, custody_of(batch, force=force_custody) as custody:
        only = _both(None if target.only is None else target.takes, fetched(batch, silent))
        report = collect_batch(batch, custody, force=force, only=only, on_progress=on_progress)
        report.trouble += silent
    if is_over(status.counts):
        remember(batch)
    return report


def _both(one: Takes | None, other: Takes | None) -> Takes | None:
    if one is None or other is None:
        return one or other
    return lambda item: one(item) and other(item)


def say_collected(target: Target, report: CollectReport, *, tables: bool = True) -> int:
    """Tell what was collected and what failed; return the exit code: 0 only if all that is meant is in place.

    Args:
        tables: print what failed on stdout, which may be wanted for JSON alone.
    """
    batch = target.batch
    status = status_of(batch, lambda item_id, state: state.name in (StateName.FAILED, StateName.WAITING), target.only)
    talk(f"batch {batch.batch_id}: {plural(report.collected, 'result')} put in place; {counts_line(status)}")
    talk_problems([(path, str(error)) for path, error in report.refused], "results stay in their packs")
    if tables:
        show_failed(status)
    talk_stuck(status)
    if report.trouble:
        return max(error.exit_code for error in report.trouble)
    return 0 if status.complete and not report.refused else 1


def show_failed(status: Status, limit: int = 50) -> None:
    """Print the failed tomodirs with their reasons."""
    failed = [row for row in status.rows if row.state.name is StateName.FAILED]
    if failed:
        console().print(failed_table(failed[:limit]))
    if len(failed) > limit:
        talk(f"... and {len(failed) - limit} more: crh-batch status --all --json")


def show_results(batch: Batch, limit: int = 100) -> None:
    """Print what finished tomodirs took, and where they got."""
    status = status_of(batch, lambda item_id, state: state.name in (StateName.DONE, StateName.COLLECTED))
    rows = sorted(status.rows, key=lambda row: row.path)
    if rows:
        console().print(results_table(rows[:limit]))
    if len(rows) > limit:
        talk(f"... and {len(rows) - limit} more: crh-batch status --all --json")
