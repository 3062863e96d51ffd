"""SGE as text: what is said to qsub, qstat, qacct, qdel and qconf, and what they answer.

Sources: the manuals of Son of Grid Engine 8.1.9, and answers recorded from it (tests/recorded/sge).
"""

from __future__ import annotations

import base64
import os
import pwd
import re
from collections.abc import Sequence

from crh_batch.errors import MaybeSubmitted, ProfileError, SchedulerError
from crh_batch.hosts.base import Completed
from crh_batch.profile import Profile
from crh_batch.schedulers import sge_capacity, sge_queue, sge_site
from crh_batch.schedulers.base import ArrayScript, JobRow, Limits
from crh_batch.schedulers.sge_words import answer_was_lost, facts, last_words, refused
from crh_batch.site import Capacity, Partition, Site

# The lowest priority that qsub(1) takes; users may lower theirs only.
_LOWEST_PRIORITY = -1023
# What sites call the parallel environment for several cores of one node, where there are several.
_USUAL_ENVIRONMENTS = ("smp", "openmp", "threaded", "threads", "shared", "multithread", "thread", "shm")


def directives(script: ArrayScript, profile: Profile) -> list[str]:
    """Return the qsub options that the profile asks for; nothing that nobody asked for.

    Raises:
        ProfileError: several cores are wanted, and there is no parallel environment to ask for them.
    """
    lines = []
    if partition := script.partition or ",".join(profile.partitions):
        lines.append(f"-q {partition}")
    if profile.account:
        lines.append(f"-P {profile.account}")
    if profile.nice > 0:
        lines.append(f"-p {max(-profile.nice, _LOWEST_PRIORITY)}")
    if script.cores > 1:
        lines.append(f"-pe {_environment(script, profile)} {script.cores}")
    requests = _requests(script, profile)
    if requests:
        lines.append(f"-l {','.join(requests)}")
    if script.after_job:
        lines.append(f"-hold_jid {script.after_job}")
    return lines


def _environment(script: ArrayScript, profile: Profile) -> str:
    name = profile.parallel_environment or script.parallel_environment
    if not name:
        raise ProfileError(
            f"no parallel environment of SGE found that gives {script.cores} slots on one node (rule $pe_slots)",
            "Set parallel_environment in the profile (qconf -spl lists the names), or max_threads = 1.",
            "",
            "parallel_environment",
        )
    return name


def _requests(script: ArrayScript, profile: Profile) -> list[str]:
    requests = [part.strip() for part in profile.constraint.split(",") if part.strip()]
    if profile.time_minutes:
        limit_s = 60 * profile.time_minutes
        requests.append(f"h_rt={limit_s}")
        if profile.warn_s:
            # SIGUSR1 comes then; the pilot also knows its end by itself.
            requests.append(f"s_rt={limit_s - profile.warn_s}")
    if profile.memory_resource and profile.memory != "none":
        # Per slot at nearly all sites.
        requests.append(f"{profile.memory_resource}={-(-script.memory_mb // script.cores)}M")
    return requests


# What SGE itself replaces in the path of a directory (qsub(1), -wd and -o), and what breaks its own files on nodes.
_NOT_FOR_SGE = re.compile(r"[$\n\r]")


def submit_argv(directory: str, script: str) -> list[str]:
    """Return how a script is submitted.

    Args:
        directory: where its tasks start and their output goes; passed as an argument, so that no shell ever reads it.
            A path with ``$`` or a line break goes in Base64 instead, in a variable, for SGE puts the values of its own
            variables into such paths, and cuts them at the line break (seen with 8.1.9). The job script then goes
            there by itself.
        script: the script's path.
    """
    if not _NOT_FOR_SGE.search(directory):
        return ["qsub", "-terse", "-wd", directory, script]
    coded = base64.urlsafe_b64encode(os.fsencode(directory)).decode().replace("=", ".")
    return ["qsub", "-terse", "-wd", "/", "-o", "/dev/null", "-v", f"CRH_BATCH_LOGS={coded}", script]


