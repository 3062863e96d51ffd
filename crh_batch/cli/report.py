"""`crh-batch report`: what became of a batch, and what it cost against what was asked for."""

from __future__ import annotations

import click

from crh_batch.cli.common import json_option, print_json
from crh_batch.cli.targets import find_targets, where_arguments
from crh_batch.engines.accounting import job_usages
from crh_batch.engines.base import plural
from crh_batch.engines.living import look
from crh_batch.engines.target import Target
from crh_batch.hosts.this_machine import ThisMachine
from crh_batch.ledger.identity import Verdict
from crh_batch.report.as_json import SCHEMA, report_json
from crh_batch.report.batch_report import report_on
from crh_batch.report.figures import BatchReport
from crh_batch.report.report_table import class_table, host_table, message_table, summary_lines
from crh_batch.report.states import count
from crh_batch.report.table import console, counts_line, shown


@click.command("report")
@where_arguments
@json_option
def command(where: tuple[str, ...], group: str, as_json: bool) -> int:
    """Report on BATCH, or on the tomodirs at or below PATH; on the newest batch by default.

    For each class of tomodirs: finished, failed and why, attempts, CPU time and memory used against requested; the
    longest time in the queue; tomodirs an hour by host. From the batch's own files, and the scheduler's accounting
    where there is one.

    Exit code 0 only if every tomodir has finished.
    """
    reports = [_report(target) for target in find_targets(where, group)]
    complete = all(report.status.complete for report in reports)
    if as_json:
        print_json({"schema": SCHEMA, "complete": complete, "batches": [report_json(report) for report in reports]})
    else:
        for report in reports:
            _print(report)
    return 0 if complete else 1


def _report(target: Target) -> BatchReport:
    usages = job_usages(target.batch, ThisMachine())
    if count(target.batch, target.only).over:
        return report_on(target, usages)
    living = look(target.batch, ThisMachine())
    return report_on(target, usages, lambda header: living.verdict(header) is Verdict.ALIVE)


def _print(report: BatchReport) -> None:
    status = report.status
    click.echo(
        f"batch {status.batch.batch_id}  {shown(status.batch.paths.root)}  "
        f"{status.finished} of {plural(status.total, 'tomodir')} finished ({counts_line(status)})"
    )
    console().print(class_table(report.classes))
    if report.messages:
        console().print(message_table(report))
    if report.hosts:
        console().print(host_table(report.hosts))
    for line in summary_lines(report):
        click.echo(line)
