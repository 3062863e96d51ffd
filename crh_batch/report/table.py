"""Tables for people. Paths may hold anything, so they are shown with what a terminal would act on made visible."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from crh_batch.plan.order import Planned
from crh_batch.plan.survey import Survey
from crh_batch.report.states import STATE_ORDER, Row, Status


def shown(path: str) -> str:
    """Return a path or message fit for a terminal: control characters and undecodable bytes as escapes."""
    return "".join(char if char.isprintable() else char.encode("unicode_escape").decode() for char in path)


def console(*, stderr: bool = False) -> Console:
    """Return a console; when the output is no terminal, tables are as wide as they need."""
    made = Console(stderr=stderr, highlight=False, soft_wrap=True)
    if not made.is_terminal:
        made = Console(stderr=stderr, highlight=False, soft_wrap=True, width=250)
    return made


def make_table(headers: Sequence[tuple[str, str]], rows: Iterable[Sequence[str]]) -> Table:
    """Return a table; each header is a title and ``left`` or ``right``."""
    table = Table(box=SIMPLE_HEAD, pad_edge=False, show_edge=False)
    for title, side in headers:
        table.add_column(title, justify="right" if side == "right" else "left", overflow="fold")
    for row in rows:
        table.add_row(*(Text(shown(cell)) for cell in row))
    return table


def counts_line(status: Status) -> str:
    """Return the counts in one line; states that nothing is in are left out."""
    parts = [f"{status.counts[name]} {name.value}" for name in STATE_ORDER if status.counts[name]]
    return ", ".join(parts) if parts else "empty"


def results_table(rows: Iterable[Row]) -> Table:
    """Return the table of finished tomodirs: what they took and where they got."""
    headers = [
        ("tomodir", "left"),
        ("state", "left"),
        ("stages", "left"),
        ("dims", "left"),
        ("threads", "right"),
        ("seconds", "right"),
        ("peak memory", "right"),
        ("iterations", "right"),
        ("final RMS", "right"),
    ]
    return make_table(headers, (_result_cells(row) for row in rows))


def _result_cells(row: Row) -> list[str]:
    return [
        row.path,
        row.state.name.value,
        " + ".join(str(one.get("stage", "")) for one in row.stages),
        row.dims,
        str(row.threads),
        number(row.seconds, "{:.2f}"),
        ("< " if row.peak_bytes and row.peak_is_bound else "") + bytes_text(row.peak_bytes),
        "" if row.iteration is None else str(row.iteration),
        number(row.rms, "{:.3f}"),
    ]


def running_table(rows: Iterable[Row]) -> Table:
    """Return the table of tomodirs under way, with live iteration and RMS."""
    headers = [("tomodir", "left"), ("stage", "left"), ("iteration", "right"), ("RMS", "right"), ("host", "left")]
    return make_table(
        headers,
        (
            [
                row.path,
                row.stage or "starting",
                "" if row.iteration is None else str(row.iteration),
                number(row.rms, "{:.3f}"),
                row.host,
            ]
            for row in rows
        ),
    )


def failed_table(rows: Iterable[Row]) -> Table:
    """Return the table of failed tomodirs with the reason."""
    headers = [("tomodir", "left"), ("cause", "left"), ("attempts", "right"), ("what it says", "left")]
    return make_table(
        headers,
        (
            [
                row.path,
                row.state.failure.value if row.state.failure else "",
                str(row.state.attempt),
                " / ".join(line.strip() for line in row.error.splitlines() if line.strip()),
            ]
            for row in rows
        ),
    )


def check_table(survey: Survey) -> Table:
    """Return the table of what would run."""
    headers = [
        ("#", "right"),
        ("tomodir", "left"),
        ("stages", "left"),
        ("dims", "left"),
        ("wavenumbers", "right"),
        ("threads", "right"),
        ("about", "right"),
        ("memory", "right"),
        ("why", "left"),
    ]
    return make_table(
        headers,
        (
            [
                str(survey.numbers.get(one.path, "")),
                one.path,
                " + ".join(stage.name.value for stage in one.description.stages),
                one.description.dims,
                str(one.description.wavenumbers),
                str(one.threads),
                range_text(one),
                bytes_text(one.memory_bytes),
                one.reason,
            ]
            for one in survey.planned
        ),
    )


def range_text(one: Planned) -> str:
    """Return between which times a tomodir is expected to lie, in the unit of the larger one."""
    if not one.high_s:
        return seconds_text(one.estimate_s)
    high = seconds_text(one.high_s)
    divisor = {"s": 1, "min": 60, "h": 3600}[high.split()[1]]
    low = one.low_s / divisor
    return f"{low:.{0 if divisor == 60 and low >= 10 else 1}f}-{high}"


def number(value: float | None, form: str) -> str:
    """Return a number in a form, empty for None."""
    return "" if value is None else form.format(value)


def bytes_text(value: int | None) -> str:
    """Return bytes in MB (10^6), empty for None."""
    return "" if value is None else f"{value / 1e6:.0f} MB"


def seconds_text(value: float) -> str:
    """Return seconds in the unit that fits."""
    if value < 90:
        return f"{value:.1f} s"
    return f"{value / 60:.0f} min" if value < 5400 else f"{value / 3600:.1f} h"


def plain(text: str) -> str:
    """Return text that a console prints as it is."""
    return escape(shown(text))
