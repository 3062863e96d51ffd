"""The option --profile, which every command has that starts pilots or plans them."""

from __future__ import annotations

import click

_KEY = "crh_batch.chosen_profile"


def _remember(context: click.Context, parameter: click.Parameter, value: str | None) -> None:
    context.meta[_KEY] = value or ""


profile_option = click.option(
    "--profile",
    metavar="NAME|FILE",
    expose_value=False,
    callback=_remember,
    help="Settings of this name (crh-batch profile list), or in this file, over those that hold everywhere.",
)


def chosen_profile() -> str:
    """Return what --profile says in the command that runs; empty if nothing."""
    context = click.get_current_context(silent=True)
    return str(context.meta.get(_KEY, "")) if context is not None else ""
