"""The pilot's command line: ``python3 pilot.pyz BATCH --cores N``; what job scripts and engines start."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable

from crh_batch.errors import CrhBatchError
from crh_batch.ledger.batch import Batch
from crh_batch.ledger.memory import PILOT_BYTES
from crh_batch.ledger.session import Session
from crh_batch.ledger.sharing import share_output
from crh_batch.ledger.trust import trust_groups
from crh_batch.pilot import virtual_memory
from crh_batch.pilot.frozen import check_programs
from crh_batch.pilot.guard import Guard
from crh_batch.pilot.job import parse_time_left, surroundings
from crh_batch.pilot.job_time import JobTime, steady_time
from crh_batch.pilot.loop import Pilot, PilotOptions
from crh_batch.pilot.requeue import recover_former_lives
from crh_batch.pilot.scratch import make_scratch, remove_scratch
from crh_batch.pilot.submission import deadline_of, job_of_same_submission

MakePilot = Callable[[Batch, Session, PilotOptions, JobTime, Guard, str], Pilot]


def main(arguments: list[str] | None = None) -> int:
    """Run one pilot; return 0, or 3 when something other than a tomodir stopped it."""
    return run(parser().parse_args(arguments), Pilot)


def run(parsed: argparse.Namespace, make: MakePilot) -> int:
    """Run one pilot of any kind; return 0, or 3 when something other than a tomodir stopped it.

    Args:
        parsed: what ``parser`` gave.
        make: makes it, when its session, its guard and its scratch directory are there.
    """
    virtual_memory.spare()
    try:
        return _run(parsed, make)
    except CrhBatchError as error:
        print(f"pilot: {error}", file=sys.stderr, flush=True)
        return error.exit_code
    except (MemoryError, RuntimeError) as error:
        if isinstance(error, RuntimeError) and "thread" not in str(error):
            raise
        print(f"pilot: out of memory: {error}\n  Raise memory_mb in the profile; nothing is lost.", file=sys.stderr)
        return CrhBatchError.exit_code
    except OSError as error:
        print(f"pilot: {error.filename or parsed.batch}: {error.strerror or error}", file=sys.stderr, flush=True)
        return CrhBatchError.exit_code


def parser() -> argparse.ArgumentParser:
    """Return what reads a pilot's command line."""
    parser = argparse.ArgumentParser(prog="pilot.pyz", description="Claim and run the tomodirs of a crh-batch batch.")
    parser.add_argument("batch", help="the batch's directory")
    parser.add_argument("--cores", type=int, default=0, help="cores to keep busy (default: those of this process)")
    parser.add_argument("--threads", type=int, default=0, help="take only tomodirs of this width (default: all)")
    parser.add_argument("--group", default="", help="take only tomodirs of this group (default: all)")
    parser.add_argument(
        "--memory-mb", type=int, default=0, help="memory of the job, MB of 2^20 bytes (default: not known)"
    )
    parser.add_argument("--submission", default="", help="token of the submission that started this pilot")
    parser.add_argument("--scratch", default="", help="where private directories are made (default: $TMPDIR or /tmp)")
    parser.add_argument("--minutes", type=float, default=0, help="end after so many minutes (default: the job's limit)")
    parser.add_argument(
        "--warn-s", type=float, default=0, help="how long before the end the warning signal comes (default: not known)"
    )
    parser.add_argument("--time-left", default="", help="the same, as squeue prints it: [DAYS-]HOURS:MINUTES:SECONDS")
    parser.add_argument(
        "--share-group", type=int, default=0, help="number of a group whose members' batches may be run (default: none)"
    )
    parser.add_argument("--keep-scratch", action="store_true", help="leave the private directories for looking at")
    return parser


def _run(parsed: argparse.Namespace, make: MakePilot) -> int:
    if parsed.share_group:
        trust_groups(lambda root: (parsed.share_group,))
    here = surroundings(os.environ, os.getpid())
    batch = Batch(os.path.abspath(parsed.batch))
    share_output(batch.paths.directory)
    cores = parsed.cores or len(os.sched_getaffinity(0))
    left_s = 60 * parsed.minutes or parse_time_left(parsed.time_left)
    end_time = here.end_time if left_s is None else steady_time() + left_s
    deadline = deadline_of(batch, parsed.submission)
    by_deadline = deadline is not None and (end_time is None or deadline < end_time)
    session = Session.begin(
        batch.paths, "pilot", label=here.label, job=here.job, submission=parsed.submission, cores=cores
    )
    if other := job_of_same_submission(batch, session):
        print(f"pilot: job {other} has this submission already; nothing is left for this one", file=sys.stderr)
        session.append("end", finished=0, failed=0, why=f"job {other} has this submission")
        session.close()
        return 0
    check_programs(batch)
    recover_former_lives(batch, session)
    base = parsed.scratch or batch.settings.scratch or os.environ.get("TMPDIR") or "/tmp"
    scratch = os.path.join(os.path.expandvars(base), f"crh-batch-{session.token}")
    guard = Guard(scratch, keep_scratch=parsed.keep_scratch)
    options = PilotOptions(
        cores=cores,
        threads=parsed.threads,
        group=parsed.group,
        memory_bytes=max(1, (parsed.memory_mb << 20) - PILOT_BYTES) if parsed.memory_mb else 0,
        processors=sorted(os.sched_getaffinity(0)),
        keep_scratch=parsed.keep_scratch,
    )
    try:
        make_scratch(scratch)
        job_time = JobTime(
            session.header.started,
            deadline if by_deadline else end_time,
            warn_s=parsed.warn_s,
            by_deadline=by_deadline,
        )
        trouble = make(batch, session, options, job_time, guard, scratch).run()
    finally:
        if not parsed.keep_scratch:
            remove_scratch(scratch)
        guard.close()
        session.close()
    if trouble is not None:
        raise trouble
    return 0


if __name__ == "__main__":
    sys.exit(main())
