"""`crh-batch pilot`: one more pilot, on any machine that sees the filesystem."""

from __future__ import annotations

import os
import sys

import click

from crh_batch.cli.common import batch_argument, talk
from crh_batch.engines.groups import trusted_groups
from crh_batch.engines.local import pilot_argv
from crh_batch.ledger.arbiter import refuse_mirror
from crh_batch.ledger.batch import open_batch
from crh_batch.ledger.trust import check_batch


@click.command("pilot")
@batch_argument
@click.option("-j", "--cores", type=click.IntRange(1), help="Cores to use. Default: all that this process may use.")
@click.option("--group", default="", metavar="NAME", help="Run only tomodirs of this group.")
@click.option("--memory-mb", type=click.IntRange(1), help="What they may take together. Default: no limit.")
@click.option("--scratch", type=click.Path(), default="", help="Where private directories are made.")
def command(batch: str, cores: int | None, group: str, memory_mb: int | None, scratch: str) -> int:
    """Run one more pilot for BATCH here, in the foreground, until nothing is left to claim.

    Works on any machine that sees the filesystem, and inside a job of one's own.
    """
    opened = open_batch(batch)
    # Before anything of it is run.
    check_batch(opened.paths)
    refuse_mirror(opened.paths)
    argv = pilot_argv(opened, "", cores or len(os.sched_getaffinity(0)), scratch, memory_mb or 0)
    if group:
        argv += [f"--group={group}"]
    for group_id in trusted_groups(opened.paths.root):
        argv += ["--share-group", str(group_id)]
    talk(f"a pilot for batch {opened.batch_id} with {argv[argv.index('--cores') + 1]} cores")
    sys.stderr.flush()
    os.execv(argv[0], argv)