def parse_submitted(done: Completed) -> str:
    """Return the job id that qsub -terse answered: ``123``, or ``123.1-10:1`` for an array.

    Raises:
        MaybeSubmitted: qsub timed out or failed in a way that leaves open whether the job exists.
        SchedulerError: qsub refused.
    """
    later = "The next command looks for the job by its name before anything is sent again."
    if done.exit_status == 0:
        # A site's checks may have said something before.
        for line in reversed(done.stdout.splitlines()):
            match = re.match(r"([0-9]{1,18})(?:\.\d+-\d+:\d+)?\s*\Z", line)
            if match:
                return match.group(1)
        raise MaybeSubmitted(f"qsub answered without a job id: {done.stdout.strip()[:200]!r}", later, *facts(done))
    said = last_words(done)
    if answer_was_lost(done) or not refused(done):
        raise MaybeSubmitted(f"qsub failed: {said or 'no answer in time'}", later, *facts(done))
    raise SchedulerError(
        f"qsub refused: {said}",
        "Mend the profile (partition, account, time, memory), then run crh-batch submit again; nothing is lost.",
        *facts(done),
    )


def parallel_environment(answers: Sequence[Completed], pe_list: Sequence[str]) -> str:
    """Return the parallel environment for several cores of one node; empty if there is none.

    Args:
        answers: of ``qconf -sp``, one for each environment.
        pe_list: those of the queues that jobs may go to.
    """
    found = [one for one in map(sge_site.parse_environment, answers) if one is not None and one.on_one_node]
    names = [one.name for one in found if one.name in pe_list]
    for name in (*_USUAL_ENVIRONMENTS, *names):
        if name in names:
            return name
    return ""


def environments_of(queues: Completed, chosen: Sequence[Partition]) -> list[str]:
    """Return the parallel environments of some queues, each once, from ``qconf -sq``; exceptions for hosts too."""
    wanted = {one.name for one in chosen}
    names: dict[str, None] = {}
    for text in re.split(r"^(?=qname\s)", re.sub(r"\\\n\s*", " ", queues.stdout), flags=re.MULTILINE):
        queue = re.search(r"^qname\s+(\S+)", text, re.MULTILINE)
        listed = re.search(r"^pe_list\s+(.*)", text, re.MULTILINE)
        if queue and listed and queue.group(1) in wanted:
            # "smp make,[n1=smp]"
            for name in re.sub(r"\[[^=\][]*=", " ", listed.group(1)).replace("]", " ").replace(",", " ").split():
                names.setdefault(name)
    names.pop("NONE", None)
    return list(names)


