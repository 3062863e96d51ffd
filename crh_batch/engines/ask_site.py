"""Asking a scheduler what it offers."""

from __future__ import annotations

from crh_batch.errors import HostError
from crh_batch.hosts.base import Completed, Host
from crh_batch.schedulers.base import Scheduler
from crh_batch.site import Site


def ask_site(scheduler: Scheduler, host: Host, user: str) -> Site:
    """Ask all that the scheduler can be asked; a command that isn't there counts as one that failed.

    Args:
        user: whose accounts are wanted.

    Raises:
        Unreachable: the scheduler doesn't answer.
    """
    answers: list[Completed] = []
    while questions := scheduler.site_questions(answers, user):
        answers += [_ask(host, argv) for argv in questions]
    return scheduler.parse_site(answers, user)


def _ask(host: Host, argv: list[str]) -> Completed:
    try:
        return host.run(argv)
    except HostError as error:
        # sacctmgr is a package of its own; the rest is told without it.
        return Completed(tuple(argv), 127, "", error.message)
