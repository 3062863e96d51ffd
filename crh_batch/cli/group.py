"""The command `crh-batch`: finds the subcommand, and is the only place where errors become messages and exit codes."""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Collection
from typing import NoReturn

import click

import crh_batch
from crh_batch.cli.connections import set_up, tear_down
from crh_batch.cli.over_ssh import check_use, on_option
from crh_batch.errors import CrhBatchError
from crh_batch.ledger.trust import trust_groups

# Command to module; imported when called, so that status need not load what submit needs.
COMMANDS = {
    "cancel": "cancel",
    "check": "check",
    "collect": "collect",
    "dashboard": "dashboard",
    "demo": "demo",
    "history": "history",
    "hold": "hold",
    "log": "log",
    "pilot": "pilot",
    "profile": "profile",
    "prune": "prune",
    "release": "release",
    "report": "report",
    "retry": "retry",
    "run": "run",
    "show": "show",
    "status": "status",
    "submit": "submit",
    "verify": "verify",
    "verify-fs": "verify_fs",
    "wait": "wait",
    "watch": "watch",
}
INTERRUPTED = 130


class LazyGroup(click.Group):
    """A group whose commands are imported when they are called."""

    def list_commands(self, context: click.Context) -> list[str]:
        """Return the commands' names."""
        return sorted(COMMANDS)

    def get_command(self, context: click.Context, name: str) -> click.Command | None:
        """Import a command."""
        if name not in COMMANDS:
            return None
        module = importlib.import_module(f"crh_batch.cli.{COMMANDS[name]}")
        command: click.Command = module.command
        return command


@click.command(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(crh_batch.__version__, package_name="crh-batch")
@click.pass_context
def cli(context: click.Context) -> None:
    """Run CRMod and CRTomo directories (tomodirs) on clusters and workstations, each exactly once.

    \b
    A first run:    crh-batch demo survey && cd survey && crh-batch run
    On a cluster:   crh-batch check; crh-batch submit; crh-batch wait; crh-batch collect

    Exit codes: 0 all well, 1 some tomodirs failed (check and run: or can't be run), 2 wrong usage, 3 the surroundings
    are at fault (scheduler, program, filesystem, connection).
    """  # noqa: D301 - click's \\b keeps the lines of a paragraph apart
    check_use(context.invoked_subcommand)
    set_up()


on_option(cli)


def _trusted_groups(root: str) -> Collection[int]:
    # Imported when asked: a batch of another user is rare.
    from crh_batch.engines.groups import trusted_groups

    return trusted_groups(root)


def main() -> NoReturn:
    """Run the command line and exit."""
    trust_groups(_trusted_groups)
    try:
        code = cli.main(standalone_mode=False)
    except CrhBatchError as error:
        from crh_batch.report.table import shown

        lines = str(error).split("\n")
        click.echo("crh-batch: " + "\n".join(shown(line) for line in lines), err=True)
        code = error.exit_code
    except click.exceptions.Exit as error:
        code = error.exit_code
    except click.ClickException as error:
        error.show()
        code = error.exit_code
    except (KeyboardInterrupt, click.Abort):
        click.echo("crh-batch: interrupted; nothing is lost, the same command goes on from here", err=True)
        code = INTERRUPTED
    except BrokenPipeError:
        # The reader (head, less) has gone; Python would complain once more when it closes stdout.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        code = 0
    except OSError as error:
        from crh_batch.report.table import shown

        place = f"{shown(os.fsdecode(error.filename))}: " if error.filename else ""
        click.echo(
            f"crh-batch: {place}{error.strerror or error}\n"
            "  The survey must be readable and writable, with free space and inodes; then run the command again: "
            "it goes on from here.",
            err=True,
        )
        code = CrhBatchError.exit_code
    finally:
        tear_down()
    sys.exit(code if isinstance(code, int) else 0)
