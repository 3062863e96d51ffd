"""`crh-batch log`: what a tomodir's programs printed, and their error.dat."""

from __future__ import annotations

import click

from crh_batch.cli.common import talk
from crh_batch.cli.fetching import fetch_output
from crh_batch.cli.targets import find_tomodir
from crh_batch.errors import LedgerError
from crh_batch.report.outputs import read_outputs
from crh_batch.report.states import status_of
from crh_batch.report.table import shown

# CRMod prints its progress into one line, over and over.
_LONGEST_LINE = 400


def _cut(line: str) -> str:
    """Return a line with its middle left out if it is very long; of what a terminal overwrites, the last is shown.

    What else would steer a terminal is shown as text: it comes from another machine, or out of somebody's data.
    """
    last = line.rstrip("\r").rpartition("\r")[2]
    last = "\t".join(shown(part) for part in last.split("\t"))
    if len(last) <= _LONGEST_LINE:
        return last
    half = _LONGEST_LINE // 2
    return f"{last[:half]} [... {len(last) - 2 * half} characters ...] {last[-half:]}"


@click.command("log")
@click.argument("tomodir", type=click.Path(), metavar="TOMODIR")
def command(tomodir: str) -> int:
    """Print what the programs of TOMODIR's last attempt printed, its error.dat and the end of its inv.ctr."""
    batch, item_id = find_tomodir(tomodir)
    fetch_output(batch, item_id)
    outputs = read_outputs(batch, item_id)
    row = status_of(batch, lambda number, state: number == item_id).rows
    if not outputs and row and row[0].error:
        talk(f"{tomodir}: failed without output: {row[0].error}")
        return 0
    if not outputs:
        raise LedgerError(
            f"{tomodir}: no attempt has ended with output yet",
            "Outputs of a running attempt lie on its node until it ends; crh-batch status shows how far it is.",
        )
    for name, text in outputs:
        talk(f"==> {name} <==")
        text = "\n".join(_cut(line) for line in text.split("\n"))
        click.echo(text, nl=not text.endswith("\n"))
    return 0
