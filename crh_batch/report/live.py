"""The live view of a batch, as `crh-batch watch` redraws it."""

from __future__ import annotations

from rich.console import Group, RenderableType
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from crh_batch.ledger.names import StateName
from crh_batch.report.states import Row, Status
from crh_batch.report.table import counts_line, make_table, running_table, seconds_text, shown


def live_view(
    status: Status, per_s: float | None, hosts: dict[str, int], *, now: str, most_rows: int
) -> RenderableType:
    """Return the view.

    Args:
        status: with a row for each tomodir that runs.
        per_s: how many get over in a second; None if that can't be said yet.
        hosts: tomodirs finished in the last hour, by host.
        now: the time, for reading.
        most_rows: how many running tomodirs there is room for.
    """
    # In a table, since a bar alone doesn't end its line.
    bar = Table.grid(expand=True)
    bar.add_row(ProgressBar(total=max(1, status.total), completed=status.settled))
    parts: list[RenderableType] = [
        Text(f"batch {status.batch.batch_id}  {shown(status.batch.paths.root)}  {now}"),
        bar,
        Text(f"{status.settled} of {status.total} over: {counts_line(status)}"),
    ]
    if status.failures:
        failed = ", ".join(f"{many} {cause.value}" for cause, many in status.failures.most_common())
        parts.append(Text(f"failed: {failed}"))
    if per_s:
        rest = seconds_text(left(status) / per_s)
        parts.append(Text(f"{3600 * per_s:.1f} an hour; about {rest} for the {left(status)} that are left"))
    running = [row for row in status.rows if row.state.name is StateName.RUNNING]
    if running:
        parts.append(running_table(sorted(running, key=_furthest)[:most_rows]))
    if len(running) > most_rows:
        parts.append(Text(f"... and {len(running) - most_rows} more that run"))
    if hosts:
        rows = ([host, str(many)] for host, many in hosts.items())
        parts.append(make_table([("host", "left"), ("finished in the last hour", "right")], rows))
    return Group(*parts)


def left(status: Status) -> int:
    """Return how many are to be waited for."""
    return status.counts[StateName.READY] + status.counts[StateName.RUNNING] + status.counts[StateName.WAITING]


def _furthest(row: Row) -> tuple[int, str]:
    return -(row.iteration or 0), row.path
