"""Submitting a tree: what is new becomes a batch, what exists goes on, what is alive is left alone.

Every tomodir that was looked at ends in exactly one place of the report.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from crh_batch.engines.base import Engine, Started
from crh_batch.engines.living import Living
from crh_batch.engines.new_batch import make_batch
from crh_batch.engines.place import Here, Place
from crh_batch.engines.resume import Resumed, resume, start_pilots
from crh_batch.engines.take_over import TakeOver
from crh_batch.errors import Busy, CrhBatchError
from crh_batch.hosts.base import Host
from crh_batch.ledger.batch import Batch, counts
from crh_batch.ledger.registration import Registration
from crh_batch.plan.dependencies import link, look_again
from crh_batch.plan.history import NO_HISTORY, History, estimated
from crh_batch.plan.survey import Survey, describe_into
from crh_batch.plan.wishes import NO_WISHES, Wishes
from crh_batch.profile import Profile


@dataclass
class SubmitReport:
    """What a submit did.

    Args:
        batch: the new batch, None if nothing was new.
        started: pilots for the new batch.
        resumed: batches that existed, with what was done for each.
        left: tomodirs that were left alone, with the reason.
        problems: tomodirs that can't be run, with the reason.
        trouble: why pilots could not be started or a batch not be brought on; the work is kept.
    """

    batch: Batch | None = None
    started: list[Started] = field(default_factory=list)
    resumed: list[Resumed] = field(default_factory=list)
    left: list[tuple[str, str]] = field(default_factory=list)
    problems: list[tuple[str, str]] = field(default_factory=list)
    trouble: list[CrhBatchError] = field(default_factory=list)

    @property
    def batches(self) -> list[Batch]:
        """All batches that tomodirs of the tree belong to, the new one last."""
        return [one.batch for one in self.resumed] + ([self.batch] if self.batch else [])


def submit(
    survey: Survey,
    engine: Engine,
    host: Host,
    profile: Profile,
    *,
    wishes: Wishes = NO_WISHES,
    history: History = NO_HISTORY,
    force: bool = False,
    collect: bool = True,
    place: Place | None = None,
    on_progress: Callable[[int, int], None] = lambda done, total: None,
) -> SubmitReport:
    """Submit what a survey found.

    Args:
        wishes: what is asked of the new batch, if there is one.
        history: what similar tomodirs took before.
        force: take over registrations that are empty, damaged, or whose batch is gone; take claims for dead of which
            nothing is known; run again what failed with the same input.
        collect: collect what dead batches left.
        place: where the new batch is to run; on this machine's filesystem by default.

    Raises:
        ProgramMissing, HostError, LedgerError: nothing could be begun.
    """
    report = SubmitReport()
    batches = _sort_registered(survey, engine.most_threads, report, force=force)
    for directory in batches:
        _resume(directory, engine, host, report, force=force, collect=collect)
    # After collecting: a result that a tomodir takes may be in its place only now.
    look_again(survey, engine.most_threads)
    link(survey, engine.most_threads)
    survey.planned = estimated(survey.planned, history)
    place = place or Here()
    leave_out_unfit(survey, place)
    report.problems = list(survey.problems)
    report.left += survey.waiting
    if survey.planned:
        _submit_new(survey, engine, profile, wishes, report, place, on_progress)
    return report


def leave_out_unfit(survey: Survey, place: Place) -> None:
    """Take out of the planned what can't run where the new batch will, and what takes results of it."""
    unfit = {one.path: why for one in survey.planned if (why := place.unfit(survey.root, one))}
    survey.problems += unfit.items()
    behind = unfit
    while behind:
        behind = {
            one.path: f"takes a result of {source}, which can't be run"
            for one in survey.planned
            for source in one.after
            if source in unfit and one.path not in unfit
        }
        survey.waiting += behind.items()
        unfit.update(behind)
    survey.planned = [one for one in survey.planned if one.path not in unfit]


def _sort_registered(survey: Survey, most_threads: int, report: SubmitReport, *, force: bool) -> list[str]:
    """Look at each registration: free what may be taken over (it joins the planned), return the living batches."""
    take_over = TakeOver(force=force)
    kept = survey.registered
    all_freed: set[str] = set()
    while True:
        # Again as long as some are freed: then those that wait for their results may be freed as well.
        answers = [(path, take_over.try_to_free(os.path.join(survey.root, path), one)) for path, one in kept]
        report.left += [(path, answer) for path, answer in answers if answer]
        freed = [path for path, answer in answers if answer is None]
        for path in freed:
            # Its old batch has nothing to do with it any more.
            describe_into(survey, path, most_threads)
        all_freed.update(freed)
        kept = [one for one, (_, answer) in zip(kept, answers) if answer == ""]
        if not freed:
            break
    take_over.close()
    kept_by = [one for path, one in survey.registered if path not in all_freed and not one.flaw]
    # Thousands have the same batch, which is looked for once.
    directories = dict.fromkeys(os.path.abspath(one.batch_directory) for one in kept_by)
    return [directory for directory in directories if counts(directory)]


def _resume(directory: str, engine: Engine, host: Host, report: SubmitReport, *, force: bool, collect: bool) -> None:
    try:
        resumed = resume(Batch(directory), engine, host, force=force, collect=collect)
        report.resumed.append(resumed)
        report.trouble += resumed.trouble
    except Busy as error:
        report.trouble.append(error)
        report.resumed.append(Resumed(Batch(directory), alive=True))
    except CrhBatchError as error:
        report.trouble.append(error)


def _submit_new(
    survey: Survey,
    engine: Engine,
    profile: Profile,
    wishes: Wishes,
    report: SubmitReport,
    place: Place,
    on_progress: Callable[[int, int], None],
) -> None:
    def start(batch: Batch) -> None:
        try:
            report.started = start_pilots(batch, engine, Living([], frozenset()), trouble=report.trouble)
        except CrhBatchError as error:
            # The batch is whole; the next command sends it.
            report.trouble.append(error)

    made = make_batch(survey.root, survey.planned, profile, start, on_progress, wishes, engine.memory_rule, place)
    report.batch = made.batch
    report.left += [(path, taken.describe()) for path, taken in made.taken]
    report.left += made.waiting
    report.problems += [(path, str(error)) for path, error in made.refused]


def registered_elsewhere(registrations: Sequence[tuple[str, Registration]]) -> list[tuple[str, str]]:
    """Return a line for each registered tomodir, for check."""
    return [(path, registration.describe()) for path, registration in registrations]
