"""`crh-batch verify-fs`: says whether a filesystem can hold a survey."""

from __future__ import annotations

import signal
from types import FrameType
from typing import NoReturn

import click

from crh_batch.cli.common import json_option, print_json, talk
from crh_batch.errors import FilesystemUnfit

SCHEMA = 1


@click.command("verify-fs")
@click.argument("directory", type=click.Path(), metavar="DIR")
@click.argument("second", type=click.Path(), required=False, default="", metavar="[DIR2]")
@json_option
def command(directory: str, second: str, as_json: bool) -> int:
    """Try whether the filesystem of DIR can hold a survey; takes some ten seconds and leaves nothing behind.

    DIR2 is the same directory by another mount, as another node sees it; processes by both paths then go for the same
    names at the same time. To try two nodes of a cluster, use crh-batch profile test.

    Exit code 0 if it can, 3 if it can't.
    """
    from crh_batch.engines.verify_filesystem import verify_filesystem
    from crh_batch.report.filesystem_words import UNFIT, findings_alone, findings_together, verdict
    from crh_batch.report.finding import findings_text

    # Whoever ends it with TERM wants nothing left, either.
    signal.signal(signal.SIGTERM, _interrupt)
    report = verify_filesystem(directory, second, on_talk=talk)
    findings = [*findings_alone(report.alone), *findings_together(report.parties, report.links)]
    judged = verdict(report.links, findings)
    if as_json:
        print_json(
            {
                "schema": SCHEMA,
                "directory": report.directory,
                "second": report.second,
                "filesystem": report.alone["filesystem"],
                "verdict": judged,
                "links": report.links,
                "findings": [one.to_json() for one in findings],
                "alone": report.alone,
                "together": report.parties,
            }
        )
    else:
        click.echo(findings_text(findings))
        click.echo(f"{report.directory}: {judged}")
    return FilesystemUnfit.exit_code if judged == UNFIT else 0


def _interrupt(number: int, frame: FrameType | None) -> NoReturn:
    raise KeyboardInterrupt
