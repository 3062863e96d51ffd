"""SGE's jobs as text: qstat for those it has, qacct for those that have ended.

Sources: qstat(1), qacct(1) and accounting(5) of Son of Grid Engine 8.1.9, and answers recorded from it
(tests/recorded/sge).
"""

from __future__ import annotations

import math
import re
import time
import xml.etree.ElementTree as ElementTree
from collections.abc import Collection

from crh_batch.errors import Unreachable
from crh_batch.hosts.base import Completed
from crh_batch.schedulers.base import (
    JOB_NAME_PREFIX,
    JobRow,
    JobState,
    expand_tasks,
    is_number,
    keyed_lines,
    scaled,
    whole_number,
)
from crh_batch.schedulers.sge_words import facts, last_words, parse_xml

# What qacct says of a job that went over a limit: h_rt, h_cpu or h_vmem.
_FAILED_BY_LIMIT = "37"


def qstat_argv(user: str) -> list[str]:
    """Return the question for all jobs of a user, one row an array task.

    With ``-s prsz`` those are in it that have ended lately (sge_conf(5), finished_jobs), before qacct knows them.
    """
    return ["qstat", "-u", user, "-g", "d", "-s", "prsz", "-xml"]


def parse_qstat(done: Completed, tokens: Collection[str]) -> list[JobRow]:
    """Read qstat's answer: the rows of these submissions.

    Raises:
        Unreachable: qstat failed, timed out or said no XML; nothing is known then.
    """
    if done.exit_status != 0:
        raise Unreachable(
            f"qstat failed: {last_words(done) or 'no answer in time'}",
            "Nothing is taken for dead while the scheduler doesn't answer; try again later.",
            *facts(done),
        )
    rows: dict[tuple[str, str], JobRow] = {}
    for job in parse_xml(done).iter("job_list"):
        for row in _rows(job):
            # A task that lives counts more than the one that has ended under its number, should both be listed.
            former = rows.get((row.job_id, row.task))
            if row.token in tokens and (former is None or former.state is JobState.ENDED):
                rows[row.job_id, row.task] = row
    return list(rows.values())


def _rows(job: ElementTree.Element) -> list[JobRow]:
    number, name, word = (job.findtext(tag) or "" for tag in ("JB_job_number", "JB_name", "state"))
    tasks = job.findtext("tasks") or ""
    if not is_number(number) or not name.startswith(JOB_NAME_PREFIX):
        return []
    reason = "error" if "E" in word else ""
    return [JobRow(number, task, state_of(word), word, name, reason) for task in expand_tasks(tasks) or [""]]


def state_of(word: str) -> JobState:
    """Return what a state means: letters that add up, as ``qw``, ``hRwq``, ``Eqw``, ``dr``, ``Rt``.

    d being deleted, E error, h held, q queued, w waiting, r running, t on its way to a node, R was restarted,
    s, S, T, N, P suspended in one way or another, z ended.
    """
    letters = set(word)
    if not word or letters - set("dEhqwrtRsSTNPz"):
        return JobState.UNKNOWN
    if "z" in letters:
        return JobState.ENDED
    if letters & set("qw"):
        return JobState.PENDING
    return JobState.RUNNING if letters & set("rtsSTNP") else JobState.UNKNOWN


def job_argv(job_ids: Collection[str]) -> list[str]:
    """Return the question for all that is known of some jobs; it is the one that gives the reason of an error."""
    return ["qstat", "-j", ",".join(job_ids), "-xml"]


def stuck_tasks(done: Completed) -> list[str]:
    """Return the tasks (``12.3``) that wait in error because a node did not see the directory that they start in.

    That is what a shared filesystem does that is late; SGE doesn't try again by itself. No other error is looked
    past: it needs a person.
    """
    if done.exit_status != 0:
        return []
    found = []
    for job in parse_xml(done).iter("element"):
        number = job.findtext("JB_job_number") or ""
        for task in job.iterfind("JB_ja_tasks/*"):
            messages = [one.text or "" for one in task.iterfind("JAT_message_list/*/QIM_message")]
            if messages and all("can't chdir to" in message for message in messages):
                found.append(f"{number}.{task.findtext('JAT_task_number') or '1'}")
    return found


def clear_argv(tasks: Collection[str]) -> list[str]:
    """Return how tasks in error are tried again."""
    return ["qmod", "-cj", *tasks]


def qacct_argv(user: str, since: float) -> list[str]:
    """Return one question for all ended jobs of this program: qacct reads the whole file for each question.

    Args:
        since: seconds since 1970; jobs that started before don't matter.
    """
    begin = time.strftime("%Y%m%d%H%M", time.localtime(since))
    return ["qacct", "-o", user, "-b", begin, "-j", f"{JOB_NAME_PREFIX}*"]


def parse_qacct(done: Completed, tokens: Collection[str]) -> list[JobRow] | None:
    """Read qacct's answer, one row an array task; None where there is no accounting or it doesn't answer.

    A task that was rerun has several records; each is an end, and only tasks that qstat doesn't know are asked for.
    """
    if done.exit_status != 0:
        return [] if re.search(r"job (?:name|id) \S+ not found", done.stderr + done.stdout) else None
    rows: dict[tuple[str, str], JobRow] = {}
    for text in re.split(r"^=+$", done.stdout, flags=re.MULTILINE):
        record = keyed_lines(text)
        if record.get("jobname", "").removeprefix(JOB_NAME_PREFIX) in tokens and record.get("jobnumber"):
            row = _ended(record)
            rows[row.job_id, row.task] = row
    return list(rows.values())


def _ended(record: dict[str, str]) -> JobRow:
    failed, _, why = record.get("failed", "0").partition(":")
    task = record.get("taskid", "undefined")
    return JobRow(
        record["jobnumber"],
        task if is_number(task) else "",
        JobState.ENDED,
        f"failed {failed.strip()}, exit status {record.get('exit_status', '').split(' ')[0]}",
        record["jobname"],
        why.strip(),
        failed.strip() == _FAILED_BY_LIMIT and _memory_was_short(record),
    )


def _memory_was_short(record: dict[str, str]) -> bool:
    """Return whether a job that went over a limit had all the memory it had asked for; else it was its time."""
    limit = re.search(r"\bh_vmem=([\d.]+)([KMGTkmgt]?)", record.get("category", ""))
    used = re.match(r"([\d.]+)([KMGT]?)", record.get("maxvmem", ""))
    if limit is None or used is None:
        return False
    slots = whole_number(record.get("slots", "")) or 1
    used_bytes, limit_bytes = _bytes(*used.groups()), _bytes(*limit.groups())
    # What was measured last, a moment before the end, may be a little less.
    return used_bytes is not None and limit_bytes is not None and used_bytes >= 0.9 * slots * limit_bytes


def _bytes(number: str, unit: str) -> int | None:
    power = " KMGT".index(unit.upper()) if unit else 0
    return scaled(number, math.pow(1000 if unit.islower() else 1024, power))
