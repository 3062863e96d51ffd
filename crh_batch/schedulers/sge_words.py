"""What commands of SGE said: telling lines for users and errors, and the XML of qstat and qhost."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ElementTree

from crh_batch.errors import Unreachable
from crh_batch.hosts.base import Completed

# What commlib and the commands say when sge_qmaster can't be reached or doesn't answer: a question may have arrived
# then, only the answer did not.
_ANSWER_LOST = ("commlib error", "unable to send message", "unable to contact qmaster", "got read error", "timeout")

# What answers in XML begin with: qstat, qstat -j (of jobs that it has, and hasn't), qhost.
_ROOTS = ("job_info", "detailed_job_info", "unknown_jobs", "qhost")


def last_words(done: Completed) -> str:
    """Return the line that says most, for a user."""
    lines = [line.strip() for line in (done.stderr.strip() or done.stdout).splitlines() if line.strip()]
    # "Exiting." follows every refusal, the usage every wrong option.
    telling = [line for line in lines if line != "Exiting." and not line.startswith("[-")]
    said = (telling or lines or [""])[-1]
    return re.sub(r"^(?:Unable to run job|error|denied): ", "", said).rstrip(".")


def answer_was_lost(done: Completed) -> bool:
    """Return whether a failed command may have reached sge_qmaster all the same."""
    # A negative status: the command was killed, perhaps while it waited for the answer.
    if done.exit_status is None or done.exit_status < 0:
        return True
    said = done.stderr + done.stdout
    return any(words in said for words in _ANSWER_LOST)


def refused(done: Completed) -> bool:
    """Return whether a failed qsub says so itself; silence, or what something else says, tells nothing of the job."""
    lines = (done.stderr + "\n" + done.stdout).splitlines()
    return any(line.startswith(("Unable to ", "qsub: ", "error: ", "denied: ")) for line in lines)


def facts(done: Completed) -> tuple[tuple[str, ...], int, str, str]:
    """Return what a SchedulerError keeps of a command's end."""
    return done.argv, -1 if done.exit_status is None else done.exit_status, done.stdout, done.stderr


def parse_xml(done: Completed) -> ElementTree.Element:
    """Read an answer in XML.

    Raises:
        Unreachable: it is none, so nothing is known.
    """
    # A site's banner may stand before it, and names of jobs may hold what XML doesn't allow.
    text = done.stdout[max(done.stdout.find("<?xml"), 0) :]
    why = ""
    try:
        answer = ElementTree.fromstring(re.sub(r"[\x00-\x08\x0b\x0c\x0e-\x1f]", "?", text))
    except (ElementTree.ParseError, ValueError) as error:
        why = str(error)
    else:
        # A web page may be XML, too.
        if answer.tag in _ROOTS:
            return answer
        why = f"it begins with <{answer.tag[:40]}>"
    raise Unreachable(
        f"{done.argv[0] if done.argv else 'qstat'}: this is not its answer in XML: {why}",
        "Nothing is taken for dead; try again later.",
        *facts(done),
    )
