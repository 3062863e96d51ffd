"""The page ``/tomodirs`` of the dashboard: RMS against iteration, tomodirs done over time, and what waits."""

from __future__ import annotations

import functools
from typing import Any

from crh_batch.engines.dask.story import Story

NAME = "tomodirs"
_EVERY_MS = 1000
_RUNS, _RAN = "#1f77b4", "#b0b0b0"
_STATES = ("waiting", "held", "ready", "running", "done", "collected", "failed")


def add_page(story: Story) -> None:
    """Add the page to the dashboards of schedulers that are made from now on."""
    from distributed.dashboard import scheduler as dashboards

    dashboards.applications[f"/{NAME}"] = functools.partial(_page, story)


def add_to_menu(scheduler: Any) -> None:
    """Name the page in the menu that all pages of a scheduler have."""
    from distributed.dashboard import scheduler as dashboards

    pages = dashboards.template_variables(scheduler)["pages"]
    if NAME not in pages:
        pages.insert(0, NAME)


def _page(story: Story, scheduler: Any, extra: dict[str, Any], doc: Any) -> None:
    """Draw the page, as dask's own ones are drawn."""
    from bokeh.layouts import column, row
    from bokeh.models import ColumnDataSource, FactorRange
    from bokeh.models.widgets import Div
    from bokeh.plotting import figure
    from distributed.dashboard.components.scheduler import BOKEH_THEME, env

    curves = ColumnDataSource({"iteration": [], "rms": [], "tomodir": [], "color": []})
    rms = figure(
        title="RMS of inversions that run (blue) or ran last (grey)",
        x_axis_label="iteration",
        y_axis_label="RMS of the data",
        y_axis_type="log",
        tooltips=[("tomodir", "@tomodir")],
        sizing_mode="stretch_both",
    )
    rms.multi_line("iteration", "rms", line_color="color", source=curves, line_width=2, line_alpha=0.7)

    done = ColumnDataSource({"minutes": [], "finished": []})
    over_time = figure(
        title="Finished tomodirs",
        x_axis_label="minutes since the driver began",
        y_axis_label="tomodirs",
        sizing_mode="stretch_both",
    )
    over_time.step("minutes", "finished", source=done, line_width=2, mode="after")

    bars = ColumnDataSource({"state": list(_STATES), "tomodirs": [0] * len(_STATES)})
    rows = FactorRange(factors=list(reversed(_STATES)))
    by_state = figure(title="Tomodirs by state", y_range=rows, sizing_mode="stretch_both")
    by_state.hbar(y="state", right="tomodirs", height=0.7, source=bars)
    head = Div(sizing_mode="stretch_width")

    def update() -> None:
        lines = story.lines()
        curves.data = {
            "iteration": [numbers for _, numbers, _ in lines],
            "rms": [values for _, _, values in lines],
            "tomodir": [path for path, _, _ in lines],
            "color": [_RUNS if path in story.running else _RAN for path, _, _ in lines],
        }
        done.data = {"minutes": [one / 60 for one in story.times_s], "finished": list(story.finished)}
        bars.data = {"state": list(_STATES), "tomodirs": [story.counts.get(name, 0) for name in _STATES]}
        total, finished = sum(story.counts.values()), story.finished[-1] if story.finished else 0
        head.text = (
            f"batch {story.batch_id}: {finished} of {total} finished; "
            f"{story.present} workers at work, {story.wanted - story.present} in the queue"
        )

    update()
    doc.add_periodic_callback(update, _EVERY_MS)
    plots = row(rms, column(over_time, by_state, sizing_mode="stretch_both"), sizing_mode="stretch_both")
    doc.add_root(column(head, plots, sizing_mode="stretch_both"))
    doc.title = "crh-batch: tomodirs"
    doc.template = env.get_template("simple.html")
    doc.template_variables.update(extra)
    doc.theme = BOKEH_THEME