class Sge:
    """SGE as a Scheduler."""

    name = "sge"
    title = "SGE"
    submit_program = "qsub"
    # Its settings file sets it, and no command of SGE works without; what else is called qsub (PBS, Slurm's) doesn't.
    sign = "SGE_ROOT"
    template = "sge.sh.j2"
    accounting_program = "qacct"
    forgets_ended_tasks = True

    def directives(self, script: ArrayScript, profile: Profile) -> list[str]:
        """See Scheduler."""
        return directives(script, profile)

    def submit_argv(self, directory: str, script: str) -> list[str]:
        """See Scheduler."""
        return submit_argv(directory, script)

    def parse_submitted(self, done: Completed) -> str:
        """See Scheduler."""
        return parse_submitted(done)

    def queue_argvs(self, tokens: Sequence[str]) -> list[list[str]]:
        """See Scheduler."""
        return [sge_queue.qstat_argv(_user())]

    def parse_queue(self, done: Completed, tokens: Sequence[str]) -> list[JobRow]:
        """See Scheduler."""
        return sge_queue.parse_qstat(done, set(tokens))

    def stuck_argv(self, rows: Sequence[JobRow]) -> list[str]:
        """See Scheduler."""
        jobs = dict.fromkeys(row.job_id for row in rows if "E" in row.raw_state)
        return sge_queue.job_argv(list(jobs)) if jobs else []

    def parse_stuck(self, done: Completed) -> list[str]:
        """See Scheduler."""
        return sge_queue.stuck_tasks(done)

    def free_argv(self, tasks: Sequence[str]) -> list[str]:
        """See Scheduler."""
        return sge_queue.clear_argv(tasks)

    def accounting_argvs(self, tokens: Sequence[str], since: float) -> list[list[str]]:
        """See Scheduler."""
        return [sge_queue.qacct_argv(_user(), since)]

    def parse_accounting(self, done: Completed, tokens: Sequence[str], since: float) -> list[JobRow] | None:
        """See Scheduler."""
        return sge_queue.parse_qacct(done, set(tokens))

    def cancel_argv(self, job_ids: Sequence[str]) -> list[str]:
        """See Scheduler; jobs are submitted with -notify, so SIGUSR2 comes first."""
        return ["qdel", *job_ids]

    def was_cancelled(self, done: Completed) -> bool:
        """See Scheduler; a job that is over is one that doesn't exist."""
        said = (done.stdout + done.stderr).strip().splitlines()
        return done.exit_status == 0 or (
            done.exit_status is not None
            and bool(said)
            and all("does not exist" in line or "for deletion" in line or " has deleted " in line for line in said)
        )

    def limits_argvs(self, profile: Profile) -> list[list[str]]:
        """See Scheduler."""
        return [list(argv) for argv in (sge_site.CONFIG_ARGV, sge_site.QUEUES_ARGV, sge_site.HOSTS_ARGV)]

    def more_limits_argvs(self, answers: Sequence[Completed], profile: Profile) -> list[list[str]]:
        """See Scheduler: what each parallel environment of the queues is."""
        if profile.parallel_environment:
            return []
        return [["qconf", "-sp", name] for name in environments_of(answers[1], _chosen(answers, profile))]

    def parse_limits(self, answers: Sequence[Completed], profile: Profile) -> Limits:
        """See Scheduler."""
        config = sge_site.parse_config(answers[0])
        chosen = _chosen(answers, profile)
        largest = max((one.largest for one in chosen), key=lambda kind: (kind.cores, kind.memory_mb), default=None)
        environment = profile.parallel_environment or parallel_environment(
            answers[3:], environments_of(answers[1], chosen)
        )
        return Limits(
            sge_site.parse_max_array_size(config),
            largest.cores if largest else 0,
            largest.memory_mb if largest else 0,
            chosen,
            environment,
        )

    def capacity_argvs(self, profile: Profile) -> list[list[str]]:
        """See Scheduler."""
        return [list(sge_site.HOSTS_ARGV)]

    def parse_capacity(self, answers: Sequence[Completed], profile: Profile) -> Capacity:
        """See Scheduler."""
        return sge_capacity.parse_capacity(answers[0], profile.partitions)

    def submitting_argvs(self) -> list[list[str]]:
        """See Scheduler."""
        return [["qconf", "-ss"], ["qconf", "-sel"]]

    def nodes_may_submit(self, answers: Sequence[Completed]) -> bool:
        """See Scheduler; SGE refuses a submission from a host that isn't on a list of its own."""
        if any(one.exit_status != 0 for one in answers):
            return True
        # The one list may have a domain where the other has none.
        submitting, nodes = ({line.split(".")[0].lower() for line in one.stdout.split()} for one in answers)
        return not nodes or bool(submitting & nodes)

    def site_questions(self, answers: Sequence[Completed], user: str) -> list[list[str]]:
        """See Scheduler."""
        return sge_site.questions(answers, user)

    def parse_site(self, answers: Sequence[Completed], user: str) -> Site:
        """See Scheduler."""
        return sge_site.parse_site(answers, user)

    def away_from(self, node: str) -> str:
        """See Scheduler."""
        return f"#$ -l hostname=!{node}"

    def last_words(self, done: Completed) -> str:
        """See Scheduler."""
        return last_words(done)


def _chosen(answers: Sequence[Completed], profile: Profile) -> tuple[Partition, ...]:
    return sge_site.chosen_queues(sge_site.parse_queues(answers[1], answers[2]), profile)


def _user() -> str:
    """Return whose jobs are asked for: those that this process would submit."""
    try:
        return pwd.getpwuid(os.geteuid()).pw_name
    except KeyError:
        # A container without this account; names of jobs tell ours.
        return "*"
