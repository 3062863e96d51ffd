"""Looking through a tree of tomodirs: what needs work, what doesn't, what can't be run, what is somebody's already."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

from crh_batch.errors import CrhBatchError, UsageError
from crh_batch.ledger.registration import Registration, read_registration
from crh_batch.plan.order import Planned, plan_tomodir
from crh_batch.plan.selection import EVERYTHING, Selection
from crh_batch.tomodir.needs import describe
from crh_batch.tomodir.scan import find_tomodirs, is_tomodir
from crh_batch.tomodir.stage import Description


@dataclass
class Survey:
    """What was found; all paths are relative to ``root``.

    Args:
        planned: need work and can run.
        finished: need nothing.
        registered: have a .crh file, so they are not looked into.
        problems: look like tomodirs and can't run, or could not be read, with the reason.
        waiting: take the result of one that another batch has, with the reason.
        numbers: each tomodir's place among all that were found, sorted by path; what ``--select`` counts.
    """

    root: str
    planned: list[Planned] = field(default_factory=list)
    finished: list[tuple[str, Description]] = field(default_factory=list)
    registered: list[tuple[str, Registration]] = field(default_factory=list)
    problems: list[tuple[str, str]] = field(default_factory=list)
    waiting: list[tuple[str, str]] = field(default_factory=list)
    numbers: dict[str, int] = field(default_factory=dict)


def choose_root(targets: Sequence[str], cwd: str) -> str:
    """Return the directory that a batch of these targets belongs to.

    That is the current directory if all targets lie in it, for there the user will type the next command; else their
    common parent. A root is never a tomodir itself, because .crh files stand beside tomodirs.

    Raises:
        UsageError: a target isn't a directory.
    """
    cwd = os.path.abspath(cwd)
    places = [os.path.abspath(os.path.join(cwd, target)) for target in targets] or [cwd]
    for target, place in zip(targets, places):
        if not os.path.isdir(place):
            raise UsageError(f"{target}: not a directory", "Name tomodirs or directories that hold some.")
    common = cwd if all(_is_in(place, cwd) for place in places) else os.path.commonpath(places)
    return os.path.dirname(common) if is_tomodir(common) and common != os.sep else common


def _is_in(place: str, directory: str) -> bool:
    return place == directory or place.startswith(directory.rstrip(os.sep) + os.sep)


def examine(
    targets: Sequence[str],
    root: str,
    *,
    cwd: str = ".",
    most_threads: int,
    match: str = "",
    selection: Selection = EVERYTHING,
    most: int | None = None,
    on_progress: Callable[[int], None] = lambda count: None,
) -> Survey:
    """Look through targets and describe every tomodir in them that is not registered.

    Args:
        most_threads: cores that one tomodir may get.
        match: regular expression that must be found in a tomodir's path relative to the root.
        selection: which of those that match, in the order of their paths.
        most: stop when so many were found that need work; None for all.
        on_progress: called with how many tomodirs were looked at.

    Raises:
        UsageError: ``match`` is no regular expression, or the selection names a number that no tomodir has.
    """
    survey = Survey(root)
    try:
        pattern = re.compile(match)
    except re.error as error:
        raise UsageError(
            f"--match {match}: not a regular expression: {error}", "See the manual of Python's re."
        ) from error

    def unreadable(path: str, message: str) -> None:
        survey.problems.append((path, message))

    matching = sorted({path for path in _find(targets, root, cwd, unreadable) if pattern.search(path)})
    selected = selection.of(matching)
    for count, (number, path) in enumerate(selected, start=1):
        survey.numbers[path] = number
        on_progress(count)
        _look_at(survey, path, most_threads)
        if most is not None and len(survey.planned) >= most:
            break
    return survey


def _find(targets: Sequence[str], root: str, cwd: str, on_problem: Callable[[str, str], None]) -> Iterator[str]:
    for target in targets or (root,):
        place = os.path.abspath(os.path.join(cwd, target))
        base = os.path.relpath(place, root)

        def below(relative: str, base: str = base) -> str:
            return os.path.normpath(os.path.join(base, relative))

        def problem(relative: str, message: str, below: Callable[[str], str] = below) -> None:
            on_problem(below(relative), message)

        for relative in find_tomodirs(place, problem):
            yield below(relative)


def _look_at(survey: Survey, path: str, most_threads: int) -> None:
    tomodir = os.path.join(survey.root, path)
    registration = read_registration(tomodir)
    if registration is not None:
        survey.registered.append((path, registration))
    else:
        describe_into(survey, path, most_threads)


def describe_into(survey: Survey, path: str, most_threads: int) -> None:
    """Describe one tomodir and add it to the survey where it belongs."""
    try:
        description = describe(os.path.join(survey.root, path))
    except CrhBatchError as error:
        survey.problems.append((path, str(error)))
        return
    if description.stages:
        survey.planned.append(plan_tomodir(path, description, most_threads))
    else:
        survey.finished.append((path, description))
