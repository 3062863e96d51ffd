"""`crh-batch show`: one tomodir's history."""

from __future__ import annotations

import time
from typing import Any

import click

from crh_batch.cli.common import json_option, print_json
from crh_batch.cli.targets import find_tomodir
from crh_batch.ledger.names import StateName
from crh_batch.ledger.registration import read_registration
from crh_batch.report.as_json import SCHEMA, row_json
from crh_batch.report.history import history
from crh_batch.report.states import status_of
from crh_batch.report.table import bytes_text, console, make_table, number, shown


@click.command("show")
@click.argument("tomodir", type=click.Path(), metavar="TOMODIR")
@json_option
def command(tomodir: str, as_json: bool) -> int:
    """Show what happened to TOMODIR: its attempts, where they ran, what they took, why they failed."""
    batch, item_id = find_tomodir(tomodir)
    row = status_of(batch, lambda number, state: number == item_id).rows[0]
    events = history(batch, item_id)
    registration = read_registration(batch.tomodir(batch.items[item_id]))
    if as_json:
        registered = registration.describe() if registration else None
        print_json(
            {"schema": SCHEMA, "batch": batch.batch_id, **row_json(row), "registered": registered, "events": events}
        )
    else:
        there = f" on {shown(row.on)}" if row.on else ""
        click.echo(f"{shown(row.path)}: {row.state.name.value} in batch {batch.batch_id}{there}")
        if registration:
            click.echo(shown(registration.describe()))
        console().print(
            make_table(
                [("when", "left"), ("attempt", "right"), ("what", "left"), ("where", "left"), ("details", "left")],
                [_cells(event) for event in events],
            )
        )
    return 1 if row.state.name is StateName.FAILED else 0


def _cells(event: dict[str, Any]) -> list[str]:
    when = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(float(event.get("time") or 0)))
    attempt = event.get("attempt")
    return [when, "" if attempt is None else str(attempt), str(event["event"]), str(event["host"]), _details(event)]


def _details(event: dict[str, Any]) -> str:
    if event["event"] == "progress":
        return f"iteration {event.get('iteration')}, RMS {number(event.get('rms'), '{:.3f}')}"
    if event["event"] == "stage":
        return str(event.get("stage"))
    parts = []
    for stage in event.get("stages") or []:
        text = f"{stage.get('stage')}: {stage.get('outcome')}"
        if "wall_s" in stage:
            bound = "< " if stage.get("peak_is_bound") else ""
            text += f", {stage['wall_s']:.2f} s, {bound}{bytes_text(stage['peak_bytes'])}"
        parts.append(text)
    if event.get("error"):
        parts.append(str(event["error"]).replace("\n", " / "))
    return "; ".join(parts)
