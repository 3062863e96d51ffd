"""`crh-batch dashboard`: where the dashboard of a batch's dask scheduler is."""

from __future__ import annotations

from dataclasses import asdict

import click

from crh_batch.cli.common import batch_argument, json_option, print_json, talk
from crh_batch.engines.dask.place import latest_contact
from crh_batch.errors import DaskError
from crh_batch.ledger.batch import open_batch


@click.command("dashboard")
@batch_argument
@json_option
def command(batch: str, as_json: bool) -> int:
    """Print the link of the dashboard of BATCH, and how to reach it from one's own machine.

    There is one while `crh-batch submit --engine dask` drives the batch, or its --head-job does.
    """
    opened = open_batch(batch)
    contact = latest_contact(opened.paths)
    if contact is None:
        raise DaskError(
            f"batch {opened.batch_id}: no dask scheduler is at work for it",
            "Start one with crh-batch submit --engine dask; a --head-job may still be waiting in the queue.",
        )
    if as_json:
        print_json({"schema": 1, "batch": opened.batch_id, **asdict(contact), "link": contact.link})
        return 0
    click.echo(contact.link)
    if contact.tunnel:
        talk(f"from your own machine: {contact.tunnel}")
    return 0
